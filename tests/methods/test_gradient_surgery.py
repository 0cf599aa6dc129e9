"""GradientSurgery: no head works against another, private weights are trained as ever, and the extra is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadRecipe, BadValue, BadWorkload
from halftime.methods import GradientSurgery, MixedPrecision
from halftime.methods.gradient_surgery import combined, set_gradients_, surgical_update
from tests.contract.tasks import headed_loss, headed_network, recipe, same, task, trained, weights

pytest.importorskip("torchjd", reason="gradients are combined by torchjd")
NAMES = ("UPGrad", "PCGrad", "MGDA", "DualProj")


@pytest.mark.parametrize("name", NAMES)
def test_two_gradients_that_oppose_each_other_both_gain(name: str) -> None:
    matrix = torch.tensor([[1.0, 0.2, 0.0], [-0.8, 0.9, 0.1]])
    assert matrix[0] @ matrix[1] < 0
    direction = combined(matrix, name)
    assert (matrix @ direction >= -1e-4).all()  # a step along it lowers both losses
    assert direction.norm() > 0


@pytest.mark.parametrize("name", ["UPGrad", "PCGrad", "DualProj"])
def test_where_nothing_conflicts_it_is_the_plain_sum(name: str) -> None:
    matrix = torch.tensor([[1.0, 0.5, 0.0], [0.2, 2.0, 0.0], [0.0, 1.0, 3.0]])
    assert torch.allclose(combined(matrix, name), matrix.sum(0), atol=1e-4)


def test_mgda_is_the_shortest_mean_by_the_number_of_heads() -> None:
    assert torch.allclose(combined(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), "MGDA"), torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_nothing(name: str) -> None:
    assert torch.equal(combined(torch.zeros(2, 3), name), torch.zeros(3))


def test_the_plain_sum_as_combination_is_plain_training() -> None:
    torch.manual_seed(0)
    images, kinds = torch.randn(8, 1, 8, 8), torch.randint(3, (8,))
    nets = [headed_network(small), headed_network(small)]
    nets[1].load_state_dict(nets[0].state_dict())
    one, other = (torch.optim.SGD(net.parameters(), lr=0.1) for net in nets)
    assert surgical_update(lambda backward: backward(headed_loss(nets[0](images), kinds)), one, lambda m: m.sum(0))
    sum(headed_loss(nets[1](images), kinds).values()).backward()  # type: ignore[union-attr]
    other.step()
    pairs = list(zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    assert len(pairs) == 4
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_weights_of_one_head_get_its_own_gradient_and_others_none() -> None:
    shared, own, unused = (torch.zeros(2, requires_grad=True) for _ in range(3))
    rows = [[torch.ones(2), None, None], [-torch.ones(2), torch.full((2,), 3.0), None]]
    set_gradients_([shared, own, unused], rows, lambda matrix: matrix[0] * 5)
    assert shared.grad is not None
    assert own.grad is not None
    assert (shared.grad.tolist(), own.grad.tolist(), unused.grad) == ([5.0, 5.0], [3.0, 3.0], None)


def test_gradients_lie_in_memory_as_their_weights_do() -> None:
    """A fused step goes through both as they lie."""
    shared, own = (torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    numbers = torch.arange(24.0).view(2, 3, 2, 2)
    set_gradients_([shared, own], [[numbers, None], [numbers, numbers]], lambda matrix: matrix.sum(0))
    for weight, expected in ((shared, 2 * numbers), (own, numbers)):
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()
        assert torch.equal(weight.grad, expected)


def test_pcgrad_draws_by_the_seed(tmp_path: Path) -> None:
    runs = [trained(task(), recipe(GradientSurgery(aggregator="PCGrad"), steps=8), tmp_path, seed=1) for _ in range(2)]
    assert same(weights(runs[0]), weights(runs[1]))


def test_without_the_extra_it_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.import_module

    def gone(name: str, *rest: Any) -> Any:
        if name.startswith("torchjd"):
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(
        BadRecipe,
        match=r"^GradientSurgery needs the package torchjd: pip install 'torchjd\[quadprog-projector\]<0.19'$",
    ):
        trained(task(), recipe(GradientSurgery()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_with_one_loss_or_another_update_it_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadWorkload, match=r"^GradientSurgery needs a loss that is a dict of several"):
        trained(task(name="one loss"), recipe(GradientSurgery()), tmp_path)
    with pytest.raises(BadRecipe, match=r"only one method may do the update, not GradientSurgery and MixedPrecision: "):
        trained(task(), recipe(GradientSurgery(), MixedPrecision(dtype="fp16")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_aggregator_is_refused() -> None:
    with pytest.raises(BadValue, match=r"GradientSurgery\.aggregator must be one of 'UPGrad'"):
        GradientSurgery(aggregator="Sum")
