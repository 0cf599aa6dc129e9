"""DropOnStall: drops after exactly `patience` evaluations without a new best, and survives a stop."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import DropOnStall
from halftime.methods.drop_on_stall import StallWatch


def rates(watch: StallWatch, scores: list[float]) -> list[float]:
    found = []
    for score in scores:
        watch.see(score)
        found.append(watch.rate)
    return found


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_it_drops_after_exactly_so_many_evaluations_without_a_best(patience: int) -> None:
    watch = StallWatch(patience, factor=0.5)
    assert rates(watch, [1.0] + [0.9] * (patience - 1)) == [1.0] * patience
    assert rates(watch, [0.9]) == [0.5]
    assert rates(watch, [0.9] * patience)[-2:] == ([0.5, 0.25] if patience > 1 else [0.25])


def test_it_never_drops_while_scores_rise() -> None:
    assert set(rates(StallWatch(1, 0.5), [float(i) for i in range(50)])) == {1.0}


def test_a_new_best_starts_the_wait_anew() -> None:
    assert rates(StallWatch(2, 0.5), [1.0, 0.9, 1.1, 1.0, 1.0]) == [1.0, 1.0, 1.0, 1.0, 0.5]


def test_an_equal_score_is_no_new_best() -> None:
    assert rates(StallWatch(1, 0.5), [1.0, 1.0])[-1] == 0.5


def test_a_smaller_improvement_than_asked_does_not_count() -> None:
    assert rates(StallWatch(1, 0.5, improvement=0.1), [1.0, 1.05])[-1] == 0.5
    assert rates(StallWatch(1, 0.5, improvement=0.1), [1.0, 1.2])[-1] == 1.0


def test_a_score_that_is_not_a_number_counts_as_waiting() -> None:
    assert rates(StallWatch(1, 0.5), [1.0, float("nan"), 2.0]) == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_never_rises_and_is_a_power_of_the_factor(seed: int) -> None:
    source = random.Random(seed)
    found = rates(StallWatch(2, 0.5), [source.gauss(0, 1) for _ in range(40)])
    assert found == sorted(found, reverse=True)
    assert all(rate in {0.5**k for k in range(21)} for rate in found)


@pytest.mark.parametrize("stop", range(8))
def test_it_survives_a_stop_anywhere(stop: int) -> None:
    scores = [0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.1, 0.5]
    net = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters())
    method = DropOnStall(patience=2, factor=0.5)
    through, before = method.start(net, optimizer, None), method.start(net, optimizer, None)
    for score in scores[:stop]:
        before.evaluated(score)
    after = method.start(net, optimizer, None)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for score in scores:
        through.evaluated(score)
    for score in scores[stop:]:
        after.evaluated(score)
    assert after.lr_factor(0.5) == through.lr_factor(0.5)
    assert after.state_dict() == through.state_dict()


def test_two_runs_of_one_description_share_nothing() -> None:
    net = nn.Linear(1, 1)
    method = DropOnStall(patience=1)
    one, other = (method.start(net, torch.optim.SGD(net.parameters()), None) for _ in range(2))
    one.evaluated(1.0)
    one.evaluated(0.0)
    assert one.lr_factor(0.0) < other.lr_factor(0.0) == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patience", 0),
        ("patience", 1.5),
        ("patience", True),
        ("factor", 0),
        ("factor", 1.0),
        ("factor", float("nan")),
        ("improvement", -0.1),
        ("improvement", "some"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^DropOnStall\.{field}") as error:
        DropOnStall(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
