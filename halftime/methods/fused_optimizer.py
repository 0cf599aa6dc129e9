"""Step the optimizer in one kernel.

What: torch's fused implementation of the optimizer that the recipe has.
Paper: none: a kernel of torch (2022 on CUDA, 2024 on CPUs) that does the same arithmetic in one pass.
Costs: nothing; saves launches and passes over the weights.
Fails when: the optimizer has no fused kernel: it is refused by name. Where the step is a small part, little is saved.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from halftime.errors import BadRecipe
from halftime.places import Method


def fused_(optimizer: torch.optim.Optimizer) -> bool:
    """Let an optimizer that has not stepped yet use torch's fused kernel, in place.

    Args:
        optimizer: of torch, such as SGD, Adam or AdamW.

    Returns:
        Whether it can; where not, nothing is changed.

    Example:
        >>> fused_(torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1))
        True
        >>> fused_(torch.optim.Rprop([torch.zeros(2, requires_grad=True)]))
        False
    """
    groups = optimizer.param_groups
    if not all("fused" in group and not group.get("differentiable") for group in groups):
        return False
    if any(p.is_complex() or not p.is_floating_point() for group in groups for p in group["params"]):
        return False
    for options in (optimizer.defaults, *groups):
        options |= {"fused": True, "foreach": False}
    return True


@dataclasses.dataclass(frozen=True)
class FusedOptimizer(Method):
    """Step the optimizer in one kernel."""

    slot: ClassVar[str] = "kernel"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    exact: ClassVar[bool] = True
    after: ClassVar[tuple[str, ...]] = ("optimizer",)

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        if not fused_(optimizer):
            kind = type(optimizer).__name__
            raise BadRecipe(f"FusedOptimizer: {kind} has no fused kernel in torch {torch.__version__}: leave one out")
        return optimizer
