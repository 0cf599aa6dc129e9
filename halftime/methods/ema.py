"""Judge a running average of the weights instead of the last ones.

What: after each step the average moves a little towards the weights; evaluation and the final weights use the average.
Paper: Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging".
Costs: a copy of the weights and one pass over them every `every` steps.
Fails when: the rate decays to zero anyway (little is left to average), or the memory is longer than the training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.places import Method, Places
from halftime.settings import setting


class WeightAverage:
    """An exponential moving average of a network's floating-point parameters and buffers.

    Args:
        model: the network that is followed; it must not get new parameter tensors afterwards.
        decay: share of the average that an update keeps.
        warmup: it keeps less early on, (1 + n) / (warmup + n) at update n if that is smaller; 1 for no warm-up.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> average = WeightAverage(net, decay=0.9)
        >>> average.update()
        >>> with average.swapped():
        ...     _ = net(torch.ones(1))
    """

    def __init__(self, model: nn.Module, decay: float = 0.99, warmup: int = 10) -> None:
        self.decay, self.warmup, self.updates = decay, warmup, 0
        self._followed = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
        self.average = [t.detach().clone() for t in self._followed]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (self.warmup + self.updates))
        torch._foreach_lerp_(self.average, [t.detach() for t in self._followed], 1.0 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the network holds the average; afterwards its own weights again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for followed, average in zip(self._followed, self.average, strict=True):
            own = followed.detach().clone()
            followed.copy_(average)
            average.copy_(own)


@dataclasses.dataclass(frozen=True)
class EMA(Method):
    """Judge a running average of the weights.

    Args:
        decay: memory of the average, for each update.
        every: steps between two updates.
        warmup: how slowly the memory grows at first; 1 for all of it at once.
    """

    decay: float = setting(0.99, low=0, below=1)
    every: int = setting(1, low=1)
    warmup: int = setting(10, low=1)

    slot: ClassVar[str] = "averaging"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    # it averages what the optimizer and Lookahead arrive at, from the weights that a prior sets when it starts
    after: ClassVar[tuple[str, ...]] = ("optimizer", "lookahead", "prior")
    choices: ClassVar = {"decay": (0.9, 0.99, 0.999)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Averaging(WeightAverage(model, self.decay, self.warmup), self.every)


class _Averaging(Places):
    def __init__(self, average: WeightAverage, every: int) -> None:
        self.average, self.every, self.steps = average, every, 0

    def after_step(self, progress: float) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.average.update()

    def evaluating(self) -> Any:
        return self.average.swapped()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "updates": self.average.updates, "average": self.average.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.average.updates = state["steps"], state["updates"]
        for kept, stored in zip(self.average.average, state["average"], strict=True):
            kept.copy_(stored)
