"""Leap: a change that is likely to gain much is tried at a fraction of the base's length at once, not at all of it.

A textbook base is long. To judge a decaying schedule and AdamW at its length would cost most of a search, only to find
that a quarter of it does. So they are trained at the shortest length first, and at twice as much until the goal is met;
what they gain is then plain: how many times sooner the target is met, in seconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from halftime.measure.prior import Prior
from halftime.measure.statistics import quantile
from halftime.methods import ALL, AdamW
from halftime.recipe import Recipe
from halftime.search import gains
from halftime.search.candidates import Candidate
from halftime.search.combine import fitting
from halftime.search.gains import FEWEST, HOPE, SURE, Anchor
from halftime.search.records import Decision, Gain, Pace, Trial
from halftime.search.retune import of_length, rate_of, retuned
from halftime.search.start import Start
from halftime.search.switches import settings
from halftime.search.work import Work

SHARES = (1 / 8, 1 / 4, 1 / 2)  # of the base's steps
WORTH = 0.05  # of the log of the time: what an optimizer must be expected to gain over AdamW, to be tried before it
GUESS = 0.2  # standard deviation of the log time to target, where the pilot does not tell


def preferred(work: Work, base: Recipe, offered: Sequence[Candidate], told: Mapping[str, Prior]) -> list[Candidate]:
    """The changes that come first, with the optimizer that is expected to gain most here in the place of AdamW.

    What a step of it gains was measured on other workloads; what a step costs depends on the network, and is timed.

    Args:
        work: of the search.
        base: with its number of steps.
        offered: what would come first.
        told: what may be expected of methods, by name.
    """
    adamw = next((one for one in offered if isinstance(one.methods[0], AdamW)), None)
    if adamw is None:
        return list(offered)
    beside, best = Anchor(adamw.on(base), {}, 1.0), (WORTH, adamw)
    for kind in ALL:
        hope = told.get(kind.__name__)
        made = settings(kind) if hope and kind.slot == AdamW.slot and "AdamW" in hope.against else []
        if hope is None or not made or hope.step < WORTH:
            continue
        candidate = Candidate((made[0],), hope.gain, hope.spread, hope.cost)
        _, timing, refused = fitting(work, beside, candidate)
        if not refused and hope.step + math.log(timing.ratio) > best[0]:
            best = hope.step + math.log(timing.ratio), candidate
    if best[1] is not adamw:
        work.note(f"{best[1].methods[0]} is tried in the place of AdamW: {math.exp(best[0]):.2f}× as fast is expected")
    return [best[1] if one is adamw else one for one in offered]


def leapt(work: Work, began: Start, candidate: Candidate) -> Anchor | None:
    """Try a change at shares of the base's length.

    Args:
        work: of the search.
        began: the base, with its pilot.
        candidate: the change.

    Returns:
        The anchor of the changed recipe; None where no share met the goal, or time ran out: that is a decision, too.
    """
    base, spent = Anchor(began.base.replace(steps=began.steps), {}, 1.0), work.journal.spent
    recipe, timing, refused = fitting(work, base, candidate)
    if refused:
        _dropped(work, candidate, recipe, refused, [], spent)
        return None
    own, tuned, why = rate_of(began.base), recipe, "the goal was met at no share of the base's steps"
    runs: list[Trial] = []
    for k, share in enumerate(SHARES):
        steps = max(FEWEST, round(began.steps * share))
        if not work.affords(steps, steps):
            why = f"no time was left to train it for {steps} steps"
            break
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
    _dropped(work, candidate, tuned, why, runs, spent)
    return None


def opened(decisions: Iterable[Decision]) -> set[str]:
    """Names of methods that the opening settled; not those for which no time was left: runs are shorter by now."""
    settled = [d for d in decisions if d.stage == "opening" and (d.runs or d.verdict == "refused")]
    return {name for d in settled for name in d.methods}


def _dropped(work: Work, candidate: Candidate, recipe: Recipe, why: str, runs: Sequence[Trial], before: float) -> None:
    """Write down that a change did not get there."""
    best = max((work.signed(t) for t in runs if t.ended), default=-math.inf)
    got = f"; the best ended at {work.workload.signed(best):.4g}" if math.isfinite(best) else ""
    work.decide(
        Decision(work.stage, candidate.name, "refused" if why.startswith("refused") else "dropped", why + got,
                 {type(m).__name__: m.to_dict() for m in candidate.methods}, runs=tuple(t.run for t in runs if t.run),
                 seconds=round(work.journal.spent - before, 3), recipe=recipe.to_dict())
    )  # fmt: skip


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
