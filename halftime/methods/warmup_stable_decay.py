"""A learning rate that rises, stays, and falls to zero at the end.

What: a linear rise, a constant peak, and a fall to zero over the last share of the training.
Paper: Hu et al. 2024, "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies";
the square-root fall: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations".
Costs: nothing; what was trained before the fall can be gone on with for longer, or be let fall at any time.
Fails when: the fall is too short for the noise of the constant rate, so the score before it tells little about the end.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

from halftime.places import Method
from halftime.settings import setting

FALLS: Mapping[str, Callable[[float], float]] = {  # from 1 to 0 over the share of the fall that is done
    "linear": lambda done: 1.0 - done,
    "sqrt": lambda done: 1.0 - math.sqrt(done),
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}


def warmup_stable_decay(
    progress: float, warmup: float = 0.05, decay: float = 0.2, initial: float = 0.04, fall: str = "linear"
) -> float:
    """The factor on the peak rate.

    Args:
        progress: share of the training done, 0 to 1.
        warmup: share of the training that rises, 0 to below 1.
        decay: share of the training that falls, above 0 to 1; where both overlap, the lower factor counts.
        initial: the factor at the very beginning, 0 to 1.
        fall: "linear", "sqrt" (steep at first) or "cosine" (steep in the middle).

    Returns:
        A factor from 0 to 1.

    Example:
        >>> [round(warmup_stable_decay(p), 3) for p in (0, 0.05, 0.5, 0.8, 0.9, 1)]
        [0.04, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    rising = initial + (1.0 - initial) * progress / warmup if progress < warmup else 1.0
    done = min(1.0, max(0.0, (progress - (1.0 - decay)) / decay))
    return min(rising, FALLS[fall](done))


@dataclasses.dataclass(frozen=True)
class WarmupStableDecay(Method):
    """A learning rate that rises, stays, and falls to zero at the end.

    Args:
        warmup: share of the training that rises to the peak.
        decay: share of the training that falls to zero.
        initial: the rate at the very beginning, as a share of the peak.
        fall: "linear", "sqrt" (steep at first) or "cosine" (steep in the middle).
    """

    warmup: float = setting(0.05, low=0, below=1)
    decay: float = setting(0.2, above=0, high=1)
    initial: float = setting(0.04, low=0, high=1)
    fall: str = setting("linear", among=tuple(FALLS))

    slot: ClassVar[str] = "schedule"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"decay": (0.1, 0.2, 0.4, 0.7), "fall": ("linear", "sqrt")}

    def lr_factor(self, progress: float) -> float:
        return warmup_stable_decay(progress, self.warmup, self.decay, self.initial, self.fall)
