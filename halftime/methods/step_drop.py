"""Drops of the learning rate at fixed points.

What: the rate is multiplied by a factor at each milestone.
Paper: He et al. 2016, "Deep Residual Learning for Image Recognition" (the schedule in its section 4).
Costs: nothing.
Fails when: the milestones were chosen for another length of training; progress, not epochs, keeps them in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from halftime.places import Method
from halftime.settings import setting


def step_drop(progress: float, milestones: Sequence[float] = (0.5, 0.75), factor: float = 0.1) -> float:
    """The factor on the base rate.

    Args:
        progress: share of the training done, 0 to 1.
        milestones: shares of the training at which the rate drops.
        factor: what each drop multiplies by, 0 to 1.

    Returns:
        `factor` to the power of the milestones passed.

    Example:
        >>> [round(step_drop(p), 3) for p in (0, 0.5, 0.8)]
        [1.0, 0.1, 0.01]
    """
    return float(factor ** sum(progress >= m for m in milestones))


@dataclasses.dataclass(frozen=True)
class StepDrop(Method):
    """Drops of the learning rate at fixed points.

    Args:
        milestones: shares of the training at which the rate drops.
        factor: what each drop multiplies by.
    """

    milestones: tuple[float, ...] = setting((0.5, 0.75), low=0, high=1)
    factor: float = setting(0.1, above=0, below=1)

    slot: ClassVar[str] = "schedule"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"factor": (0.1, 0.2, 0.5)}

    def lr_factor(self, progress: float) -> float:
        return step_drop(progress, self.milestones, self.factor)
