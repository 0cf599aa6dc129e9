"""Lookahead: the rounds of the paper written out, and slow weights that lie on the way of the fast ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue
from halftime.methods import EMA, SGD, Lookahead, ScheduleFree
from halftime.methods.lookahead import SlowWeights
from tests.contract.tasks import recipe, same, task, trained, weights


def test_it_is_the_loop_of_the_paper() -> None:
    """The slow twin: rounds of inner steps, each from the slow weights on, as Algorithm 1 has it."""
    every, share, lr = 4, 0.3, 0.05
    start, gradient = torch.tensor([3.0, -2.0]), lambda w: 2.0 * w + 1.0
    fast = start.clone()
    slow = SlowWeights([fast], every, share)
    for _ in range(5 * every):
        fast.sub_(lr * gradient(fast))
        slow.follow()
    outer = start.clone()
    for _ in range(5):
        inner = outer.clone()
        for _ in range(every):
            inner = inner - lr * gradient(inner)
        outer = outer + share * (inner - outer)
    assert torch.allclose(fast, outer)
    assert torch.equal(fast, slow.slow[0])


def test_all_of_the_way_is_the_optimizer_alone() -> None:
    fast, alone = torch.ones(3), torch.ones(3)
    slow = SlowWeights([fast], every=2, share=1.0)
    for step in range(6):
        fast.sub_(0.1 * step)
        alone.sub_(0.1 * step)
        slow.follow()
    assert torch.equal(fast, alone)


def test_between_the_rounds_the_slow_weights_stay() -> None:
    fast = torch.zeros(1)
    slow = SlowWeights([fast], every=3, share=0.5)
    seen = []
    for _ in range(6):
        fast.add_(1.0)
        slow.follow()
        seen.append(slow.slow[0].item())
    assert seen == [0.0, 0.0, 1.5, 1.5, 1.5, 3.0]


def test_inside_the_slow_weights_are_there_and_come_back_even_when_something_breaks() -> None:
    fast = torch.zeros(2)
    slow = SlowWeights([fast], every=5)
    fast.add_(1.0)

    def break_inside() -> None:
        with slow.swapped():
            assert torch.equal(fast, torch.zeros(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_inside()
    assert torch.equal(fast, torch.ones(2))
    assert torch.equal(slow.slow[0], torch.zeros(2))


def test_it_survives_a_stop_inside_a_round() -> None:
    net = nn.Linear(2, 2)
    method = Lookahead(every=4, share=0.5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before, after = (method.start(net, optimizer, None) for _ in range(2))
    for _ in range(3):
        before.after_step(0.0)
    after.load_state_dict(before.state_dict())
    assert after.state_dict()["steps"] == 3
    with torch.no_grad():
        net.weight.add_(1.0)
    expected = net.weight.detach() - 0.5
    after.after_step(0.0)
    assert torch.allclose(net.weight, expected)


def test_an_average_follows_what_lookahead_arrives_at(tmp_path: Path) -> None:
    both = recipe(EMA(decay=0.0, warmup=1), Lookahead(every=1, share=0.5), SGD(lr=0.1), steps=6)
    assert [type(m).__name__ for m in both.methods] == ["SGD", "Lookahead", "EMA"]
    alone = recipe(Lookahead(every=1, share=0.5), SGD(lr=0.1), steps=6)
    assert same(weights(trained(task(), both, tmp_path)), weights(trained(task(), alone, tmp_path)))


def test_the_slow_weights_are_judged_whatever_the_optimizer_averages() -> None:
    pytest.importorskip("schedulefree")
    both = recipe(Lookahead(), ScheduleFree(), steps=6)
    assert [type(m).__name__ for m in both.methods] == ["ScheduleFree", "Lookahead"]
    net = nn.Linear(2, 1)
    optimizer = both.methods[0].optimizer(net, torch.optim.SGD(net.parameters()))
    feed = Feed(Tensors(torch.ones(8, 2), torch.ones(8, 1)), 4, seed=0)
    free, slow = (method.start(net, optimizer, feed) for method in both.methods)
    for _ in range(7):
        optimizer.zero_grad()
        net(torch.ones(4, 2)).square().mean().backward()
        optimizer.step()
        slow.after_step(0.5)
    with free.evaluating(), slow.evaluating():
        judged = [p.detach().clone() for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(judged, slow.state_dict()["slow"], strict=True))


@pytest.mark.parametrize(
    ("field", "value"), [("every", 0), ("every", 2.5), ("share", 0.0), ("share", 1.5), ("share", float("nan"))]
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^Lookahead\.{field}") as error:
        Lookahead(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
