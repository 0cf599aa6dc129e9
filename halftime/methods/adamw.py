"""Adam with decoupled weight decay.

What: steps scaled by running estimates of each gradient's mean and size; the decay acts on the weights themselves.
Paper: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
Costs: two buffers of the size of the weights.
Fails when: the second moment is estimated from very few steps, so the first steps need a warm-up.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from halftime.methods.sgd import decay_groups
from halftime.places import Method
from halftime.settings import setting


@dataclasses.dataclass(frozen=True)
class AdamW(Method):
    """Adam with decoupled weight decay; torch has the optimizer, `halftime.methods.sgd.decay_groups` its groups.

    Args:
        lr: learning rate at the schedule's peak.
        weight_decay: pull towards zero for each unit of learning rate, on matrices and kernels.
        beta1: memory of the gradient's mean.
        beta2: memory of the gradient's size.
    """

    lr: float = setting(1e-3, above=0)
    weight_decay: float = setting(0.01, low=0)
    beta1: float = setting(0.9, low=0, below=1)
    beta2: float = setting(0.999, low=0, below=1)

    slot: ClassVar[str] = "optimizer"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"lr": (3e-4, 1e-3, 3e-3, 1e-2), "weight_decay": (0.0, 0.01, 0.1)}

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return torch.optim.AdamW(decay_groups(model, self.weight_decay), lr=self.lr, betas=(self.beta1, self.beta2))
