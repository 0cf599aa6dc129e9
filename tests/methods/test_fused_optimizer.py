"""FusedOptimizer: the same numbers to rounding, and a refusal by name where there is no kernel."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadRecipe
from halftime.methods import SGD, FusedOptimizer, MixedPrecision
from halftime.methods.fused_optimizer import fused_
from halftime.recipe import Recipe
from tests.contract.tasks import task, trained, weights

KINDS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_are_those_of_the_plain_optimizer_to_rounding(kind: str) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    fused = copy.deepcopy(plain)
    optimizers = [KINDS[kind](net.parameters()) for net in (plain, fused)]
    assert fused_(optimizers[1])
    for _ in range(10):
        x = torch.randn(8, 5)
        for net, optimizer in zip((plain, fused), optimizers, strict=True):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    for p, q in zip(plain.parameters(), fused.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_the_one_made_with_fused_true(kind: str) -> None:
    made = KINDS[kind]([torch.zeros(2, requires_grad=True)])
    asked = type(made)([torch.zeros(2, requires_grad=True)], lr=0.1, fused=True)
    fused_(made)
    assert made.defaults["fused"] is asked.defaults["fused"] is True
    assert all(group["fused"] and not group["foreach"] for group in made.param_groups)


@pytest.mark.parametrize("kind", [torch.optim.Rprop, torch.optim.RMSprop, torch.optim.NAdam])
def test_one_without_a_kernel_is_refused_by_name(kind: Any) -> None:
    optimizer = kind([torch.zeros(2, requires_grad=True)])
    before = [dict(group) for group in optimizer.param_groups]
    assert not fused_(optimizer)
    assert [dict(group) for group in optimizer.param_groups] == before
    with pytest.raises(BadRecipe, match=kind.__name__) as error:
        FusedOptimizer().optimizer(nn.Identity(), optimizer)
    assert "\n" not in str(error.value)


def test_a_recipe_gives_the_same_weights_to_rounding_with_loss_scaling_too(tmp_path: Path) -> None:
    for others in ([SGD(lr=0.1)], [SGD(lr=0.1), MixedPrecision(dtype="fp16")]):
        runs = [trained(task(), Recipe([*others, *more], steps=8), tmp_path) for more in ([], [FusedOptimizer()])]
        plain, fused = (weights(run) for run in runs)
        assert all(torch.allclose(plain[k].float(), fused[k].float(), rtol=1e-2, atol=1e-3) for k in plain)
        slots = [m.slot for m in runs[1].recipe.methods]
        assert slots.index("optimizer") < slots.index("kernel")
