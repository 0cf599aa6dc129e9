"""SGD: the groups cover every parameter once, and momentum is what the book says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import SGD
from halftime.methods.sgd import decay_groups


class Tied(nn.Module):
    """An embedding that is also the last layer, a norm, a gain, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm, self.out = nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 7)
        self.out.weight = self.words.weight
        self.gain, self.frozen = nn.Parameter(torch.ones(())), nn.Linear(4, 4)
        self.frozen.requires_grad_(False)


@pytest.mark.parametrize("net", [Tied(), nn.Linear(2, 2), nn.LayerNorm(3), nn.Conv2d(2, 2, 3, bias=False)], ids=str)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_groups_cover_every_trained_parameter_exactly_once(net: nn.Module, weight_decay: float) -> None:
    groups = decay_groups(net, weight_decay)
    found = [id(p) for g in groups for p in g["params"]]  # type: ignore[attr-defined]
    assert sorted(found) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert len(found) == len(set(found)) > 0
    for group in groups:
        for p in group["params"]:  # type: ignore[attr-defined]
            assert group["weight_decay"] == (weight_decay if p.ndim >= 2 else 0.0)


def test_a_group_without_parameters_is_left_out() -> None:
    assert len(decay_groups(nn.LayerNorm(3), 0.1)) == 1
    assert len(decay_groups(nn.Linear(3, 2, bias=False), 0.1)) == 1


def test_momentum_is_the_sum_of_gradients_that_fade() -> None:
    net = nn.Linear(1, 1, bias=False)
    optimizer = SGD(lr=0.1, momentum=0.5).optimizer(net, torch.optim.SGD(net.parameters()))
    start, moved = net.weight.item(), 0.0
    for step in range(1, 6):
        net.weight.grad = torch.ones(1, 1)
        optimizer.step()
        moved += 0.1 * sum(0.5**k for k in range(step))
        assert start - net.weight.item() == pytest.approx(moved, rel=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_nesterov_needs_momentum_to_look_along(momentum: float, nesterov: bool) -> None:
    net = nn.Linear(2, 2)
    optimizer = SGD(momentum=momentum, nesterov=nesterov).optimizer(net, torch.optim.SGD(net.parameters()))
    assert {g["nesterov"] for g in optimizer.param_groups} == {nesterov and momentum > 0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", "0.1"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-09),
        ("nesterov", 1),
        ("nesterov", "yes"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^SGD\.{field}") as error:
        SGD(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
