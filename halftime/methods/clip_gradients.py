"""Bound the norm of the gradient.

What: where the norm over all weights exceeds a bound, the gradient is scaled down to it, just before the step.
Paper: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
Costs: one pass over the gradients; nothing waits for the device.
Fails when: the bound is far below the usual norm (it is then a smaller learning rate in disguise).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.places import Method
from halftime.settings import setting


def clip_before_step(optimizer: Optimizer, norm: float = 1.0) -> Optimizer:
    """Clip the gradients of all groups at every step of this optimizer.

    Acting at the step, and not after the backward pass, lets clipping agree with loss scaling and accumulation.

    Args:
        optimizer: gets a hook before its step.
        norm: the largest allowed 2-norm of the gradients of all weights together.

    Returns:
        The same optimizer.

    Example:
        >>> net = nn.Linear(1, 1, bias=False)
        >>> optimizer = clip_before_step(torch.optim.SGD(net.parameters(), lr=0.1), norm=2.0)
        >>> net(torch.full((1, 1), 30.0)).sum().backward()
        >>> optimizer.step()
        >>> round(net.weight.grad.item(), 3)
        2.0
    """

    def clip(stepping: Optimizer, *_: Any) -> None:
        groups = [group for group in stepping.param_groups if not group.get("apart")]  # such as what weighs the losses
        weights = [p for group in groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, norm)

    optimizer.register_step_pre_hook(clip)
    return optimizer


@dataclasses.dataclass(frozen=True)
class ClipGradients(Method):
    """Bound the norm of the gradient.

    Args:
        norm: the largest allowed 2-norm over all weights.
    """

    norm: float = setting(1.0, above=0)

    slot: ClassVar[str] = "clipping"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("optimizer",)
    choices: ClassVar = {"norm": (0.3, 1.0, 3.0)}

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        return clip_before_step(optimizer, self.norm)
