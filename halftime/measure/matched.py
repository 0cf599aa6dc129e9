"""Speed at an equal score: how much longer one recipe must be trained than another to end where that one ends.

When a run that decays its learning rate first meets a target, its schedule decides more than its recipe. So each side
is trained over several lengths, each time with a whole schedule, and its final score is followed over the logarithm of
the seconds. A recipe that learns k times as fast has the other's curve, moved by log k; both curves are taken as
straight, and as equally steep, over the lengths that were trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from halftime.measure.statistics import LEVEL, Interval, quantile, spread

Curve = Sequence[
    tuple[float, float | None]
]  # seconds and final score (higher is better) of each length; None: no score
Pairs = list[tuple[Curve, Curve]]  # one a seed: the base's, the fast arm's


def matched(base: Sequence[Curve], fast: Sequence[Curve]) -> Interval:
    """How many times as long the base must be trained as the fast arm, for the same final score.

    Args:
        base: the runs of each seed, one a length.
        fast: the same of the other arm, for the same seeds and lengths.

    Returns:
        The ratio with its interval, from a jackknife over the seeds, so that it holds the uncertainty of the slope too.
        Where longer training does not clearly end better, a difference of scores cannot be turned into time, and the
        interval is open on both sides. Where a run ended without a score it is open on the side that this weakens, and
        beyond the range of the lengths, where nothing was seen, the ratio is a bound. `n` counts the pairs that ended.

    Example:
        >>> base = [[(10.0, 0.80), (20.0, 0.90)], [(10.0, 0.81), (20.0, 0.91)]]
        >>> fast = [[(11.0, 0.85), (22.0, 0.95)], [(11.0, 0.86), (22.0, 0.96)]]
        >>> round(matched(base, fast).estimate, 2)  # half a doubling better, a step 1.1 times as long: 2 ** 0.5 / 1.1
        1.29
    """
    both = [(b, f) for b, f in zip(base, fast, strict=True) if _ended(b) and _ended(f)]
    lost_base, lost_fast = (any(not _ended(one) for one in arm) for arm in (base, fast))
    n, unknown = len(both), Interval(1.0, 0.0, math.inf, n, None)
    if not both:
        return unknown
    differ = any(one[1] != other[1] for b, f in both for one, other in zip(b, f, strict=True))
    if n < 2 or (differ and not _steep(both)):
        return Interval(math.exp(_shift(both, 0.0)), 0.0, math.inf, n, None)
    whole = _log_ratio(both)
    pseudo = [n * whole - (n - 1) * _log_ratio(both[:out] + both[out + 1 :]) for out in range(n)]
    sd = spread(pseudo) or 0.0
    half = quantile(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    seen = math.log(min(max(t for t, _ in one) / min(t for t, _ in one) for pair in both for one in pair))
    below, above = lost_fast or whole < -seen, lost_base or whole > seen
    return Interval(
        math.exp(min(max(whole, -seen), seen)),
        0.0 if below else math.exp(min(whole - half, seen)),
        math.inf if above else math.exp(max(whole + half, -seen)),
        n,
        sd,
        {(True, False): "at most", (False, True): "at least"}.get((below, above), ""),
    )


def _ended(curve: Curve) -> bool:
    return all(score is not None and math.isfinite(score) for _, score in curve)


def _log_ratio(pairs: Pairs) -> float:
    """Log of the ratio, over all pairs, with one slope for both arms."""
    up, across = (sum(values) for values in zip(*(_moments(one) for pair in pairs for one in pair), strict=True))
    return _shift(pairs, across / up if up > 0 else 0.0)


def _shift(pairs: Pairs, per_score: float) -> float:
    """How much further left the fast arm's curve lies on average, if a unit of score is worth so many log seconds."""
    shifts = [
        math.log(b[0]) - math.log(f[0]) + per_score * (_score(f) - _score(b))
        for base, fast in pairs
        for b, f in zip(base, fast, strict=True)
    ]
    return math.fsum(shifts) / len(shifts)


def _moments(curve: Curve) -> tuple[float, float]:
    """Of a curve about its middle: the sum of log seconds by score, and that of the squares of log seconds."""
    x, y = [math.log(seconds) for seconds, _ in curve], [_score(one) for one in curve]
    middle, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    up = math.fsum((a - middle) * (b - level) for a, b in zip(x, y, strict=True))
    return up, math.fsum((a - middle) ** 2 for a in x)


def _steep(pairs: Pairs) -> bool:
    """Whether longer training clearly ends better: the slope's own interval, over the seeds, lies above 0."""
    slopes = []
    for pair in pairs:
        up, across = (sum(values) for values in zip(*map(_moments, pair), strict=True))
        slopes.append(up / across)
    mean, sd = math.fsum(slopes) / len(slopes), spread(slopes) or 0.0
    return mean > quantile(LEVEL, len(slopes) - 1) * sd / math.sqrt(len(slopes))


def _score(one: tuple[float, float | None]) -> float:
    return float(one[1])  # type: ignore[arg-type]  # of a curve that ended
