"""The statistics of a comparison by seeds: ratios of times to target with misses censored, differences of scores.

Times to target vary by factors, so they are compared on a log scale, and by pairs that share a seed. A run that missed
its target is not dropped: it needed longer than it ran, and enters as that bound, on the side that it weakens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

LEVEL = 0.95
Pair = tuple[float | None, float, float | None, float]  # base: seconds to target or None, seconds run; fast: likewise


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; `bound` says whether censoring makes the estimate one-sided."""

    estimate: float
    low: float
    high: float
    n: int
    sd: float | None
    bound: str = ""  # "", "at least" or "at most"


def quantile(probability: float, freedom: int) -> float:
    """Of Student's t distribution."""
    from scipy.stats import t  # late: it takes a third of a second to import

    return float(t.ppf(probability, freedom))


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1, or None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def speedup(pairs: Sequence[Pair]) -> Interval:
    """How many times sooner the fast arm reaches the target than the base arm.

    Args:
        pairs: one a seed: (base seconds to target or None, base seconds run, the same two of the fast arm).

    Returns:
        The geometric mean of the ratios with its t interval. Where a base run missed, its ratio counts as what it is at
        least, so the upper end is open; where a fast run missed, the lower end is.

    Example:
        >>> speedup([(20.0, 30.0, 10.0, 12.0), (22.0, 30.0, 10.0, 12.0), (None, 30.0, 11.0, 12.0)]).bound
        'at least'
    """
    logs, open_below, open_above = [], False, False
    for base, base_run, fast, fast_run in pairs:
        open_above |= base is None
        open_below |= fast is None
        logs.append(math.log((base_run if base is None else base) / (fast_run if fast is None else fast)))
    mean, sd, n = math.fsum(logs) / len(logs), spread(logs), len(logs)
    half = math.inf if sd is None else quantile(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    bound = {(True, False): "at most", (False, True): "at least"}.get((open_below, open_above), "")
    low = 0.0 if open_below or half == math.inf else math.exp(mean - half)
    high = math.inf if open_above or half == math.inf else math.exp(mean + half)
    return Interval(math.exp(mean), low, high, n, sd, bound)


def difference(base: Sequence[float], fast: Sequence[float]) -> Interval:
    """How much better the fast arm's final scores are, by pairs; higher is better. Each side holds at 95 %."""
    gaps = [f - b for b, f in zip(base, fast, strict=True)]
    mean, sd, n = math.fsum(gaps) / len(gaps), spread(gaps), len(gaps)
    half = math.inf if sd is None else quantile(LEVEL, n - 1) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, sd)


def seeds_needed(distance: float, sd: float | None, one_sided: bool = False, most: int = 1000) -> int | None:
    """Seeds at which an effect of this size, with this spread, would likely stand clear of zero; None beyond `most`.

    Args:
        distance: the effect, such as a mean log ratio; it must be positive.
        sd: standard deviation between seeds.
        one_sided: whether one side of the interval is asked for, not both.
        most: where to give up.
    """
    if distance <= 0 or sd is None:
        return None
    level = LEVEL if one_sided else 0.5 + LEVEL / 2
    return next((n for n in range(3, most + 1) if quantile(level, n - 1) * sd / math.sqrt(n) < distance), None)
