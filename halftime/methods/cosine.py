"""The learning rate along half a cosine, with warm restarts where they are wanted.

What: a linear rise where it is asked for, then half a cosine from the peak to a last share of it, once or more often.
Paper: Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
Costs: nothing; but a run that is cut short has not decayed, so the budget must be known.
Fails when: the last share is not small, or a restart comes so late that the rate is high when the budget ends.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from halftime.places import Method
from halftime.settings import setting


def cosine(progress: float, warmup: float = 0.0, final: float = 0.0, cycles: int = 1) -> float:
    """The factor on the peak rate.

    Args:
        progress: share of the training done, 0 to 1.
        warmup: share of the training that rises linearly from zero, 0 to below 1.
        final: the factor at the end of each cycle, 0 to 1.
        cycles: how many times it falls; all are equally long.

    Returns:
        A factor from 0 to 1.

    Example:
        >>> [round(cosine(p), 3) for p in (0, 0.5, 1)]
        [1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    done = cycles * (progress - warmup) / (1.0 - warmup)
    part = done - min(int(done), cycles - 1)  # the last cycle ends at its end, and not at the start of another
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * part))


@dataclasses.dataclass(frozen=True)
class Cosine(Method):
    """The learning rate along half a cosine.

    Args:
        warmup: share of the training that rises from zero to the peak.
        final: the rate at the end of each cycle, as a share of the peak.
        cycles: how many times it falls from the peak.
    """

    warmup: float = setting(0.0, low=0, below=1)
    final: float = setting(0.0, low=0, high=1)
    cycles: int = setting(1, low=1)

    slot: ClassVar[str] = "schedule"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"warmup": (0.0, 0.05, 0.1), "final": (0.0, 0.1)}

    def lr_factor(self, progress: float) -> float:
        return cosine(progress, self.warmup, self.final, self.cycles)
