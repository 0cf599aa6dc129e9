"""Noise first, then a price: how much runs of one recipe differ, and how many seeds a gain of some size would need.

A pilot of a few seeds tells the spread of the log of the time to target, and itself only roughly: the seeds are
those whose power, averaged over what the noise may be in truth, is the one asked for, and the price comes with the
range that the interval of the noise gives (chi-square). Two arms that share nothing but the recipe's noise differ by
sqrt(2) times that spread; seeds that pair well make it less, which a pilot of one arm cannot know.

The number of seeds is that of a paired t-test (noncentral t): Cohen, "Statistical Power Analysis", 1988.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

from halftime.errors import BadData, BadValue, shorten
from halftime.measure.statistics import LEVEL, sd_interval, spread
from halftime.run import Run

ONE_SIDE = (1 - LEVEL) / 2  # how often `prove` may claim a gain where there is none
MOST = 100_000  # seeds above which a price says nothing
LEAST = 5  # seeds that prove something


@dataclasses.dataclass(frozen=True)
class Noise:
    """The spread between runs of one recipe: of the log of the time to target, or of the final score.

    Args:
        of: which of the two.
        sd: standard deviation between runs.
        low: lower end of its 95 % interval.
        high: upper end.
        n: runs.
        missed: runs that missed the target; they count as at least as long as they ran.
        mean: of what is spread: of the log of seconds, or of the score.
        seconds: device-seconds of a run.
        failed: ids of runs that are not among them, as they failed or their score is no number.
    """

    of: Literal["log time to target", "final score"]
    sd: float
    low: float
    high: float
    n: int
    missed: int
    mean: float
    seconds: float
    failed: tuple[str, ...] = ()

    @property
    def pair(self) -> float:
        """Standard deviation between pairs of independent runs."""
        return self.sd * math.sqrt(2)

    @property
    def words(self) -> str:
        """The spread in a sentence."""
        missed = f", {self.missed} of them missed the target and count as bounds" if self.missed else ""
        return (
            f"noise: standard deviation of the {self.of} {self.sd:.3g} "
            f"(95 % interval {self.low:.3g} to {self.high:.3g}, {self.n} seeds{missed}){_failed(self.failed)}"
        )


@dataclasses.dataclass(frozen=True)
class Price:
    """What it costs to show a gain; the interval in seeds is what the pilot's own smallness leaves open."""

    gain: float
    seeds: int | None
    low: int | None
    high: int | None
    power: float
    level: float
    sides: int
    hours: float | None
    money: float | None

    @property
    def words(self) -> str:
        """The price in a sentence."""
        if self.seeds is None or self.hours is None:
            return f"a {self.gain:g} % gain needs more than {MOST} seeds per arm: out of reach"
        cost = f"{self.hours:.3g} device-hours" if self.hours >= 0.1 else f"{self.hours * 60:.2g} device-minutes"
        money = "" if self.money is None else f" = {self.money:.2f}"
        high = f"more than {MOST}" if self.high is None else self.high
        return f"a {self.gain:g} % gain needs {self.seeds} seeds per arm = {cost}{money} ({self.low} to {high} seeds)"


def _failed(runs: Sequence[str]) -> str:
    """Names them, after a sentence."""
    verbs = ("s", "are") if len(runs) > 1 else ("", "is")
    return f"; {len(runs)} run{verbs[0]} failed and {verbs[1]} not among them: {', '.join(runs)}" if runs else ""


def noise(runs: Sequence[Run]) -> Noise:
    """The spread between runs of one recipe that differ in their seed.

    Args:
        runs: two or more, ended.

    Raises:
        BadData: fewer than two runs that ended, or runs that are all alike.
    """
    ended = [run for run in runs if run.state == "finished" and run.score is not None and math.isfinite(run.score)]
    failed = tuple(run.id for run in runs if run not in ended)
    if len(ended) < 2:
        raise BadData(f"noise needs two runs that finished, not {len(ended)}{_failed(failed)}")
    hits = [run.hit for run in ended]
    missed = sum(hit is None for hit in hits)
    timed = len(hits) - missed >= 2
    if timed:
        met = [math.log(hit[1]) for hit in hits if hit]
        mean, sd = censored(met, [math.log(run.seconds) for run in ended if run.hit is None])
    else:
        scores = [run.score for run in ended if run.score is not None]
        mean, sd = math.fsum(scores) / len(scores), spread(scores) or 0.0
    n = len(ended)
    what: Literal["log time to target", "final score"] = "log time to target" if timed else "final score"
    if sd <= 1e-12 * abs(mean):
        raise BadData(f"{n} runs have the same {what}, {mean:.3g}: nothing tells how much others would differ")
    aimed = ended[0].workload["target"] is not None
    held = math.fsum(run.device_seconds for run in ended) / n
    return Noise(what, sd, *sd_interval(sd, n), n, missed if aimed else 0, mean, held, failed)


def censored(met: Sequence[float], above: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of values of which some are only known to lie above a bound.

    Args:
        met: known values, two or more.
        above: lower bounds of the others.

    Returns:
        The most likely mean and deviation of a normal distribution, the deviation with n - 1 (Tobin 1958).

    Example:
        >>> mean, sd = censored([1.0, 2.0, 3.0], [])
        >>> round(mean, 6), round(sd, 6)
        (2.0, 1.0)
    """
    mean, sd = math.fsum(met) / len(met), spread(met) or 0.0
    if not above:
        return mean, sd
    from scipy.optimize import minimize  # late, as all of SciPy here
    from scipy.stats import norm

    def unlikely(at: Sequence[float]) -> float:
        width = math.exp(at[1])
        beyond = norm.logsf(above, at[0], width).sum()  # a bound counts as all that lies above it
        return -float(norm.logpdf(met, at[0], width).sum() + beyond)

    everything = [*met, *above]
    least = max(spread(everything) or 0.0, 1e-6)
    found = minimize(unlikely, [math.fsum(everything) / len(everything), math.log(least)], method="Nelder-Mead").x
    n = len(everything)
    return float(found[0]), max(math.exp(float(found[1])) * math.sqrt(n / (n - 1)), spread(everything) or 0.0)


def power_of(n: int, distance: float, sd: float, alpha: float = ONE_SIDE) -> float:
    """How likely n pairs show an effect: the power of a one-sided paired t-test.

    Args:
        n: pairs.
        distance: the effect, such as a mean log ratio.
        sd: standard deviation between pairs.
        alpha: one-sided level.

    Example:
        >>> round(power_of(8, 0.1, 0.1, 0.05), 2)
        0.82
    """
    from scipy.stats import nct, t

    reach = min(distance / sd * math.sqrt(n) if sd > 0 else math.inf, 30.0)  # beyond, SciPy loses its way
    found = float(nct.sf(t.ppf(1 - alpha, n - 1), n - 1, reach))
    return 1.0 if math.isnan(found) else found


def power_expected(n: int, distance: float, sd: float, known_by: int, alpha: float = ONE_SIDE) -> float:
    """The same where the deviation itself is an estimate: averaged over what it may be in truth.

    Args:
        n: pairs.
        distance: the effect.
        sd: standard deviation between pairs, as it was estimated.
        known_by: values that it was estimated from.
        alpha: one-sided level.

    A lucky pilot, whose runs were alike by chance, would else sell proofs that are too small (O'Hagan, Stevens and
    Campbell, "Assurance in Clinical Trial Design", 2005).

    Example:
        >>> power_expected(8, 0.1, 0.1, 5, 0.05) < power_of(8, 0.1, 0.1, 0.05)
        True
    """
    import numpy as np
    from scipy.stats import chi2, nct, t

    freedom = known_by - 1
    sds = sd * np.sqrt(freedom / chi2.ppf((np.arange(40) + 0.5) / 40, freedom))
    reach = np.minimum(distance * math.sqrt(n) / np.maximum(sds, 1e-12), 30.0)
    found = nct.sf(t.ppf(1 - alpha, n - 1), n - 1, reach)
    return float(np.where(np.isnan(found), 1.0, found).mean())


@functools.lru_cache(maxsize=1024)
def seeds_for(
    distance: float, sd: float, alpha: float = ONE_SIDE, power: float = 0.8, known_by: int | None = None
) -> int | None:
    """The fewest pairs, three at least, that show an effect with this probability; None beyond all reach.

    Args:
        distance: the effect; positive.
        sd: standard deviation between pairs.
        alpha: one-sided level.
        power: how likely it is to show.
        known_by: values that the deviation was estimated from; None if it is known.

    Example:
        >>> seeds_for(0.1, 0.1, 0.05, 0.8), seeds_for(0.1, 0.1, 0.05, 0.8, known_by=5)
        (8, 11)
    """

    def enough(n: int) -> bool:
        if known_by is None:
            return power_of(n, distance, sd, alpha) >= power
        return power_expected(n, distance, sd, known_by, alpha) >= power

    low, high = 2, 3
    while not enough(high):
        low, high = high, 2 * high
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def price(
    measured: Noise, gain: float, power: float = 0.8, per_hour: float | None = None, level: float = 1 - LEVEL,
    sides: int = 2,
) -> Price:  # fmt: skip
    """What it costs to show a gain over a recipe whose noise was measured.

    Args:
        measured: the noise.
        gain: per cent of the time to target that are saved; without a target, per cent of the score.
        power: how likely the gain is to show.
        per_hour: money for an hour of the device, if it has a price.
        level: error rate of the test.
        sides: 2 where `level` is shared by both directions, as `prove` does; else 1.

    Returns:
        Seeds for each of two arms (five at least: fewer prove nothing) and the power they have, averaged over what the
        noise may be in truth; the seeds if it is at either end of its interval; and the device time
        of both arms if the runs of either last as long as the pilot's.

    Raises:
        BadValue: a gain, power or price that cannot be.
    """
    check(gain, power, per_hour, level)
    timed = measured.of == "log time to target"
    distance = -math.log1p(-gain / 100) if timed else abs(measured.mean) * gain / 100
    alpha = level / sides
    ends = [seeds_for(distance, sd * math.sqrt(2), alpha, power) for sd in (measured.low, measured.high)]
    asked = seeds_for(distance, measured.pair, alpha, power, measured.n)
    seeds, low, high = (None if n is None else max(LEAST, n) for n in (asked, *ends))
    hours = None if seeds is None else 2 * seeds * measured.seconds / 3600
    money = None if hours is None or per_hour is None else hours * per_hour
    if seeds is not None:
        power = power_expected(seeds, distance, measured.pair, measured.n, alpha)
    return Price(gain, seeds, low, high, power, level, sides, hours, money)


def check(gain: float, power: float, per_hour: float | None, level: float = 1 - LEVEL) -> None:
    """Refuse a gain, power or price that cannot be, before anything is trained.

    Raises:
        BadValue: which, and what it may be.
    """
    for name, value, most in (("gain", gain, 100.0), ("power", power, 1.0), ("level", level, 1.0)):
        if not 0 < value < most:
            raise BadValue(f"{name} must be more than 0 and less than {most:g}, not {shorten(value)}")
    if per_hour is not None and not 0 <= per_hour < math.inf:
        raise BadValue(f"price must be 0 or more for an hour, not {shorten(per_hour)}")


def to_dict(measured: Noise, prices: Sequence[Price]) -> dict[str, Any]:
    """Both for JSON."""
    rows = [{**dataclasses.asdict(one), "words": one.words} for one in prices]
    return {
        "noise": {**dataclasses.asdict(measured), "pair_sd": measured.pair, "words": measured.words},
        "prices": rows,
    }
