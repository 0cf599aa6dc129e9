"""Drift: a reference that is timed now and then, to notice that the machine itself has become slower or faster."""

from __future__ import annotations

import math
import statistics
import tempfile

from halftime.recipe import Recipe
from halftime.search.timing import FEWEST, attempted, seconds_a_step, shortened
from halftime.search.view import clock
from halftime.search.work import Work
from halftime.train import train

EVERY = 60.0  # seconds of the search between two looks
LARGE = 1.25  # a change of speed by so much is reported
BLOCKS = 3


class Reference:
    """The base at a fixed number of steps, timed in between.

    Args:
        work: of the search; what is noticed becomes a note.
        recipe: of the base.
        every: seconds between two looks.
    """

    def __init__(self, work: Work, recipe: Recipe, every: float = EVERY) -> None:
        self.work, self.recipe, self.every = work, recipe, every
        self.said = 0.0  # seconds a step, when it was last said how fast the machine is
        self.steps: list[tuple[float, float]] = []  # seconds of the search, seconds a step

    def __call__(self) -> None:
        """Look, if it is time."""
        spent = self.work.journal.spent
        if spent - (self.steps[-1][0] if self.steps else -math.inf) < self.every:
            return
        step = self.work.journal.once(f"reference {len(self.steps)}", lambda: attempted(self._measure)[0])
        if step is None:  # the base diverges in so few steps: there is nothing to look at
            self.every = math.inf
            return
        self.steps.append((spent, step))
        self.said = self.said or step
        usual = self.steps[0][1]
        if not 1 / LARGE < step / self.said < LARGE:
            self.said = step
        if self.said == step != usual and not 1 / LARGE < step / usual < LARGE:
            way = f"{step / usual:.1f}× slower" if step > usual else f"{usual / step:.1f}× faster"
            self.work.note(
                f"the machine was {way} at {clock(spent)} than at the start: another job may be running; what is "
                "compared is timed side by side, but the hours hold fewer trials"
            )

    def _measure(self) -> float:
        short = shortened(self.work.workload)
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                train(
                    short, self.recipe.replace(steps=FEWEST), ledger=folder, device=self.work.place.device, quiet=True
                )
                for _ in range(BLOCKS)
            ]
            return statistics.median(seconds_a_step(run)[0] for run in runs)
