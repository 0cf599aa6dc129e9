"""Leap: a change that is likely to gain much is tried at a fraction of the base's length at once, not at all of it.

A textbook base is long. To judge a decaying schedule and AdamW at its length would cost most of a search, only to find
that a quarter of it does. So they are trained at the shortest length first, and at twice as much until the goal is met;
what they gain is then plain: how many times sooner the target is met, in seconds.
"""

from __future__ import annotations

import math
import statistics

from halftime.measure.statistics import quantile
from halftime.recipe import Recipe
from halftime.search import gains
from halftime.search.candidates import Candidate
from halftime.search.combine import fitting
from halftime.search.gains import FEWEST, HOPE, SURE, Anchor
from halftime.search.records import Decision, Gain, Pace, Trial
from halftime.search.retune import of_length, rate_of, retuned
from halftime.search.start import Start
from halftime.search.work import Work

SHARES = (1 / 8, 1 / 4, 1 / 2)  # of the base's steps
GUESS = 0.2  # standard deviation of the log time to target, where the pilot does not tell


def leapt(work: Work, began: Start, candidate: Candidate) -> Anchor | None:
    """Try a change at shares of the base's length.

    Args:
        work: of the search.
        began: the base, with its pilot.
        candidate: the change.

    Returns:
        The anchor of the changed recipe; None where no share met the goal, or time ran out.
    """
    base = Anchor(began.base.replace(steps=began.steps), {}, 1.0)
    recipe, timing, refused = fitting(work, base, candidate)
    if refused:
        return None
    spent, own, tuned = work.journal.spent, rate_of(began.base), recipe
    runs: list[Trial] = []
    for k, share in enumerate(SHARES):
        steps = max(FEWEST, round(began.steps * share))
        if not work.affords(steps, steps):
            return None
        start = None if k == 0 and candidate.fresh else rate_of(of_length(tuned, steps) if k else tuned)
        tuned, trials = retuned(work, (of_length(tuned, steps) if k else tuned).replace(steps=steps), start, steps)
        tuned = tuned.replace(steps=steps)
        found: list[Trial] = []
        for seed in (gains.SEEDS, gains.SEEDS + 1):  # one after the other: the first that misses settles it
            found += work.train(tuned, [seed], judged=True)
            if found[-1].hit is None or work.signed(found[-1]) < began.goal:
                break
        runs += [*trials, *found]
        if len(found) == 2 and min(map(work.signed, found)) >= began.goal and all(t.hit for t in found):
            moved = (own, rate_of(tuned))
            decided(work, began, candidate, tuned, timing, found, moved, runs, work.journal.spent - spent)
            return gains.anchored(work, tuned, steps, began.goal, known=found)
    return None


def decided(
    work: Work,
    began: Start,
    candidate: Candidate,
    recipe: Recipe,
    timing: Pace,
    found: list[Trial],
    moved: tuple[float | None, float | None],
    runs: list[Trial],
    seconds: float,
) -> None:
    """Write down what a change gained: the base's time to target over its own."""
    hits = [t.hit for t in found if t.hit]
    logs = [math.log(t.hit or t.seconds) for t in began.trials]
    centre = statistics.fmean(logs) - statistics.fmean(map(math.log, hits))
    sd = max(statistics.stdev(logs) if len(logs) > 1 else 0.0, GUESS / 2)
    error, freedom = sd * math.sqrt(1 / len(logs) + 1 / len(hits)), max(1, len(logs) - 1)
    low, high = centre - quantile(SURE, freedom) * error, centre + quantile(HOPE, freedom) * error
    better = statistics.fmean(map(work.signed, found)) - statistics.fmean(map(work.signed, began.trials))
    gain = Gain(math.exp(centre), math.exp(low), math.exp(high), len(hits), better, timing.ratio)
    why = (
        f"{gain.ratio:.2f}× as soon at the target with {recipe.steps} steps in place of {began.steps} "
        f"(interval from {gain.low:.2f}×, {gain.n} seeds)"
    )
    work.decide(
        Decision(work.stage, candidate.name, "kept" if gain.low > 1 else "promising", why,
                 {type(m).__name__: m.to_dict() for m in candidate.methods}, gain, moved,
                 tuple(t.run for t in runs if t.run), round(seconds, 3), recipe.to_dict())
    )  # fmt: skip
