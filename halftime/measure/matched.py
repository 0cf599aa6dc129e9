"""Time to a target that a decayed schedule ends at: how much longer one recipe must be trained than another.

When a run whose learning rate decays first meets a target, its schedule decides more than its recipe. So each side is
trained over several lengths, each time with a whole schedule, and a line through its final scores over the logarithm of
the seconds says how long a training must be to end at the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from halftime.measure.statistics import LEVEL, Interval, quantile, spread

BEYOND = math.log(1.25)  # how far outside the lengths that were trained a line is followed
Curve = Sequence[
    tuple[float, float | None]
]  # seconds and final score (higher is better) of each length; None: no score


def matched(base: Sequence[Curve], fast: Sequence[Curve], target: float) -> Interval:
    """How many times as long the base must be trained as the fast arm, to end at the target.

    Args:
        base: the runs of each seed, one a length, the shortest first.
        fast: the same of the other arm, for the same seeds and lengths.
        target: a score; higher is better.

    Returns:
        The ratio with its interval, from a jackknife over the seeds, so that it holds the uncertainty of the slopes
        too. Where a side does not clearly end better for being trained longer, its line tells no time, and the interval
        is open on both sides. Where a run ended without a score, or a line meets the target too far from the lengths
        that were trained, the ratio is a bound. `n` counts the pairs that ended.

    Example:
        >>> base = [[(10.0, 0.80), (20.0, 0.90)], [(10.0, 0.81), (20.0, 0.91)]]
        >>> fast = [[(11.0, 0.85), (22.0, 0.95)], [(11.0, 0.86), (22.0, 0.96)]]
        >>> round(matched(base, fast, target=0.88).estimate, 2)  # half a doubling better, in 1.1 times the time
        1.29
    """
    both = [(b, f) for b, f in zip(base, fast, strict=True) if _ended(b) and _ended(f)]
    n = len(both)
    if n < 2 or not all(_steep(arm) for arm in zip(*both, strict=True)):
        return Interval(1.0, 0.0, math.inf, n, None)
    ends = [_needed(arm, target) for arm in zip(*both, strict=True)]
    whole = _log_ratio(both, target)
    pseudo = [n * whole - (n - 1) * _log_ratio(both[:out] + both[out + 1 :], target) for out in range(n)]
    sd = spread(pseudo) or 0.0
    half = quantile(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    return _open(Interval(math.exp(whole), math.exp(whole - half), math.exp(whole + half), n, sd), ends, base, fast)


def timed(base: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> Interval:
    """How many times as long the base's runs take, where both sides end at the same scores.

    Args:
        base: the seconds of each seed's runs, one a length.
        fast: the same of the other arm, for the same seeds and lengths.

    Example:
        >>> round(timed([[1.0, 2.0], [1.1, 2.2]], [[0.5, 1.0], [0.55, 1.1]]).low, 6)
        2.0
    """
    logs = [
        math.fsum(math.log(b / f) for b, f in zip(*pair, strict=True)) / len(pair[0])
        for pair in zip(base, fast, strict=True)
    ]
    n, sd = len(logs), spread(logs)
    if not logs or sd is None:
        return Interval(1.0, 0.0, math.inf, n, None)
    mean, half = math.fsum(logs) / n, quantile(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n, sd)


def _ended(curve: Curve) -> bool:
    return all(score is not None and math.isfinite(score) for _, score in curve)


def _log_ratio(pairs: Sequence[tuple[Curve, Curve]], target: float) -> float:
    base, fast = (_needed(arm, target)[0] for arm in zip(*pairs, strict=True))
    return base - fast


def _needed(arm: Sequence[Curve], target: float) -> tuple[float, int]:
    """Log seconds at which an arm ends at the target; and -1 or 1 where that lies too far below or above its runs."""
    x = [math.log(seconds) for curve in arm for seconds, _ in curve]
    y = [_score(one) for curve in arm for one in curve]
    rise, run = (math.fsum(values) for values in zip(*map(_moments, arm), strict=True))
    middle, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    low, high = min(x) - BEYOND, max(x) + BEYOND
    if rise <= 0:  # a few seeds alone may show no slope: then the line is nearly level, and its end is far away
        return (low, -1) if level >= target else (high, 1)
    at = middle + (target - level) * run / rise
    return min(max(at, low), high), (at > high) - (at < low)


def _open(found: Interval, ends: Sequence[tuple[float, int]], base: Sequence[Curve], fast: Sequence[Curve]) -> Interval:
    """The interval, open on the sides that what was not seen weakens."""
    (_, slow), (_, quick) = ends
    below = slow < 0 or quick > 0 or not all(map(_ended, fast))
    above = slow > 0 or quick < 0 or not all(map(_ended, base))
    bound = {(True, False): "at most", (False, True): "at least"}.get((below, above), "")
    low, high = 0.0 if below else found.low, math.inf if above else found.high
    return Interval(found.estimate, low, high, found.n, found.sd, bound)


def _moments(curve: Curve) -> tuple[float, float]:
    """Of a curve about its middle: the sum of log seconds by score, and that of the squares of log seconds."""
    x, y = [math.log(seconds) for seconds, _ in curve], [_score(one) for one in curve]
    middle, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    rise = math.fsum((a - middle) * (b - level) for a, b in zip(x, y, strict=True))
    return rise, math.fsum((a - middle) ** 2 for a in x)


def _steep(arm: Sequence[Curve]) -> bool:
    """Whether longer training clearly ends better: the interval of the slope, over the seeds, lies above 0."""
    slopes = [rise / run for rise, run in map(_moments, arm)]
    mean, sd = math.fsum(slopes) / len(slopes), spread(slopes) or 0.0
    return mean > quantile(LEVEL, len(slopes) - 1) * sd / math.sqrt(len(slopes))


def _score(one: tuple[float, float | None]) -> float:
    return float(one[1])  # type: ignore[arg-type]  # of a curve that ended
