"""AdamW: what the groups and the settings give to torch's optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import AdamW


def made(net: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return AdamW(**settings).optimizer(net, torch.optim.SGD(net.parameters()))


def test_every_setting_reaches_torch() -> None:
    optimizer = made(nn.Linear(3, 2), lr=0.02, weight_decay=0.3, beta1=0.8, beta2=0.95)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {g["lr"] for g in optimizer.param_groups} == {0.02}
    assert {g["betas"] for g in optimizer.param_groups} == {(0.8, 0.95)}
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.0]


def test_the_decay_pulls_matrices_and_leaves_biases() -> None:
    net = nn.Linear(3, 2)
    before = [p.detach().clone() for p in net.parameters()]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    made(net, lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(net.weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(net.bias, before[1])


def test_the_first_step_has_the_length_of_the_rate_whatever_the_gradient() -> None:
    for size in (1e-3, 1.0, 1e3):
        net = nn.Linear(4, 4)
        before = net.weight.detach().clone()
        for p in net.parameters():
            p.grad = torch.full_like(p, size)
        made(net, lr=0.01, weight_decay=0.0).step()
        assert torch.allclose(before - net.weight, torch.full((4, 4), 0.01), rtol=1e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0),
        ("lr", -0.001),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", "fast"),
        ("lr", True),
        ("lr", None),
        ("weight_decay", -0.1),
        ("beta1", 1.0),
        ("beta1", -0.1),
        ("beta2", 1),
        ("beta2", [0.9]),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^AdamW\.{field}") as error:
        AdamW(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
