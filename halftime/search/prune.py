"""Prune: leave one out of the final recipe at a time, and drop what no longer pays there.

What helped alone may be worth nothing beside what came later, and each piece of a recipe is one more thing to carry.
A change stays only if the recipe is clearly slower without it; where that cannot be told, it goes. That is judged at
equal steps; what is left is judged once more at its own length, by the seconds to the target, which is what counts.
"""

from __future__ import annotations

import dataclasses
import math

from halftime.measure.statistics import difference, speedup
from halftime.recipe import Recipe
from halftime.search import gains, length
from halftime.search.combine import paced
from halftime.search.gains import Anchor
from halftime.search.records import Decision, Gain, Pace, Trial, Verdict
from halftime.search.retune import rate_of, retuned
from halftime.search.switches import judge, timed
from halftime.search.work import Work, first

DOUBTFUL = 0.95  # without it, so many times as fast: near enough to 1 to do without, where it is not clear
MISSED = 1.1  # times the steps of the whole recipe: what needs more without a change has missed it


def left_out(work: Work, base: Recipe, goal: float, anchor: Anchor, short: length.Short, names: list[str]) -> Recipe:
    """Leave one out at the final length; where something went, look for the length again, and see that it is no slower.

    Args:
        work: of the search.
        base: what it started from.
        goal: score that the final length must end with, signed.
        anchor: the last incumbent, for what it knows of slope and noise.
        short: the whole recipe at its length.
        names: of the methods that were added.
    """
    recipe = short.recipe
    assert recipe is not None, "what has no length is not pruned"
    final = dataclasses.replace(anchor, recipe=recipe, trials={})
    worth = {name: d.gain.ratio for d in work.decisions if d.verdict == "kept" and d.gain for name in d.methods}
    kept = pruned(work, final, base, sorted(names, key=lambda name: worth.get(name, 1.0)))
    if kept.methods == recipe.methods:
        return recipe
    spent = work.journal.spent
    again = dataclasses.replace(
        anchor, recipe=kept, trials={t.seed: t for t in short.trials if t.steps == recipe.steps}
    )
    found = length.shortest(work, again, goal, round(MISSED * (recipe.steps or 1)), looks=2)
    if found.recipe is None:
        work.note("what was left out was missed after all: the recipe stays whole")
        return recipe
    gain = later(work, short, found)
    if gain is None or not _needed(gain):
        return found.recipe
    left = {type(m) for m in kept.methods}
    gone = [m for m in recipe.methods if type(m) not in left]  # the others may have other rates
    sooner = f"{gain.ratio:.2f}× as soon (interval to {gain.high:.2f}×, {gain.n} seeds)"
    why = f"without it the target is met {sooner}, each at its own length: the recipe stays whole"
    work.decide(
        Decision(work.stage, f"without {' and '.join(type(m).__name__ for m in gone)}", "kept", why,
                 {type(m).__name__: m.to_dict() for m in gone}, gain, (rate_of(recipe), rate_of(found.recipe)),
                 tuple(t.run for t in (*short.trials, *found.trials)), round(work.journal.spent - spent, 3),
                 found.recipe.to_dict())
    )  # fmt: skip
    return recipe


def later(work: Work, whole: length.Short, less: length.Short) -> Gain | None:
    """How many times as soon the target is met without what was left out, each recipe at its own length.

    Args:
        work: of the search.
        whole: the recipe before.
        less: what is left of it.

    Returns:
        None where one of them was not checked. The ends are those of what differs between these few pairs alone.
    """
    if not (whole.checked and less.checked):
        return None
    mine = {t.seed: t for t in whole.trials}
    pairs = [(mine[t.seed], t) for t in less.trials]  # checks have the same seeds
    found = speedup([(one.hit, one.seconds, other.hit, other.seconds) for one, other in pairs])
    score = difference(*([work.signed(t) for t in arm] for arm in zip(*pairs, strict=True))).estimate
    pace = math.prod((one.seconds / one.steps) / (other.seconds / other.steps) for one, other in pairs) ** (1 / found.n)
    return Gain(found.estimate, found.low, found.high, found.n, score, pace)


def without(recipe: Recipe, name: str, base: Recipe) -> Recipe:
    """The recipe without a method; where the base had another one in its slot, with that."""
    gone = next(m for m in recipe.methods if type(m).__name__ == name)
    left = recipe.minus(name)
    back = base.get(gone.slot) if gone.slot else None
    same = next((m for m in base.methods if type(m) is type(gone)), back)
    return left if same is None else left.plus(same)


def missed(gain: Gain) -> str:
    """Whether what was left out is missed: "kept" where the recipe is clearly slower without it."""
    return "kept" if gain.high < 1.0 else "dropped" if gain.low > 1.0 else ""


def _needed(gain: Gain) -> bool:
    """Whether what was left out is missed, or likely to be."""
    return missed(gain) == "kept" or (not missed(gain) and gain.ratio < DOUBTFUL)


def pruned(work: Work, anchor: Anchor, base: Recipe, order: list[str]) -> Recipe:
    """Leave out one after the other, the smallest gain first.

    Args:
        work: of the search.
        anchor: the final recipe at its final length.
        base: what it started from.
        order: names of the methods that were added.

    Returns:
        The recipe with what pays.
    """
    for name in order:
        method = next((m for m in anchor.recipe.methods if type(m).__name__ == name), None)
        if method is None:
            continue
        if not work.affords(anchor.steps, anchor.steps):
            work.note(f"no time was left to try the recipe without {name}")
            continue
        began, less = work.journal.spent, without(anchor.recipe, name, base)
        if method.exact:
            pays, why, gain = _slower(work, anchor, less)
            runs: tuple[str, ...] = ()
            trials: list[Trial] = []
        else:
            pays, why, gain, less, trials = _missed(work, anchor, less, base)
            runs = tuple(t.run for t in trials if t.run)
        verdict: Verdict = "kept" if pays else "dropped"
        moved = rate_of(anchor.recipe), rate_of(less)
        work.decide(
            Decision(work.stage, f"without {name}", verdict, why, {name: method.to_dict()}, gain, moved, runs,
                     round(work.journal.spent - began, 3), less.to_dict())
        )  # fmt: skip
        if not pays:
            kept = dataclasses.replace(anchor, recipe=less)
            anchor = kept if method.exact else dataclasses.replace(kept, trials={t.seed: t for t in trials})
    return anchor.recipe


def _slower(work: Work, anchor: Anchor, less: Recipe) -> tuple[bool, str, Gain | None]:
    """Whether an exact change still pays: timed against the recipe without it."""
    found, again = timed(work, less, anchor.recipe, anchor.steps)
    verdict, why = judge(found, again, anchor.steps)
    if not found.ratio:  # too long: what it needs to start is not earned back; else nobody knows, and it stays
        return verdict != "too long", f"with it: {why}", None
    gain = Gain(1 / found.ratio, 1 / found.high, 1 / found.low, found.rounds, 0.0, 1 / found.ratio)
    return verdict == "kept", f"with it {why}", gain


def _missed(
    work: Work, anchor: Anchor, less: Recipe, base: Recipe
) -> tuple[bool, str, Gain | None, Recipe, list[Trial]]:
    """Whether another change still pays: the recipe without it, tuned anew, on the same seeds."""
    timing = Pace(
        **work.journal.once(f"pace {anchor.recipe.hash} {less.hash}", lambda: paced(work, anchor.recipe, less))
    )
    if timing.why:
        return True, f"without it: {timing.why}", None, less, []
    swapped = type(less.get("optimizer")) is not type(anchor.recipe.get("optimizer"))
    less, _ = retuned(work, less, rate_of(base) if swapped else rate_of(anchor.recipe), anchor.steps)
    gain, trials, _ = gains.race(work, anchor, less, timing, missed)
    if gain is None:
        return True, f"without it: {first(trials)}", None, less, trials
    return _needed(gain), f"without it {gains.words(gain)}", gain, less, trials
