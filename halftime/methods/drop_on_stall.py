"""Drop the learning rate when the validation score stalls.

What: after some evaluations without a new best score the rate is multiplied by a factor.
Paper: none; an old practice, described in Bottou 2012, "Stochastic Gradient Descent Tricks".
Costs: nothing, but it reacts late: the evaluations it waits through are spent.
Fails when: the score is noisier than its progress, or evaluations are rare.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from halftime.places import Method, Places
from halftime.settings import setting


class StallWatch:
    """Counts evaluations without a new best score.

    Args:
        patience: evaluations to wait for a new best.
        factor: what each drop multiplies the rate by.
        improvement: how much better than the best a score must be to count.

    Example:
        >>> watch = StallWatch(patience=2, factor=0.5)
        >>> for score in (0.5, 0.4, 0.4):
        ...     watch.see(score)
        >>> watch.rate
        0.5
    """

    def __init__(self, patience: int = 3, factor: float = 0.3, improvement: float = 0.0) -> None:
        self.patience, self.factor, self.improvement = patience, factor, improvement
        self.best, self.waited, self.rate = -math.inf, 0, 1.0

    def see(self, score: float) -> None:
        """Hear a score; higher is better."""
        if score > self.best + self.improvement:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.rate, self.waited = self.rate * self.factor, 0


@dataclasses.dataclass(frozen=True)
class DropOnStall(Method):
    """Drop the learning rate when the validation score stalls.

    Args:
        patience: evaluations to wait for a new best score.
        factor: what each drop multiplies the rate by.
        improvement: how much better a score must be to count as new.
    """

    patience: int = setting(3, low=1)
    factor: float = setting(0.3, above=0, below=1)
    improvement: float = setting(0.0, low=0)

    slot: ClassVar[str] = "schedule"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"patience": (2, 3, 5), "factor": (0.1, 0.3, 0.5)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Watching(StallWatch(self.patience, self.factor, self.improvement))


class _Watching(Places):
    def __init__(self, watch: StallWatch) -> None:
        self.watch = watch

    def lr_factor(self, progress: float) -> float:
        return self.watch.rate

    def evaluated(self, score: float) -> None:
        self.watch.see(score)

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self.watch))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self.watch).update(state)
