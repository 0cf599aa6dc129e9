"""The statistics of a comparison by seeds: ratios of times to target with misses censored, differences of scores.

Times to target vary by factors, so they are compared on a log scale, and by pairs that share a seed. A run that missed
its target is not dropped: it needed longer than it ran, and enters as that bound, on the side that it weakens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from halftime.errors import BadValue, shorten

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


def sd_interval(sd: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a standard deviation that was estimated from n normal values (chi-square)."""
    from scipy.stats import chi2

    low, high = chi2.ppf([0.5 + level / 2, 0.5 - level / 2], n - 1)
    return sd * math.sqrt((n - 1) / float(low)), sd * math.sqrt((n - 1) / float(high))


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


def p_value(pairs: Sequence[Pair]) -> float:
    """How likely a gain as clear as this one would be, if the fast arm were no faster: one-sided paired t-test of logs.

    Args:
        pairs: as in `speedup`; two or more.

    Returns:
        From 0 to 1. A base run that missed counts as the ratio that it is at least; one fast run that missed makes it
        1, since how late it would have been nobody knows.

    Example:
        >>> round(p_value([(20.0, 30.0, 10.0, 12.0), (22.0, 30.0, 10.0, 12.0), (25.0, 30.0, 11.0, 12.0)]), 4)
        0.0012
    """
    if len(pairs) < 2 or any(fast is None for _, _, fast, _ in pairs):
        return 1.0
    logs = [math.log((run if base is None else base) / (fast or math.inf)) for base, run, fast, _ in pairs]
    mean, sd = math.fsum(logs) / len(logs), spread(logs)
    if not sd:
        return 0.0 if mean > 0 else 1.0
    from scipy.stats import t  # late, as above

    return float(t.sf(mean / sd * math.sqrt(len(logs)), len(logs) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values for several comparisons at once: calling out those below 5 % is wrong in 5 % of such families at most.

    Args:
        p_values: one a comparison, each from 0 to 1; they may depend on each other in any way.

    Returns:
        The adjusted values, in the order given (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979).

    Raises:
        BadValue: a value outside 0 to 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    if wrong := [p for p in p_values if not 0.0 <= p <= 1.0]:
        raise BadValue(f"a p-value lies from 0 to 1, not {shorten(wrong[0])}")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
