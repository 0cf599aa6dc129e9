"""Step forward several times, then go a part of the way.

What: every few steps, slow weights move a share of the way to where the optimizer's fast weights have got to, and the
fast ones start again from there; evaluation and the final weights use the slow ones.
Paper: Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back".
Costs: a copy of the weights, and one pass over them every `every` steps.
Fails when: the rate decays to zero anyway, or the steps are few and the slow weights lag behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.places import Method, Places
from halftime.settings import setting


class SlowWeights:
    """Slow weights that follow fast ones.

    Args:
        weights: the fast ones; changed in place by whatever optimizer there is.
        every: steps forward before each step back.
        share: how far the slow ones go towards the fast ones, above 0 to 1.

    Example:
        >>> fast = torch.zeros(1)
        >>> slow = SlowWeights([fast], every=2, share=0.5)
        >>> for _ in range(2):
        ...     _ = fast.add_(1.0)
        ...     slow.follow()
        >>> fast
        tensor([1.])
    """

    def __init__(self, weights: Iterable[Tensor], every: int = 5, share: float = 0.5) -> None:
        self.every, self.share, self.steps = every, share, 0
        self._fast = [w.detach() for w in weights]
        self.slow = [w.clone() for w in self._fast]

    @torch.no_grad()
    def follow(self) -> None:
        """Count a step of the fast weights; where it is time, move the slow ones and set the fast ones on them."""
        self.steps += 1
        if self.steps % self.every == 0:
            torch._foreach_lerp_(self.slow, self._fast, self.share)
            torch._foreach_copy_(self._fast, self.slow)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the network holds the slow weights; afterwards the fast ones again."""
        kept = [w.clone() for w in self._fast]
        torch._foreach_copy_(self._fast, self.slow)
        try:
            yield
        finally:
            torch._foreach_copy_(self._fast, kept)


@dataclasses.dataclass(frozen=True)
class Lookahead(Method):
    """Step forward several times, then go a part of the way.

    Args:
        every: steps forward before each step back.
        share: how far the slow weights go towards the fast ones.
    """

    every: int = setting(5, low=1)
    share: float = setting(0.5, above=0, high=1)

    slot: ClassVar[str] = "lookahead"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    # the slow weights begin where the prior sets the bias, and are judged as they are, whatever the optimizer averages
    after: ClassVar[tuple[str, ...]] = ("optimizer", "prior")
    choices: ClassVar = {"every": (5, 10), "share": (0.5, 0.8)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        stepped = [p for group in optimizer.param_groups for p in group["params"]]
        return _Following(SlowWeights(stepped, self.every, self.share))


class _Following(Places):
    def __init__(self, weights: SlowWeights) -> None:
        self.weights = weights

    def after_step(self, progress: float) -> None:
        self.weights.follow()

    def evaluating(self) -> Any:
        return self.weights.swapped()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.weights.steps, "slow": self.weights.slow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights.steps = state["steps"]
        for kept, stored in zip(self.weights.slow, state["slow"], strict=True):
            kept.copy_(stored)
