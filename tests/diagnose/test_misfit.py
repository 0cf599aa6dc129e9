"""What does not fit is found on two samples, before anything is written."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.diagnose.misfit import FACTS, check, inspect
from halftime.errors import BadWorkload
from halftime.methods import ChannelsLast, HardExamples, ProgressiveResize, SoftPrune
from tests.conftest import make_net, make_task


def test_facts_of_a_workload() -> None:
    task = make_task()
    x, y = task.train.columns
    assert inspect(task, make_net(), (x[:2], y[:2])) == {"images", "classes", "labels", "movable", "kinds", "mean"}
    heads = make_task(loss=lambda o, t: {"a": nn.functional.cross_entropy(o, t), "b": o.square().mean()})
    assert inspect(heads, make_net(), (x[:2], y[:2])) == {"images", "heads", "movable", "kinds"}
    assert set(FACTS) == {"cuda", "images", "classes", "labels", "heads", "movable", "kinds", "mean", "tokens"}


def test_looking_leaves_no_trace() -> None:
    task, model = make_task(), make_net().train()
    x, y = task.train.columns
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    inspect(task, model, (x[:2], y[:2]))
    assert model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_network_of_fixed_size_refuses_resizing_by_name() -> None:
    task = make_task(model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    with pytest.raises(BadWorkload, match="does not take what ProgressiveResize makes of a batch"):
        ht.train(task, ht.Recipe([ProgressiveResize()], steps=2), device="cpu", quiet=True)
    assert not ht.Ledger().runs
    ht.train(task, ht.Recipe([ChannelsLast()], steps=2), device="cpu", quiet=True)


def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, weight=torch.tensor([1.0, 9.0]))


@pytest.mark.parametrize(
    "loss",
    [
        weighted,
        functools.partial(nn.functional.cross_entropy, weight=torch.tensor([1.0, 9.0])),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0])),
        nn.CrossEntropyLoss(ignore_index=1),
    ],
    ids=["function", "partial", "module", "ignored"],
)
@pytest.mark.parametrize("method", [SoftPrune(), HardExamples()], ids=lambda m: type(m).__name__)
def test_two_samples_of_one_class_do_not_make_a_loss_a_mean(loss: Any, method: ht.Method) -> None:
    task, model = make_task(loss=loss), make_net()
    x, y = torch.randn(8, 1, 8, 8), torch.tensor([0, 0, 1, 0, 1, 1, 0, 1])
    assert "mean" in inspect(task, model, (x[:2], y[:2]))
    with pytest.raises(BadWorkload, match=rf"^{type(method).__name__} needs a single loss that is the mean over the"):
        check(task, (method,), model, (x, y))
    check(task, (ChannelsLast(),), model, (x, y))  # who does not go by it is not refused
    check(make_task(), (method,), model, (x, y))


def test_zeros_and_ones_under_a_softmax_are_no_labels_of_a_sigmoid() -> None:
    model, x = make_net(), torch.randn(8, 1, 8, 8)
    yes = nn.functional.one_hot(torch.arange(8) % 2, 2).float()
    for loss, fits in (
        (nn.functional.binary_cross_entropy_with_logits, True),
        (nn.functional.cross_entropy, False),
        (nn.CrossEntropyLoss(label_smoothing=0.1), False),
    ):
        assert ("labels" in inspect(make_task(loss=loss, score=ones), model, (x, yes))) is fits
    shares = make_task(loss=nn.functional.binary_cross_entropy, score=ones)  # whose loss may not be asked beyond one
    inside = nn.Sequential(model, nn.Sigmoid())
    assert "labels" in inspect(shares, inside, (x, yes))
    assert "labels" not in inspect(make_task(loss=nn.functional.cross_entropy, score=ones), inside, (x, yes))


def ones(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((outputs > 0) == (targets == 1)).float().mean(1)
