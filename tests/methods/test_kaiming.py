"""Kaiming: the variance is 2 / fan within what chance allows, whatever the memory layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import Kaiming
from halftime.methods.kaiming import kaiming_


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (nn.Linear(200, 300), 200, 300),
        (nn.Conv1d(40, 60, 5), 40 * 5, 60 * 5),
        (nn.Conv2d(30, 40, 3), 30 * 9, 40 * 9),
        (nn.Conv3d(12, 16, 3), 12 * 27, 16 * 27),
    ],
    ids=["Linear", "Conv1d", "Conv2d", "Conv3d"],
)
def test_mean_and_variance_are_those_of_the_paper(layer: nn.Module, fan_in: int, fan_out: int) -> None:
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out)):
        torch.manual_seed(0)
        kaiming_(layer, mode, last=True)
        weight = layer.weight.detach().double()  # type: ignore[union-attr, operator]
        n, variance = weight.numel(), 2.0 / fan
        # of n normal draws: the mean varies by sqrt(v / n), the variance by v * sqrt(2 / n); five of these at most
        assert abs(weight.mean()) < 5 * (variance / n) ** 0.5
        assert abs(weight.var() - variance) < 5 * variance * (2 / n) ** 0.5
        assert not layer.bias.any()  # type: ignore[operator, union-attr]


def test_the_signal_keeps_its_size_through_many_rectified_layers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.ReLU())))
    kaiming_(net, "fan_in", last=True)
    x = torch.randn(64, 256)
    with torch.no_grad():
        kept = float(net(x).square().mean() / x.square().mean())
    assert 0.3 < kept < 3.0  # with torch's own weights hardly anything is left


@pytest.mark.parametrize(("last", "drawn"), [(False, 2), (True, 3)])
def test_the_last_layer_is_kept_unless_asked_for(last: bool, drawn: int) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    before = [p.detach().clone() for p in net.parameters()]
    assert kaiming_(net, last=last) == drawn
    changed = [not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True)]
    assert changed == [True, True, False, False, True, last, last]  # norms are left alone


def test_a_network_without_such_layers_is_left_alone() -> None:
    assert kaiming_(nn.LayerNorm(3)) == 0
    assert kaiming_(nn.Sequential()) == 0


def test_the_draws_do_not_depend_on_the_memory_layout() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 2))
    moved = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 2)).to(memory_format=torch.channels_last)
    for net in (plain, moved):
        torch.manual_seed(0)
        kaiming_(net, last=True)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), moved.parameters(), strict=True))
    assert moved[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_equal_random_states_give_equal_weights_and_gradients_still_flow() -> None:
    nets = [nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)) for _ in range(2)]
    for net in nets:
        torch.manual_seed(5)
        Kaiming().init(net, [])
        assert all(p.requires_grad and p.is_leaf for p in net.parameters())
        net(torch.ones(1, 3)).sum().backward()
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)


@pytest.mark.parametrize(
    ("field", "value"), [("mode", "fan_avg"), ("mode", 2), ("mode", None), ("last", 1), ("last", "yes")]
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^Kaiming\.{field}") as error:
        Kaiming(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
