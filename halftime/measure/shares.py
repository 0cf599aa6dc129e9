"""Shares: what each change of a recipe is worth, as factors in time that multiply to the whole.

A change is worth different amounts beside different company. So three numbers are given: added to the base alone,
left out of the whole, and the mean over the orders in which the changes can be added, which is Shapley's value of the
logarithm of the time (Shapley, "A Value for n-Person Games", 1953). The last ones multiply to the whole gain exactly;
those of the first kind do not, and what is missing is the interaction.

Each of these numbers is a sum, with weights, of logarithms of times, seed by seed. So one function, `contrast`, serves
all of them, and a run that missed its target opens the end of the interval that this makes uncertain.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from halftime.measure.statistics import LEVEL, quantile, spread

EXACT = 3  # changes up to which every order is looked at
RESAMPLES = 4000
DRAWS = 60  # orders that are drawn for each one that is wanted, where many cannot be trained
Set = frozenset[str]
Weights = Mapping[Set, float]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training: seconds to the target, or (not `met`) seconds after which it was still missed; `failed` if it died.

    Args:
        seconds: of training; above 0.
        met: whether the target was met.
        failed: whether the run failed: then nothing can be said of it.
    """

    seconds: float
    met: bool = True
    failed: bool = False


Cells = Mapping[Set, Mapping[int, Cell]]  # by the changes that the recipe has, then by seed


@dataclasses.dataclass(frozen=True)
class Effect:
    """How many times sooner the target is met, with its 95 % interval; above 1 is sooner.

    Args:
        estimate: the factor, or None where `why` says that there is none.
        low: lower end, 0 where it is open.
        high: upper end, infinite where it is open.
        n: paired seeds.
        bound: "", "at least" or "at most", where misses make the estimate one-sided.
        drawn: standard error of the logarithm that comes from the orders that were drawn, 0 where all were; None of
            what is no share, and where it cannot be told, as of a single order: then both ends of a share are open.
        missed: runs behind it that missed the target.
        why: in words, why there is no estimate.
    """

    estimate: float | None
    low: float = 0.0
    high: float = math.inf
    n: int = 0
    bound: str = ""
    drawn: float | None = None
    missed: int = 0
    why: str = ""


def contrast(weights: Weights, cells: Cells, drawn: float | None = None, reach: float = 0.0) -> Effect:
    """A sum of logarithms of times with weights, over the seeds that all of them have, as a factor.

    The interval is a bootstrap over paired seeds, and at least as wide as Student's: resampling a handful of seeds
    alone is known to be too sure.

    Args:
        weights: +1 for the recipe before, -1 for the one after, and so on; they sum to 0.
        cells: the trainings.
        drawn: standard error that the choice of the orders adds.
        reach: how far that choice may have moved the logarithm, either way; see `reach`.

    Example:
        >>> base, full = frozenset(), frozenset({"EMA"})
        >>> cells = {base: {0: Cell(20.0), 1: Cell(22.0)}, full: {0: Cell(10.0), 1: Cell(11.0)}}
        >>> round(contrast({base: 1.0, full: -1.0}, cells).estimate, 3)
        2.0
    """
    used = {key: weight for key, weight in weights.items() if abs(weight) > 1e-12}
    if not used:  # an interaction of one change with itself alone
        return Effect(None, why="one change has nothing to interact with")
    columns = [cells.get(key, {}) for key in used]
    seeds = sorted(set.intersection(*map(set, columns)))
    if not seeds:
        return Effect(None, why="no seed is complete yet")
    if any(column[seed].failed for column in columns for seed in seeds):
        return Effect(None, n=len(seeds), why="a run failed")
    misses = [weight > 0 for key, weight in used.items() for seed in seeds if not cells[key][seed].met]
    missed = set(misses)
    if len(missed) == 2:
        return Effect(None, n=len(seeds), missed=len(misses), why="the target is missed on both sides")
    logs = [math.fsum(w * math.log(cells[key][seed].seconds) for key, w in used.items()) for seed in seeds]
    mean = math.fsum(logs) / len(logs)
    low, high = _ends(logs, reach)
    low, high = (-math.inf if False in missed else low), (math.inf if True in missed else high)
    bound = "at least" if True in missed else "at most" if False in missed else ""
    return Effect(_exp(mean), _exp(low), _exp(high), len(seeds), bound, drawn, len(misses))


def reach(drawn: float | None, orders: int) -> float:
    """How far the choice of the orders may have moved the logarithm of a share, either way.

    Args:
        drawn: standard error that it adds, None where it cannot be told.
        orders: that were looked at.

    Example:
        >>> round(reach(0.1, 2), 2), reach(None, 1), reach(0.0, 6)
        (1.27, inf, 0.0)
    """
    if drawn is None:
        return math.inf
    return drawn * quantile(0.5 + LEVEL / 2, orders - 1) if drawn else 0.0


def _ends(logs: Sequence[float], reach: float) -> tuple[float, float]:
    """Ends of the interval of a mean: the wider of bootstrap and Student's, and what the drawn orders add."""
    mean, sd, n = math.fsum(logs) / len(logs), spread(logs), len(logs)
    if sd is None:
        return -math.inf, math.inf
    half = quantile(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    chosen = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))  # the same numbers each time it is read
    means = np.asarray(logs)[chosen].mean(1)
    low, high = (float(np.quantile(means, q)) for q in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    below, above = max(half, mean - low), max(half, high - mean)
    return mean - math.hypot(below, reach), mean + math.hypot(above, reach)


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)


def p_value(effect: Effect) -> float:
    """How likely an effect at least as clear would be by luck, either way: below 5 % where its interval excludes 1.

    It follows from the interval, so it is Student's, or larger where the bootstrap was wider; 1 where the end that
    would have to be clear is open, or there is no estimate.

    Example:
        >>> round(p_value(Effect(2.0, 1.0, 4.0, n=5)), 6), p_value(Effect(2.0, 0.0, 4.0, n=5))
        (0.05, 1.0)
    """
    end = effect.low if (effect.estimate or 0.0) > 1.0 else effect.high
    if not effect.estimate or not 0.0 < end < math.inf:
        return 1.0
    distance, half = abs(math.log(effect.estimate)), abs(math.log(effect.estimate / end))
    if not half:
        return 0.0 if distance else 1.0
    from scipy.stats import t  # late, as in statistics

    return float(2 * t.sf(distance / half * quantile(0.5 + LEVEL / 2, effect.n - 1), effect.n - 1))


def alone(change: str) -> Weights:
    """Added to the base, with nothing else."""
    return {frozenset(): 1.0, frozenset({change}): -1.0}


def without(change: str, every: Set) -> Weights:
    """Left out of the whole."""
    return {every - {change}: 1.0, every: -1.0}


def whole(every: Set) -> Weights:
    """From the base to the whole."""
    return {frozenset(): 1.0, every: -1.0} if every else {}


def interaction(every: Set) -> Weights:
    """What the whole gains beyond the changes that are added alone: below 1 where they overlap."""
    found: dict[Set, float] = dict(whole(every))
    for change in every:
        for key, weight in alone(change).items():
            found[key] = found.get(key, 0.0) - weight
    return found


def share(change: str, orders: Sequence[Sequence[str]]) -> Weights:
    """What a change gains where it is added, averaged over orders of adding them all."""
    found: dict[Set, float] = {}
    for order in orders:
        before = frozenset(order[: order.index(change)])
        for key, weight in ((before, 1.0), (before | {change}, -1.0)):
            found[key] = found.get(key, 0.0) + weight / len(orders)
    return found


def drawn_error(change: str, orders: Sequence[Sequence[str]], cells: Cells, of: int | None) -> float | None:
    """Standard error of the logarithm of a share that comes from having looked at some orders only.

    Args:
        change: whose share.
        orders: that were looked at, drawn without repeats.
        cells: the trainings.
        of: how many orders there are, if that is known.

    Returns:
        0 for all of them, None where it cannot be told.
    """
    if of is not None and len(orders) >= of:
        return 0.0
    gains = [contrast(share(change, [order]), cells).estimate for order in orders]
    logs = [math.log(gain) for gain in gains if gain]
    sd = spread(logs)
    if sd is None or len(logs) < len(orders):
        return None
    left = 1.0 - len(orders) / of if of else 1.0
    return sd / math.sqrt(len(orders)) * math.sqrt(left)


def orders_of(
    changes: Sequence[str], wanted: int, possible: Callable[[Set], bool], seed: str = ""
) -> tuple[list[tuple[str, ...]], int | None]:
    """Orders in which changes can be added one after the other: all of few, some drawn of many.

    Args:
        changes: by name.
        wanted: how many orders, where there are more than `EXACT` changes.
        possible: whether a recipe with these changes can be trained.
        seed: makes the draw the same each time.

    Returns:
        The orders, and how many there are in all (None where that is not known).

    Example:
        >>> orders_of(["a", "b"], 8, lambda these: these != {"b"})
        ([('a', 'b')], 1)
    """
    found: list[tuple[str, ...]] = []
    exact = len(changes) <= EXACT
    for order in itertools.permutations(changes) if exact else _drawn(changes, wanted, seed):
        if all(possible(frozenset(order[:i])) for i in range(1, len(order))):
            found.append(order)
        if not exact and len(found) == wanted:
            break
    refused = any(not possible(frozenset(pair)) for pair in _singles(changes))
    return found, len(found) if exact else None if refused else math.factorial(len(changes))


def _singles(changes: Sequence[str]) -> list[Set]:
    return [frozenset({one}) for one in changes] + [frozenset(changes) - {one} for one in changes]


def _drawn(changes: Sequence[str], wanted: int, seed: str) -> Iterator[tuple[str, ...]]:
    """Different orders, by chance."""
    chance, seen = random.Random(f"orders {seed}"), set[tuple[str, ...]]()
    for _ in range(DRAWS * wanted):
        order = tuple(chance.sample(list(changes), len(changes)))
        if order not in seen:
            seen.add(order)
            yield order
