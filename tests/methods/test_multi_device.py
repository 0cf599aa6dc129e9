"""MultiDevice alone: rates by a stated rule, and nothing else. Two ranks are in tests/contract/test_ranks.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue
from halftime.methods import SGD, MultiDevice
from halftime.methods.multi_device import RULES, meet, part_of, scaled_rate, together_
from tests.conftest import make_task


@pytest.mark.parametrize(("rule", "full"), [("none", 1.0), ("linear", 9.0), ("sqrt", 3.0)])
def test_a_rate_grows_by_its_rule_and_reaches_it_after_the_warm_up(rule: str, full: float) -> None:
    assert set(RULES) == {"none", "linear", "sqrt"}
    assert scaled_rate(0.0, 9.0, rule, warmup=0.25) == 1.0
    assert scaled_rate(0.125, 9.0, rule, warmup=0.25) == pytest.approx((1.0 + full) / 2)
    assert [scaled_rate(p, 9.0, rule, warmup=0.25) for p in (0.25, 0.6, 1.0)] == [full] * 3
    assert scaled_rate(0.0, 9.0, rule, warmup=0.0) == full


def test_a_rate_that_shrinks_needs_no_warm_up() -> None:
    assert scaled_rate(0.0, 0.25, "linear") == 0.25
    assert scaled_rate(0.0, 0.25, "sqrt") == 0.5


def test_the_rule_counts_the_global_batch(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), MultiDevice(rates="linear", base=16, warmup=0.0)], steps=3, batch_size=64)
    run = ht.train(make_task(), what, device="cpu", ledger=tmp_path, quiet=True)
    assert [rate for _, rate in run.series("lr")] == pytest.approx([0.4] * 3)


def test_alone_nothing_is_wrapped() -> None:
    net, feed = nn.Linear(2, 1), Feed(Tensors(torch.arange(8)), batch_size=4, seed=0)
    before = dict(vars(net))
    assert together_(net, nn.functional.mse_loss, "shard") is nn.functional.mse_loss
    assert vars(net) == before
    assert part_of(feed) is feed
    assert meet() == torch.device("cpu")


@pytest.mark.parametrize(
    ("field", "value"), [("how", "pipeline"), ("rates", "square"), ("base", 0), ("warmup", 1.0), ("warmup", -0.1)]
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^MultiDevice\.{field}") as error:
        MultiDevice(**{field: value})
    assert "\n" not in str(error.value)


def test_a_method_that_is_not_proved_declares_nothing() -> None:
    assert ht.Method.devices == ()
    for kind in (SGD, MultiDevice):
        assert set(kind.devices) <= {"replicate", "shard"}
