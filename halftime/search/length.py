"""Length: the fewest steps with which a recipe still reaches the goal; a root of a noisy function.

The final score of a decayed schedule grows with the log of its steps, and seeds differ. What is known of the root is a
distribution over log steps: each training, at the middle of it, tells about where the root is, as probabilistic
bisection does, with how far above or below the goal it ended in place of a bare yes or no. At the end stands a margin
for the seeds, and several seeds that must all reach the target with it.
Paper: Waeber, Frazier & Henderson 2013, "Bisection Search with Noisy Responses".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from halftime.recipe import Recipe
from halftime.search.gains import FEWEST, Anchor
from halftime.search.records import Trial
from halftime.search.retune import of_length
from halftime.search.work import Work

SEEDS = 30_000  # where the seeds of shortening begin
LOOKS, CHECKS = 6, 4  # trainings that look for the root; seeds that must all reach the target
WIDE = 0.7  # of the first guess: standard deviation of log steps
LONGEST = 4.0  # times the base's steps
CROOKED = 0.3  # how far the line through the last score may be off, as a share of the distance
SAFE = 2.5  # standard deviations between seeds that are kept as a margin: one seed that misses ends a proof
KNOWN = 0.2  # of log steps: a root that lies so near below its ninth tenth is known well enough to be proved unchecked
SPARE = 2.0  # standard deviations by which the mean of the checks must lie above the target: one run in 44 misses then


class Root:
    """What is known of a root on a line: a distribution over a grid.

    Args:
        low: where the grid begins.
        high: where it ends.
        guess: the middle of the first guess.
        width: its standard deviation.

    Example:
        >>> root = Root(0.0, 8.0, guess=2.0, width=1.0)
        >>> for at in (2.0, 5.0, 4.0):
        ...     root.told(at, beyond=at - 4.2, noise=0.1)
        >>> 4.1 < root.quantile(0.5) < 4.3
        True
    """

    def __init__(self, low: float, high: float, guess: float, width: float) -> None:
        self.grid = np.linspace(low, high, 801)
        self.logs = -0.5 * ((self.grid - guess) / width) ** 2

    def told(self, at: float, beyond: float, noise: float) -> None:
        """Hear of one try.

        Args:
            at: where it was.
            beyond: how far past the root it seems to be, by the slope that is thought.
            noise: standard deviation of that.
        """
        sd = math.hypot(noise, CROOKED * beyond)
        z = (self.grid - (at - beyond)) / sd
        self.logs = self.logs - 2.5 * np.log1p(z * z / 4)  # Student's t: one odd seed does not decide

    def quantile(self, share: float) -> float:
        """Where so much of the distribution lies below."""
        weights = np.exp(self.logs - self.logs.max())
        mass = np.cumsum(weights) / weights.sum()
        return float(self.grid[int(np.searchsorted(mass, share).clip(0, len(self.grid) - 1))])


@dataclasses.dataclass(frozen=True)
class Short:
    """The recipe at its shortest length and the trials that show it, or how far the longest got and why no more.

    Args:
        recipe: None where no length was found.
        trials: the checks; all that were made, where there was no time for them or no length was found.
        best: score, signed.
        why: no length was found.
        checked: whether the trials are the checks, which all met target and goal.
    """

    recipe: Recipe | None
    trials: tuple[Trial, ...]
    best: float
    why: str = ""
    checked: bool = False


def shortest(work: Work, anchor: Anchor, goal: float, longest: int, looks: int = LOOKS) -> Short:
    """Find the shortest length of the incumbent that reaches the goal on every seed.

    Args:
        work: of the search.
        anchor: the incumbent.
        goal: score to reach, signed so that higher is better.
        longest: steps beyond which nothing is tried.
        looks: trainings that look for the root.
    """
    noise = max(anchor.sd / math.sqrt(2) / anchor.slope, 0.03)
    scores = [work.signed(t) for t in anchor.trials.values() if t.ended]
    here = math.log(anchor.steps)
    root = Root(math.log(FEWEST), math.log(max(longest, FEWEST + 1)) + 0.5, here, 3 * WIDE)
    for score in scores:
        root.told(here, (score - goal) / anchor.slope, max(noise, 0.2))
    tried: list[Trial] = []
    for k in range(looks):
        steps = min(longest, max(FEWEST, round(math.exp(root.quantile(0.5)))))
        if not work.affords(steps, *[steps] * CHECKS):
            break
        tried += work.train(of_length(anchor.recipe, steps), [SEEDS + k])
        _tell(work, root, tried[-1:], goal, anchor.slope, noise)
    return _checked(work, anchor, goal, longest, root, noise, tried)


def _checked(
    work: Work, anchor: Anchor, goal: float, longest: int, root: Root, noise: float, tried: list[Trial]
) -> Short:
    """Lengthen until every seed of a set of its own reaches target and goal, or time or length run out."""
    least, best = 0, max((work.signed(t) for t in tried), default=-math.inf)
    seeds = range(SEEDS + 100, SEEDS + 100 + CHECKS)
    while True:
        aimed = math.exp(root.quantile(0.7) + SAFE * noise)
        steps = min(longest, max(FEWEST, least, math.ceil(aimed)))
        if not work.affords(*[steps] * CHECKS) and work.left < CHECKS * work.cost(steps):
            return _unchecked(work, anchor, goal, root, tried, best, steps)
        recipe = of_length(anchor.recipe, steps)
        found = []
        for seed in seeds:  # one after the other: the first that misses settles it
            found += work.train(recipe, [seed], judged=True)
            if not reaches(work, found[-1:], goal, 0.0):
                break
        tried += found
        best = max(best, *(work.signed(t) for t in found))
        if len(found) == CHECKS and reaches(work, found, goal, spread_of(work, anchor, found)):
            return Short(recipe, tuple(found), best, checked=True)
        if steps >= longest:
            return Short(None, tuple(tried), best, _needs(root, f"{longest} steps do not reach it on every seed"))
        _tell(work, root, found, goal, anchor.slope, noise)
        least = math.ceil(steps * 1.1)


def _unchecked(
    work: Work, anchor: Anchor, goal: float, root: Root, tried: list[Trial], best: float, steps: int
) -> Short:
    """What is left where time ran out: the length that should do, if one like it met the goal or it is well known.

    A proof follows, which claims nothing that does not arrive.
    """
    near = [t for t in tried if t.steps and t.steps <= 1.2 * steps and work.signed(t) >= goal]
    if not near and root.quantile(0.9) - root.quantile(0.5) > KNOWN:
        return Short(None, tuple(tried), best, _needs(root, "time ran out"))
    work.note(f"no time was left to check {steps} steps on {CHECKS} seeds before the proof")
    return Short(of_length(anchor.recipe, steps), tuple(tried), best)


def reaches(work: Work, trials: Sequence[Trial], goal: float, sd: float) -> bool:
    """Whether every trial met the target, and their mean the goal, and the target with some spare.

    Args:
        work: of the search.
        trials: of one recipe.
        goal: score, signed so that higher is better.
        sd: standard deviation between seeds.
    """
    if not all(t.ended and t.hit is not None for t in trials):
        return False
    mean = math.fsum(work.signed(t) for t in trials) / len(trials)
    return len(trials) < 2 or mean >= max(goal, work.workload.signed(work.workload.target or 0.0) + SPARE * sd)


def spread_of(work: Work, anchor: Anchor, trials: Sequence[Trial]) -> float:
    """Standard deviation between seeds: of these few trials, and of what was known before, weighted alike."""
    scores = [work.signed(t) for t in trials if t.ended]
    mean, weight = math.fsum(scores) / len(scores), len(scores)
    return math.sqrt((weight * anchor.sd**2 / 2 + math.fsum((s - mean) ** 2 for s in scores)) / (2 * weight - 1))


def _tell(work: Work, root: Root, trials: Sequence[Trial], goal: float, slope: float, noise: float) -> None:
    for trial in trials:
        beyond = max(-2.0, min(2.0, (work.signed(trial) - goal) / slope)) if trial.ended else -0.7
        if trial.steps:
            root.told(math.log(trial.steps), beyond, noise)


def _needs(root: Root, why: str) -> str:
    low, high = (round(math.exp(root.quantile(q))) for q in (0.5, 0.9))
    return f"{why}; it would likely take {low} to {high} steps or more"
