"""What does not fit is found on two samples, before anything is written."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.diagnose.misfit import FACTS, inspect
from halftime.errors import BadWorkload
from halftime.methods import ChannelsLast, ProgressiveResize
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
