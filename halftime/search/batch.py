"""Batch size by time to target, not by memory: a curve of throughput, its knee, and a few short runs around it.

A larger batch that is no faster a sample only costs updates, so sizes beyond the knee of the curve are not tried.
Those up to it are compared at equal time: rate and steps move with the size, the schedule with the steps, and the rate
is then tuned anew. Whether a size fits the memory is found by trying.
Paper: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from halftime.recipe import Recipe
from halftime.search import gains
from halftime.search.gains import FEWEST, Anchor
from halftime.search.memory import fits
from halftime.search.phases import changed
from halftime.search.records import Decision, Pace, Trial, Verdict
from halftime.search.retune import rate_of, retuned
from halftime.search.timing import curve
from halftime.search.work import Work

FACTORS = (0.25, 0.5, 2.0, 4.0, 8.0)  # of the incumbent's size
FLAT = 0.85  # the knee is the smallest size with so much of the best throughput
PARTS = 0.1  # of the training data that a batch may be at most


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the curve: a recipe of some batch size, samples a second, and its pace against the incumbent's."""

    recipe: Recipe
    throughput: float
    pace: Pace

    @property
    def size(self) -> int:
        """Samples in a batch."""
        return self.recipe.batch_size


def knee(curve: Sequence[tuple[int, float]]) -> int:
    """The smallest batch size whose throughput is near the best.

    Args:
        curve: (size, samples a second), in any order.

    Example:
        >>> knee([(16, 100.0), (32, 190.0), (64, 350.0), (128, 390.0), (256, 400.0)])
        64
    """
    best = max(rate for _, rate in curve)
    return min(size for size, rate in curve if rate >= FLAT * best)


def sized(recipe: Recipe, size: int, steps: int) -> Recipe:
    """A recipe with another batch size, its rate moved by the square root and its steps given."""
    rate = rate_of(recipe)
    moved = recipe if rate is None else changed(recipe, lr=float(f"{rate * math.sqrt(size / recipe.batch_size):.3g}"))
    micro = recipe.micro_batch and min(recipe.micro_batch, size)
    return moved.replace(batch_size=size, micro_batch=micro, steps=steps)


def throughput(work: Work, recipe: Recipe) -> list[Point]:
    """The curve around the size of a recipe, all sizes timed in turns; it ends where even its parts do not fit."""
    own, most = recipe.batch_size, max(recipe.batch_size, int(PARTS * len(work.workload.train)))
    recipes = [recipe]
    for factor in FACTORS:
        size = round(own * factor)
        if size < 1 or size > most or work.journal.spent >= work.until:
            continue
        other = sized(recipe, size, recipe.steps or FEWEST)
        fitting = accumulated(work, other, own) if size > own else other
        if fitting is None:
            work.note(f"a batch of {size} cannot be trained, not even in parts of {own}: it does not fit, or diverges")
            break
        recipes.append(fitting)
    if len(recipes) == 1:
        return []
    key = f"curve {' '.join(one.hash for one in recipes)}"
    found = [Pace(**made) for made in work.journal.once(key, lambda: timed(work, recipes))]
    for one, pace in zip(recipes, found, strict=True):
        if pace.why:
            work.note(f"batches of {one.batch_size} could not be timed: {pace.why}")
    points = [
        Point(one, one.batch_size * pace.ratio / pace.step, pace)
        for one, pace in zip(recipes, found, strict=True)
        if not pace.why
    ]
    return sorted(points, key=lambda point: point.size)


def accumulated(work: Work, recipe: Recipe, own: int) -> Recipe | None:
    """The recipe, in parts of the size that is known to fit where it does not fit as a whole; None where none fits."""
    parts = recipe.replace(micro_batch=min(own, recipe.micro_batch or own))
    for one in (recipe, parts):
        if work.journal.once(f"memory {one.hash}", lambda r=one: fits(work.workload, r, work.place.device).fits):  # type: ignore[misc]
            if one.micro_batch != recipe.micro_batch:
                work.note(f"a batch of {one.batch_size} fits in parts of {one.micro_batch} only")
            return one
    return None


def timed(work: Work, recipes: Sequence[Recipe]) -> list[dict[str, object]]:
    """The paces of recipes against the first, for the journal."""
    work.view.trying("timing batch sizes", work.journal.spent, work.limit)
    found = curve(work.workload, recipes, device=work.place.device, least=work.block)
    return [dataclasses.asdict(one) for one in found]


def by_time(work: Work, anchor: Anchor) -> tuple[Recipe, list[Trial]] | None:
    """Try the sizes around the knee at equal time.

    Args:
        work: of the search.
        anchor: the incumbent.

    Returns:
        The recipe with the size that is clearly best, and its trials; None where the incumbent's stays.
    """
    points = throughput(work, anchor.recipe)
    if len(points) < 2:  # fewer than the own size and another one
        return None
    own, top = anchor.recipe.batch_size, knee([(point.size, point.throughput) for point in points])
    shown = ", ".join(f"{point.size}: {point.throughput:.3g}" for point in points)
    work.note(f"samples a second by batch size: {shown}; the knee is at {top}")
    best: tuple[float, Recipe, list[Trial]] | None = None
    over: set[bool] = set()  # sides, larger or smaller, on which a size was clearly no better: further ones are worse
    for point in sorted(points, key=lambda p: abs(math.log(p.size / own))):
        larger = point.size > own
        if point.size == own or point.size > max(top, own) or larger in over:
            continue
        if not work.affords(anchor.steps, anchor.steps):
            work.note(f"no time was left to train with batches of {point.size}")
            continue
        ratio, found = _tried(work, anchor, point)
        if ratio < 1.0:
            over.add(larger)
        if found and (best is None or ratio > best[0]):
            best = (ratio, *found)
    return None if best is None else best[1:]


def _tried(work: Work, anchor: Anchor, point: Point) -> tuple[float, tuple[Recipe, list[Trial]] | None]:
    """One size at the incumbent's time: (gain, (recipe, trials) where it is clearly better)."""
    began, own = work.journal.spent, rate_of(anchor.recipe)
    steps = max(FEWEST, round(anchor.steps * point.pace.ratio))
    ratio = anchor.steps * point.pace.ratio / steps  # what rounding leaves
    moved = point.recipe.replace(steps=steps)
    recipe, tuning = retuned(work, moved, rate_of(moved), steps)
    spare = point.pace.error * 2
    even = dataclasses.replace(point.pace, ratio=ratio, low=ratio * math.exp(-spare), high=ratio * math.exp(spare))
    gain, trials, verdict = gains.race(work, anchor, recipe, even)
    why = gains.words(gain) if gain else "a training did not end"
    kept: Verdict = "kept" if verdict == "kept" else "dropped"
    work.decide(
        Decision(work.stage, f"batch size {point.size}", kept, f"{why}, at equal time", gain=gain,
                 rate=(own, rate_of(recipe)), runs=tuple(t.run for t in (*tuning, *trials) if t.run),
                 seconds=round(work.journal.spent - began, 3), recipe=recipe.to_dict())
    )  # fmt: skip
    ratio = gain.ratio if gain else 0.0
    return ratio, ((recipe, trials) if verdict == "kept" else None)
