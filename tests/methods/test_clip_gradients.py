"""ClipGradients: the norm is bounded, and what is below the bound is left alone bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import ClipGradients
from halftime.methods.clip_gradients import clip_before_step


def network_with_gradients(scale: float) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    for p in net.parameters():
        p.grad = scale * torch.randn_like(p)
    return net


def norm_of(net: nn.Module) -> float:
    return float(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm())


@pytest.mark.parametrize("scale", [1e-6, 0.01, 1.0, 1e4])
@pytest.mark.parametrize("norm", [0.1, 1.0, 50.0])
def test_the_norm_over_all_weights_is_bounded(scale: float, norm: float) -> None:
    net = network_with_gradients(scale)
    before, gradients = norm_of(net), [p.grad.clone() for p in net.parameters() if p.grad is not None]
    clip_before_step(torch.optim.SGD(net.parameters(), lr=0.1), norm).step()
    after = [p.grad for p in net.parameters() if p.grad is not None]
    assert norm_of(net) <= norm * (1 + 1e-5)
    if before < 0.99 * norm:
        assert all(torch.equal(a, b) for a, b in zip(after, gradients, strict=True))
    elif before > norm:  # shorter, in the same direction
        assert norm_of(net) == pytest.approx(norm, rel=1e-4)
        for a, b in zip(after, gradients, strict=True):
            assert torch.allclose(a * (before / norm), b, rtol=1e-4)


def test_groups_are_clipped_together() -> None:
    net = network_with_gradients(10.0)
    first, second = net.children()
    optimizer = torch.optim.SGD([{"params": first.parameters()}, {"params": second.parameters()}], lr=0.1)
    clip_before_step(optimizer, 1.0).step()
    assert norm_of(net) == pytest.approx(1.0, rel=1e-4)


def test_parameters_added_later_are_clipped_too() -> None:
    net = network_with_gradients(10.0)
    first, second = net.children()
    optimizer = clip_before_step(torch.optim.SGD(first.parameters(), lr=0.1), 1.0)
    optimizer.add_param_group({"params": list(second.parameters())})
    optimizer.step()
    assert norm_of(net) == pytest.approx(1.0, rel=1e-4)


def test_what_weighs_the_losses_is_not_clipped_with_the_network() -> None:
    net = network_with_gradients(0.1)
    weighs = torch.zeros(1, requires_grad=True)
    weighs.grad = torch.full((1,), 100.0)
    optimizer = clip_before_step(torch.optim.SGD(net.parameters(), lr=0.1), 1.0)
    optimizer.add_param_group({"params": [weighs], "apart": True})
    before = norm_of(net)
    optimizer.step()
    assert norm_of(net) == before
    assert float(weighs.grad) == 100.0


def test_parameters_without_a_gradient_do_not_matter() -> None:
    net = network_with_gradients(10.0)
    next(net.parameters()).grad = None
    clip_before_step(torch.optim.SGD(net.parameters(), lr=0.1), 1.0).step()
    assert norm_of(net) == pytest.approx(1.0, rel=1e-4)


def test_it_acts_on_the_optimizer_of_the_recipe() -> None:
    net = network_with_gradients(10.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    assert ClipGradients(norm=0.5).optimizer(net, optimizer) is optimizer
    optimizer.step()
    assert norm_of(net) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("norm", 0), ("norm", -1.0), ("norm", float("nan")), ("norm", float("inf")), ("norm", "1"), ("norm", False)],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^ClipGradients\.{field}") as error:
        ClipGradients(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
