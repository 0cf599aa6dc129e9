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
from halftime.search.timing import pace
from halftime.search.work import Work

FACTORS = (0.25, 0.5, 2.0, 4.0, 8.0)  # of the incumbent's size
FLAT = 0.85  # the knee is the smallest size with so much of the best throughput
PARTS = 0.1  # of the training data that a batch may be at most


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the curve: samples a batch and a second, and the batch's pace against the incumbent's."""

    size: int
    throughput: float
    pace: Pace


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
    """The curve around the size of a recipe; it ends where it is flat, or where the memory does."""
    own, most = recipe.batch_size, max(recipe.batch_size, int(PARTS * len(work.workload.train)))
    points: list[Point] = []
    for factor in FACTORS:
        size = round(own * factor)
        if size < 1 or size > most or work.journal.spent >= work.until:
            continue
        other = sized(recipe, size, recipe.steps or FEWEST)
        if size > own and not work.journal.once(f"memory {other.hash}", lambda r=other: fits_here(work, r)):  # type: ignore[misc]
            work.note(f"a batch of {size} does not fit")
            break
        key = f"pace {recipe.hash} {other.hash}"
        found = Pace(**work.journal.once(key, lambda r=other: timed(work, recipe, r)))  # type: ignore[misc]
        if found.why:
            break
        if not points:
            points.append(Point(own, own / found.step, dataclasses.replace(found, ratio=1.0, low=1.0, high=1.0)))
        points.append(Point(size, size * found.ratio / found.step, found))
    return sorted(points, key=lambda point: point.size)


def fits_here(work: Work, recipe: Recipe) -> bool:
    """Whether a recipe fits the memory at its worst."""
    return fits(work.workload, recipe, work.place.device).fits


def timed(work: Work, one: Recipe, other: Recipe) -> dict[str, object]:
    """The pace of a recipe against another, for the journal."""
    return dataclasses.asdict(pace(work.workload, one, other, device=work.place.device, rounds=3, least=work.block))


def by_time(work: Work, anchor: Anchor) -> tuple[Recipe, list[Trial]] | None:
    """Try the sizes around the knee at equal time.

    Args:
        work: of the search.
        anchor: the incumbent.

    Returns:
        The recipe with the size that is clearly best, and its trials; None where the incumbent's stays.
    """
    points = throughput(work, anchor.recipe)
    if not points:
        return None
    own, top = anchor.recipe.batch_size, knee([(point.size, point.throughput) for point in points])
    curve = ", ".join(f"{point.size}: {point.throughput:.3g}" for point in points)
    work.note(f"samples a second by batch size: {curve}; the knee is at {top}")
    best: tuple[float, Recipe, list[Trial]] | None = None
    for point in sorted(points, key=lambda p: abs(math.log(p.size / own))):
        if point.size == own or point.size > max(top, own) or not work.affords(anchor.steps, anchor.steps):
            continue
        found = _tried(work, anchor, point)
        if found and (best is None or found[0] > best[0]):
            best = found
    return None if best is None else best[1:]


def _tried(work: Work, anchor: Anchor, point: Point) -> tuple[float, Recipe, list[Trial]] | None:
    """One size at the incumbent's time: (gain, recipe, trials) where it is clearly better."""
    began, own = work.journal.spent, rate_of(anchor.recipe)
    steps = max(FEWEST, round(anchor.steps * point.pace.ratio))
    ratio = anchor.steps * point.pace.ratio / steps  # what rounding leaves
    recipe, tuning = retuned(
        work, sized(anchor.recipe, point.size, steps), rate_of(sized(anchor.recipe, point.size, 1)), steps
    )
    recipe = recipe.replace(steps=steps)
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
    return (gain.ratio, recipe, trials) if gain and verdict == "kept" else None
