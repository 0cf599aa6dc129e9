"""A sequential test on paired values of unknown spread: it stops early either way, at stated error rates.

The test is the sequential probability ratio t-test. After n pairs it compares how likely their t statistic is if the
mean is `effect` standard deviations, and if it is zero. The ratio of the two likelihoods does not depend on the spread,
and under "no difference" it is a martingale for every spread and every n, from the first pair on. By Ville's inequality
it ever reaches 1/alpha with probability alpha at most, however often one looks; turned round, it ever falls to
1 - power with that probability at most where the effect is real. So the error rates need no large n. As no step lands
on its boundary exactly, both boundaries are moved in by `OVERSHOOT`, which brings the error rates up to about what is
stated; `bench/claims.py` and a test check that they stay below. Among all tests with such error rates this one asks
for the fewest pairs on average, if the spread were known (Wald and Wolfowitz); about half of a fixed number.

A run is always trained whole. What is sequential is only whether one more pair is begun.

Wald, "Sequential Tests of Statistical Hypotheses", 1945. Rushton, "On a Sequential t-Test", 1950. Siegmund,
"Sequential Analysis", 1985 (overshoot). Schnuerch and Erdfelder, "Controlling Decision Errors with Minimal Costs: The
Sequential Probability Ratio t Test", 2020. Pérez-Ortiz, Lardy, de Heide and Grünwald, "E-Statistics, Group Invariance
and Anytime-Valid Testing", 2024.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halftime.errors import BadValue, shorten
from halftime.measure.noise import seeds_for

FEWEST = 3  # pairs before anything is decided
MOST = 1000  # pairs that a design may ask for
OVERSHOOT = 0.5
ALPHA, POWER = 0.025, 0.975
QUALITY = (0.25, 0.5, 1.0, 2.0, 4.0)  # effects that the running bound of the quality is made from, in equal parts ...
FEW, SINGLE = 12, (0.75, 1.0, 1.5, 2.0)  # ... where so few pairs come at most, one of these alone bounds it nearer
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Design:
    """What a sequential proof is asked for, fixed before its first run.

    Args:
        effect: the mean log ratio that is to be found, in standard deviations of a pair's log ratio.
        alpha: how often a difference may be claimed in one direction where there is none.
        power: how often the effect is to be found where it is real.
        most: pairs after which it ends in any case; by default twice those of a fixed design.
        gain: per cent of the time that the effect stands for, if it was given so.
        noise: standard deviation of a pair's log ratio that the effect was made with, if it was.
        quality: effects that the running bound of the final score is made from, in equal parts; by default those that
            bound it nearest after `most` pairs.

    Example:
        >>> Design(effect=1.0).most, Design(effect=1.0).fixed
        (36, 18)
    """

    effect: float = 1.0
    alpha: float = ALPHA
    power: float = POWER
    most: int = 0
    gain: float | None = None
    noise: float | None = None
    quality: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0.05 <= self.effect <= 10:
            raise BadValue(f"an effect of {shorten(self.effect)} standard deviations is out of reach: 0.05 to 10")
        if not (0 < self.alpha <= 0.25 and 0.5 <= self.power < 1):
            raise BadValue(f"alpha must be at most 0.25 and power at least 0.5, not {self.alpha} and {self.power}")
        if self.most == 0:
            object.__setattr__(self, "most", max(5, min(2 * self.fixed, MOST)))
        if isinstance(self.most, bool) or not isinstance(self.most, int) or not FEWEST <= self.most <= MOST:
            raise BadValue(f"most must be a whole number from {FEWEST} to {MOST}, not {shorten(self.most)}")
        object.__setattr__(self, "quality", tuple(self.quality) or _nearest(self.most, 2 * self.alpha))

    @property
    def fixed(self) -> int:
        """Pairs that a design of a fixed number would need for the same error rates."""
        return seeds_for(self.effect, 1.0, self.alpha, self.power) or MOST

    @property
    def soonest(self) -> int | None:
        """Pairs after which a gain can be claimed at the earliest, however clear it is; None: not within `most`.

        Example:
            >>> Design(effect=1.0, alpha=0.0125, most=5).soonest, Design(effect=2.0, alpha=0.0125, most=5).soonest
            (None, 4)
        """
        able = np.isfinite(boundaries(self)[1]).nonzero()[0]
        return int(able[0]) + 1 if len(able) else None

    @property
    def words(self) -> str:
        """What was designed."""
        what = f"a gain of {self.gain:g} %, " if self.gain is not None else "a gain of "
        less = "" if self.most >= self.fixed else f" or less, as that takes some {self.fixed} pairs"
        return (
            f"sequential design: {what}{self.effect:.2g} times the standard deviation between pairs, is found with "
            f"probability {self.power:g}{less}, a false one claimed with {self.alpha:g}, at most {self.most} pairs"
            f"{', after which no gain can be claimed' if self.soonest is None else ''}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For the record of a proof."""
        return {**dataclasses.asdict(self), "quality": list(self.quality)}


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Repeated bounds of a mean: the claim that it lies within holds at every look together."""

    low: float
    high: float
    futile: bool  # the effect asked for would have shown by now


def design(gain: float, noise: float, most: int = 0, alpha: float = ALPHA, power: float = POWER) -> Design:
    """The design that finds a gain in per cent of the time, where pairs vary by so much.

    Args:
        gain: per cent of the time to target that are to be saved.
        noise: standard deviation of a pair's log ratio.
        most: as in `Design`; likewise alpha and power.

    Raises:
        BadValue: the gain is not between 0 and 100, or needs more pairs than anybody trains.

    Example:
        >>> round(design(10, 0.1).effect, 2)
        1.05
    """
    if not 0 < gain < 100:
        raise BadValue(f"a gain is more than 0 and less than 100 per cent of the time, not {shorten(gain)}")
    effect = -math.log1p(-gain / 100) / max(noise, 1e-9)
    found = Design(min(max(effect, 0.05), 3.0), alpha, power, most, gain, noise)
    if effect < 0.05 or (most == 0 and found.fixed > MOST):
        raise BadValue(f"a gain of {gain:g} % drowns in noise of {noise:.2g}: ask for a larger gain")
    return found


def log_ratio(direction: Floats, n: int, effect: float) -> Floats:
    """Log of the likelihood ratio of two hypotheses after n values: the mean is `effect` deviations, or zero.

    Args:
        direction: t / sqrt(t² + n - 1), the t statistic folded into -1 to 1.
        n: values; three or more.
        effect: may be negative, too.

    The spread is integrated out, which leaves E[exp(a Y)] for chi-distributed Y, by the trapezoid rule about its mode.
    """
    a = effect * math.sqrt(n) * np.asarray(direction, np.float64)
    y = ((a + np.sqrt(a * a + 4 * (n - 1))) / 2)[..., None] + np.arange(-8.0, 8.05, 0.1)
    inside = y > 1e-9
    safe = np.where(inside, y, 1.0)
    logs = np.where(inside, (n - 1) * np.log(safe) - safe * safe / 2 + a[..., None] * safe, -np.inf)
    top = logs.max(-1)
    whole = top + np.log(np.exp(logs - top[..., None]).sum(-1) * 0.1)
    found: Floats = whole - (n / 2 - 1) * math.log(2) - math.lgamma(n / 2) - n * effect * effect / 2
    return found


def boundaries(plan: Design) -> tuple[Floats, Floats]:
    """(t below which the effect is given up, t above which a gain is claimed) after 1, 2, ... `most` values."""
    low, high = np.full(plan.most, -np.inf), np.full(plan.most, np.inf)
    for n in range(FEWEST, plan.most + 1):
        low[n - 1], high[n - 1] = (_crossing(n, (plan.effect,), level) for level in _levels(plan))
    return low, high


def _levels(plan: Design) -> tuple[float, float]:
    """Logs of the likelihood ratio at which the effect is given up, and at which a gain is claimed."""
    inward = OVERSHOOT * plan.effect / (1 + plan.effect)
    return math.log(1 - plan.power) + inward, -math.log(plan.alpha) - inward


@functools.lru_cache(maxsize=4096)
def _crossing(n: int, effects: tuple[float, ...], level: float) -> float:
    """The t at which the log of the ratio, averaged over effects, is `level`; infinite if it never is."""

    def at(direction: float) -> float:
        logs = np.array([log_ratio(np.array(direction), n, effect) for effect in effects])
        return float(logs.max() + np.log(np.exp(logs - logs.max()).mean()))

    low, high = -1.0, 1.0
    if at(high) < level:
        return math.inf
    if at(low) > level:
        return -math.inf
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) < level else (low, middle)
    return high * math.sqrt(n - 1) / math.sqrt(max(1 - high * high, 1e-12))


def follow(values: Sequence[float], plan: Design) -> Bounds:
    """Where a sequential test stands after these values.

    Args:
        values: log ratios, one a pair.
        plan: the design.

    Returns:
        The bounds, and whether the effect is given up. A lower bound above zero is a claim.

    Example:
        >>> follow([0.5, 0.6, 0.55, 0.45, 0.5], Design(effect=1.0, alpha=0.05)).low > 0
        True
        >>> follow([0.1, -0.1, 0.02, -0.12, 0.05], Design(effect=2.0)).futile
        True
    """
    n = min(len(values), plan.most)
    if n < FEWEST:
        return Bounds(-math.inf, math.inf, False)
    given_up, claimed = (_crossing(n, (plan.effect,), level) for level in _levels(plan))
    mean, error = _mean(values[:n])
    return Bounds(mean - claimed * error, mean + claimed * error, mean <= given_up * error)


def running(values: Sequence[float], alpha: float = 0.05, effects: tuple[float, ...] = QUALITY) -> Bounds:
    """Bounds of a mean that hold at every look, each side at `alpha`, where no particular effect is expected.

    Args:
        values: such as differences of final scores.
        alpha: how often either side may ever be wrong.
        effects: chosen before the first value; the likelihood ratio is averaged over them, which is a martingale, too.
    """
    if len(values) < FEWEST:
        return Bounds(-math.inf, math.inf, False)
    mean, error = _mean(values)
    reach = _crossing(len(values), effects, -math.log(alpha)) * error
    return Bounds(mean - reach, mean + reach, False)


def quickest(expected: float, least: int, most: int, alpha: float) -> float | None:
    """The effect whose bound shows a mean of so many standard deviations after the fewest values.

    Args:
        expected: the mean, in standard deviations.
        least: values that there are in any case.
        most: values at most.
        alpha: as in `running`.

    Returns:
        The effect; None where no bound shows it within `most` values.

    Example:
        >>> quickest(5.0, 5, 9, 0.025), quickest(1.0, 5, 9, 0.025), quickest(1.0, 5, 36, 0.025)
        (2.0, None, 1.0)
    """
    for n in range(least, most + 1):
        reach = {effect: _crossing(n, (effect,), -math.log(alpha)) / math.sqrt(n) for effect in SINGLE}
        best = min(reach, key=lambda effect: reach[effect])
        if reach[best] < expected:
            return best
    return None


def _nearest(most: int, alpha: float) -> tuple[float, ...]:
    """The effects whose bound is nearest to the mean after the last of so many values."""
    alone = [(effect,) for effect in SINGLE] if most <= FEW else []
    return min([QUALITY, *alone], key=lambda effects: _crossing(most, effects, -math.log(alpha)))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error; the error is never quite zero, for equal values have a spread that was not seen."""
    n, mean = len(values), math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, max(sd, 1e-9 * abs(mean), 1e-300) / math.sqrt(n)
