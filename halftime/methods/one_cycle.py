"""One cycle of the learning rate: up, then down to zero.

What: a linear rise to the peak, then a cosine to zero that ends with the budget.
Paper: Smith & Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates".
Costs: nothing; but a run that is cut short has not decayed, so the budget must be known.
Fails when: the training goes on after the cycle, or the peak was tuned for another length.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from halftime.places import Method
from halftime.settings import setting


def one_cycle(progress: float, warmup: float = 0.25, initial: float = 0.04) -> float:
    """The factor on the peak rate.

    Args:
        progress: share of the training done, 0 to 1.
        warmup: share of the training that rises, 0 to below 1.
        initial: the factor at the very beginning, 0 to 1.

    Returns:
        A factor from 0 to 1.

    Example:
        >>> [round(one_cycle(p), 3) for p in (0, 0.25, 0.625, 1)]
        [0.04, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return initial + (1.0 - initial) * progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


@dataclasses.dataclass(frozen=True)
class OneCycle(Method):
    """One cycle of the learning rate.

    Args:
        warmup: share of the training that rises to the peak.
        initial: the rate at the very beginning, as a share of the peak.
    """

    warmup: float = setting(0.25, low=0, below=1)
    initial: float = setting(0.04, low=0, high=1)

    slot: ClassVar[str] = "schedule"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"warmup": (0.1, 0.25, 0.4)}

    def lr_factor(self, progress: float) -> float:
        return one_cycle(progress, self.warmup, self.initial)
