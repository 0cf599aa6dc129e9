"""Stochastic gradient descent with momentum.

What: the plain step, with (Nesterov) momentum and weight decay on matrices and kernels only.
Paper: Robbins & Monro 1951; Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
Costs: one buffer of the size of the weights where momentum is used.
Fails when: the learning rate is not tuned to the network, or gradients differ much in size between layers.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from halftime.places import Method
from halftime.settings import setting


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups that decay matrices and kernels but not biases, norms and gains (ndim < 2).

    Args:
        model: its trainable parameters are split.
        weight_decay: for the first group; the second has 0.

    Returns:
        One or two groups for a torch optimizer; a group without parameters is left out.

    Example:
        >>> [len(g["params"]) for g in decay_groups(nn.Linear(3, 2), 0.1)]
        [1, 1]
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


@dataclasses.dataclass(frozen=True)
class SGD(Method):
    """Stochastic gradient descent.

    Args:
        lr: learning rate at the schedule's peak.
        momentum: share of the last step that goes on.
        nesterov: look ahead along the momentum, where there is any.
        weight_decay: pull towards zero, on matrices and kernels.
    """

    lr: float = setting(0.1, above=0)
    momentum: float = setting(0.9, low=0, below=1)
    nesterov: bool = False
    weight_decay: float = setting(0.0, low=0)

    slot: ClassVar[str] = "optimizer"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"lr": (0.01, 0.03, 0.1, 0.3, 1.0), "momentum": (0.0, 0.9), "weight_decay": (0.0, 5e-4)}

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            decay_groups(model, self.weight_decay),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
        )
