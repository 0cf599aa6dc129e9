"""The plan of a run: progress as a function of the step, in whole steps also where the budget is minutes.

A budget in minutes cannot know its steps beforehand. The plan starts from a short probe and is drawn anew, from the
step reached on, when the pace turns out different; progress stays continuous, reaches 1 when the time is up, and the
list of segments replays the run exactly, without a clock.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from halftime.recipe import Recipe

OPEN = 10**12  # steps of a plan whose pace is not known yet
LAND = 0.985  # of a budget in minutes: the middle of the 97 to 100 % in which it should end


@dataclasses.dataclass
class Plan:
    """Progress over steps: piecewise linear.

    Args:
        segments: (first step, progress there, total steps) each; the last one holds from its first step on.
    """

    segments: list[tuple[int, float, int]]

    @classmethod
    def of(cls, segments: Iterable[Iterable[float]]) -> Plan:
        """From lists, as JSON has them."""
        return cls([(int(a), float(b), int(c)) for a, b, c in segments])

    @classmethod
    def for_budget(cls, recipe: Recipe, steps_per_epoch: int) -> Plan:
        """The plan of a recipe; that of a budget in minutes is open until a `Pacer` has seen some steps."""
        if recipe.minutes is not None:
            return cls([(0, 0.0, OPEN)])
        steps = recipe.steps if recipe.epochs is None else round(recipe.epochs * steps_per_epoch)
        return cls([(0, 0.0, max(1, steps or 0))])

    @property
    def open(self) -> bool:
        """Whether the steps are not known yet."""
        return self.total == OPEN

    @property
    def total(self) -> int:
        """Steps in all, as planned now."""
        return self.segments[-1][2]

    def progress(self, step: int) -> float:
        """From 0 before the first step to 1 after the last.

        >>> [Plan([(0, 0.0, 4)]).progress(step) for step in range(5)]
        [0.0, 0.25, 0.5, 0.75, 1.0]
        """
        first, start, total = self.segments[-1]
        if step < first:
            first, start, total = next(s for s in reversed(self.segments) if s[0] <= step)
        return 1.0 if step >= total else start + (1.0 - start) * (step - first) / (total - first)

    def redraw(self, step: int, total: int) -> None:
        """From `step` on, reach 1 at `total`."""
        here = self.progress(step)
        if self.segments[-1][0] == step:
            self.segments.pop()
        self.segments.append((step, here, max(total, step)))

    def due(self, step: int, times: int) -> bool:
        """Whether one of `times` evenly spread evaluations falls on the end of this step; the last step has one."""
        if step >= self.total:
            return True
        return math.floor(self.progress(step) * times + 1e-9) > math.floor(self.progress(step - 1) * times + 1e-9)


class Pacer:
    """Redraws the plan of a minutes budget so that it lands on time.

    Args:
        plan: the plan to redraw.
        seconds: the budget.
    """

    def __init__(self, plan: Plan, seconds: float) -> None:
        self.plan, self.seconds = plan, seconds
        self._look = 0.0  # when to look next, in seconds on the training clock
        self._mark: tuple[int, float] | None = None

    def tick(self, step: int, now: float) -> bool:
        """Look at the pace after a step; whether the plan was redrawn by more than 1 %.

        Args:
            step: steps done.
            now: seconds on the training clock.
        """
        if now < self._look and step < self.plan.total:
            return False
        if self._mark is None:  # the first step is the slowest and tells little: it starts the watch
            self._mark, self._look = (step, now), now + min(now, self.seconds * 0.02)
            if now >= self.seconds * LAND:
                self.plan.redraw(step, step)
            return False
        done, since = step - self._mark[0], now - self._mark[1]
        left = self.seconds * LAND - now
        before = self.plan.total
        total = step + max(0, round(left * done / since))
        if total != before:
            self.plan.redraw(step, total)
        # look often at first and near the end, and at least fifty times in between; forget old paces by halves
        self._look = now + max(0.0, min(left * 0.1, self.seconds * 0.02, now))
        if since > self.seconds * 0.1:
            self._mark = (step - done // 2, now - since / 2)
        return before != OPEN and abs(total - before) > 0.01 * before
