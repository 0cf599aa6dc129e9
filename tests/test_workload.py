"""Workloads: refused at once where they cannot be right; judged exactly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.errors import BadData, BadValue, BadWorkload, InputError
from halftime.measure.score import evaluate
from halftime.workloads.source import find
from tests.conftest import make_net, make_task


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "printable text"),
        ({"name": 3}, "printable text"),
        ({"target": float("nan")}, "target must be a finite number"),
        ({"target": 92}, "outside the score's range 0 to 1"),
        ({"target": -0.9}, "outside the score's range 0 to 1"),
        ({"target": "high"}, "target must be a finite number"),
        ({"margin": -1}, "margin must be a finite number of at least 0"),
        ({"better": "max"}, "better must be 'higher' or 'lower'"),
        ({"evaluations": 0}, "evaluations must be a whole number of at least 1"),
        ({"evaluations": True}, "evaluations must be a whole number"),
        ({"model": make_net()}, "give a function that makes one"),
        ({"loss": "cross entropy"}, "loss must be a function"),
        ({"train": ()}, "the data set is empty"),
        ({"train": 7}, "needs samples by index"),
        ({"valid": [1, None]}, "valid: a sample must be"),
        ({"train": [(torch.ones(1), None)]}, "no labels?"),
        ({"train": [{"image": torch.ones(1)}]}, "a dict sample needs inputs and one of the keys targets"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((BadValue, BadData)) as caught:
        make_task(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_score_is_the_mean_over_samples_whatever_the_batches() -> None:
    task, model = make_task(100), make_net().eval()
    whole = evaluate(task, model, torch.device("cpu"), 100)
    pieces = evaluate(task, model, torch.device("cpu"), 7)
    x, y = task.valid.columns
    assert whole[0] == pytest.approx((model(x).argmax(1) == y).float().mean().item())
    assert pieces == pytest.approx(whole, abs=1e-6)


def test_judging_leaves_mode_and_random_state() -> None:
    task, model = make_task(), make_net().train()
    before = torch.get_rng_state()
    evaluate(task, model, torch.device("cpu"))
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_lower_is_better_too() -> None:
    task = make_task(score=lambda o, t: nn.functional.cross_entropy(o, t), better="lower", target=0.5)
    assert task.reached(0.4)
    assert not task.reached(0.6)
    assert task.signed(0.4) == -0.4


def test_a_target_of_the_wrong_sign_is_told_before_anything_is_written(own_folder: Path) -> None:
    task = make_task(score=lambda o, t: -nn.functional.cross_entropy(o, t), target=0.3)
    with pytest.raises(InputError, match=r"the target 0.3 has the wrong sign.*did you mean -0.3"):
        ht.train(task, ht.Recipe([], steps=1), device="cpu", quiet=True)
    assert not ht.Ledger().runs


def test_a_score_may_begin_below_zero_and_end_above() -> None:
    """Such as a correlation: of an untrained network it is as often negative as not."""
    task = make_task(score=lambda o, t: -0.1 + 0.0 * o.sum(), target=0.9)
    assert ht.train(task, ht.Recipe([], steps=1), device="cpu", quiet=True).state == "finished"


def test_the_margin_is_half_a_percent_of_the_target_unless_given() -> None:
    assert make_task(target=0.9).tolerance == pytest.approx(0.0045)
    assert make_task(target=0.9, margin=0.01).tolerance == 0.01


def test_a_file_imports_what_lies_beside_it_later_too(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a module of the name `methods` in it lists no methods."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (own_folder / "beside_it.py").write_text("import torch\nnet = lambda: torch.nn.Linear(4, 2)\n")
    (own_folder / "late.py").write_text(LATE)
    task, methods, _ = find("late.py")
    assert methods == ()
    assert isinstance(task.model(), nn.Linear)
    (own_folder / "late.py").write_text(LATE + "methods = EMA\n")
    with pytest.raises(BadWorkload, match=r"late.py: `methods` must be a list of classes of methods"):
        find("late.py")


LATE = """
import torch
import halftime as ht
from halftime import methods
from halftime.methods import EMA

x, y = torch.zeros(8, 4), torch.zeros(8, dtype=torch.long)


def model():
    from beside_it import net

    return net()


workload = ht.Workload(name="late", model=model, train=(x, y), valid=(x, y),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.9)
"""
