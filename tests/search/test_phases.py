"""What a search changes in a recipe."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.ledger.store import Ledger
from halftime.methods import SGD, Muon, OneCycle
from halftime.search.phases import _clearly, changed, optimizer_of
from halftime.search.trials import Trials
from halftime.search.tune import Tuned, tune
from tests.search.planted import mse, task


def test_the_rates_of_other_groups_keep_their_ratio():
    recipe = ht.Recipe([Muon(lr=0.02, rest_lr=0.004)], steps=10)
    moved = optimizer_of(changed(recipe, lr=0.01, weight_decay=0.1))
    assert moved == Muon(lr=0.01, rest_lr=0.002, weight_decay=0.1)
    own = optimizer_of(
        changed(ht.Recipe([Muon(lr=0.02, kernel_lr=0.06, rest_lr=0.004)], steps=10), lr=0.04, rest_lr=0.1)
    )
    assert own == Muon(lr=0.04, kernel_lr=0.12, rest_lr=0.1)


def test_what_is_none_stays():
    assert optimizer_of(changed(ht.Recipe([SGD(lr=0.1)], steps=10), lr=None, weight_decay=None)) == SGD(lr=0.1)


@dataclasses.dataclass(frozen=True)
class Fragile(SGD):
    """Breaks at rates or weight decays above a limit."""

    most: float = 1.0
    heaviest: float = 1.0

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        if self.lr > self.most or self.weight_decay > self.heaviest:
            raise RuntimeError("planted")
        return super().optimizer(model, optimizer)


def tuned(method: Fragile, **how: bool) -> Tuned:
    recipe = ht.Recipe([method, OneCycle()], steps=96, batch_size=32)
    return tune(task(loss=mse), recipe, device="cpu", quiet=True, **how)


def test_a_rate_that_breaks_the_training_is_a_result() -> None:
    found = tuned(Fragile(lr=0.05, most=0.5))
    rates = {job.rate: result.loss for job, result in found.results.items()}
    assert any(rate > 0.5 for rate in rates)
    assert all(loss == math.inf for rate, loss in rates.items() if rate > 0.5)
    assert found.signal


def test_a_recipe_that_always_breaks_says_why() -> None:
    with pytest.raises(RuntimeError, match="planted"):
        tuned(Fragile(lr=0.05, most=0.0))
    (folder,) = Ledger().tunes
    assert not Trials(folder).done(), "what is mended is tried again"


def test_where_every_weight_decay_diverges_the_own_one_stays() -> None:
    losses = dict.fromkeys((0.0, 0.01, 0.1), math.inf)
    assert _clearly(losses, 0.01) == 0.01
    assert _clearly({**losses, 0.1: 2.0}, 0.01) == 0.1
    assert _clearly({0.0: 1.0, 0.01: 0.999, 0.1: 1.2}, 0.0) == 0.0


def test_where_the_own_batch_size_breaks_no_other_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def fits(workload: ht.Workload, recipe: ht.Recipe, *more: object, **how: object) -> ht.Run:
        if recipe.batch_size == 32:
            raise torch.OutOfMemoryError("planted")
        return ht.train(workload, recipe, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("halftime.search.phases.train", fits)
    found = tuned(Fragile(lr=0.05, most=1e9), batch_size=True)
    assert found.recipe.batch_size == 32
    assert found.recipe.steps == 96
