"""Rates: choose a learning rate from short but full schedules, for the length that is really meant.

What: a log grid of rates is tried with trainings that are short and yet decay to zero; around the best, fewer are tried
at longer ones; the last round is the best with both its neighbours. A longer training wants a smaller rate: the
optimum of each round is moved on as length to the power of `-DRIFT`, in the end to the real length. A ramp would be
cheaper and is not to be trusted: it sees where a network diverges, not where it ends up.
Papers: Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (halving);
Kaddour et al. 2023, "No Train No Gain" (a comparison needs fully decayed schedules).
Costs: at most `BUDGET` trainings of the real length.
Fails when: the real training is so short that its shares are a few steps; the schedule does not decay; losses of two
seeds differ by more than those of neighbouring rates.

`advance` is a pure function from what was tried to what is to be tried next: whoever wants to stop, go on or share the
work keeps the tries and calls it again. `choose` is the loop around it, for everybody's own training.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from halftime.errors import BadValue, shorten

BUDGET = 1.5  # trainings of the real length
SCAN, HALVED, VERIFIED = 1 / 32, 1 / 16, 1 / 4  # shares of the real length in the three rounds
DOUBTED = 1 / 6  # the share of the last round where it is not clear yet that anything is learned
POINTS, MOST = 7, 10  # rates in the first round; with what it grows by where the best is at an edge
KEPT, WIDE, NARROW = 3, 2.4, 1.8  # rates in the second round; factors between rates in the second and in the last
DRIFT = 0.3  # exponent by which the best rate falls as the training gets longer
CLEAR, LEARNED = 0.1, 0.02  # of the loss without information: a gain that leaves no doubt, and the least gain
SIGMAS = 4.0  # the gain must be so many standard deviations of the losses without information
LAST = 2  # seed of the last round
UNTRAINED = 1e-3  # of the lowest rate: nothing can be learned there


@dataclasses.dataclass(frozen=True)
class Ask:
    """A training that is wanted: `share` of the real length, 0 to 1; a `control` must not be able to learn."""

    rate: float
    share: float
    seed: int
    control: bool = False


@dataclasses.dataclass(frozen=True)
class Try:
    """A training that was done, and the validation loss at its end; infinite where it diverged."""

    ask: Ask
    loss: float


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The rate, or None where the losses carry no information; why; and what was tried."""

    rate: float | None
    why: str
    tries: tuple[Try, ...]

    @property
    def cost(self) -> float:
        """Trainings of the real length that all tries together come to."""
        return math.fsum(one.ask.share for one in self.tries)

    @property
    def rates(self) -> int:
        """How many different rates were tried."""
        return len({one.ask.rate for one in self.tries if not one.ask.control})

    def __str__(self) -> str:
        return f"{'no signal' if self.rate is None else f'{self.rate:g}'}: {self.why}"


def choose(
    loss_after: Callable[[float, float, int], float],
    low: float,
    high: float,
    *,
    control: Callable[[float, float, int], float] | None = None,
) -> Chosen:
    """Choose a learning rate for any training that can be called.

    Args:
        loss_after: (rate, share, seed) -> the validation loss after a full schedule, decayed to zero, over `share` of
            the real length (at least one step); infinite or not a number where it diverged.
        low: the lowest rate of the grid, above 0; the grid grows where the best rate is at its edge.
        high: the highest rate of the grid.
        control: the same on targets that carry no information, such as shuffled ones. Without it, a rate next to
            zero shows what the network loses untrained; that takes a network that only learns its bias for a learner.

    Returns:
        The choice; its `rate` is None where nothing was learned at any rate.

    Raises:
        BadValue: the ends are not rates in ascending order.

    Example:
        >>> def loss_after(rate, share, seed):  # best at 0.1 for the real length, at higher rates for shorter ones
        ...     return 0.2 + min(2.0, math.log(rate * share**0.3 / 0.1) ** 2 / 10) + 0.01 / share
        >>> found = choose(loss_after, 1e-3, 10.0)
        >>> round(found.rate, 2), found.cost <= 1.5
        (0.1, True)
    """
    tries: list[Try] = []
    while True:
        step = advance(low, high, tries, shuffled=control is not None)
        if isinstance(step, Chosen):
            return step
        for ask in step:
            loss = float((control if control and ask.control else loss_after)(ask.rate, ask.share, ask.seed))
            tries.append(Try(ask, loss if math.isfinite(loss) else math.inf))


def advance(low: float, high: float, tries: Iterable[Try], *, shuffled: bool) -> tuple[Ask, ...] | Chosen:
    """What is to be tried next, or the choice; the order of the tries is of no consequence.

    Args:
        low: the lowest rate of the grid.
        high: the highest.
        tries: all that was done.
        shuffled: whether a control trains at a usual rate on targets without information; else it is next to untrained.

    Returns:
        The trainings that are still wanted in this round, in any order; or what was chosen.
    """
    search = _Search.over_what(low, high, tries, shuffled)
    for round_ in (search.scan, search.halved, search.verified):
        missing = search.missing(round_())
        if missing:
            return missing
        if search.over:
            break
    return search.chosen()


def rough(low: float, high: float, tries: Iterable[Try], *, shuffled: bool) -> tuple[Ask, ...] | float | None:
    """The first round alone, as `advance`: what is wanted, then the best rate for the shortest trainings, or None."""
    search = _Search.over_what(low, high, tries, shuffled)
    return search.missing(search.scan()) or (None if search.over else search.best)


@dataclasses.dataclass
class _Search:
    """The rounds over what is known; each returns its trainings and stops where one of them is not known yet."""

    low: float
    high: float
    known: Mapping[Ask, float]
    shuffled: bool
    over: str = ""  # why nothing more need be tried
    asked: dict[Ask, None] = dataclasses.field(default_factory=dict)
    best: float = 0.0  # rate of the round before
    share: float = VERIFIED

    @classmethod
    def over_what(cls, low: float, high: float, tries: Iterable[Try], shuffled: bool) -> _Search:
        if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and 0 < low < high < math.inf):
            raise BadValue(f"the grid needs two rates, 0 < low < high, not {shorten(low)} and {shorten(high)}")
        return cls(low, high, {one.ask: one.loss for one in tries}, shuffled)

    def missing(self, asks: Sequence[Ask]) -> tuple[Ask, ...]:
        self.asked.update(dict.fromkeys(asks))
        return tuple(ask for ask in asks if ask not in self.known)

    def losses(self, asks: Iterable[Ask]) -> list[float]:
        return [self.known[ask] for ask in asks]

    def spent(self, asks: Iterable[Ask]) -> float:
        return math.fsum(ask.share for ask in {*self.asked, *asks})

    def scan(self) -> list[Ask]:
        """The whole grid, and what is lost without information."""
        factor = (self.high / self.low) ** (1 / (POINTS - 1))
        first, last = 0, POINTS - 1
        while True:
            asks = [Ask(_round(self.low * factor**k), SCAN, 0) for k in range(first, last + 1)]
            if any(ask not in self.known for ask in asks):
                return asks
            losses = self.losses(asks)
            at = losses.index(min(losses))
            if last - first + 1 >= MOST or 0 < at < len(asks) - 1 or _flat(losses):
                break
            first, last = (first - 1, last) if at == 0 else (first, last + 1)
        self.best = asks[at].rate
        if min(losses) == math.inf:
            self.over = "the training diverges at every rate"
        elif _flat(losses):
            self.over = "the loss is the same at every rate"
        return asks + self.untrained() * (not self.over)

    def untrained(self) -> list[Ask]:
        """Next to nothing learned, from the weights of the last round: one at each of some rates, to see the noise."""
        rates = [] if self.shuffled else [_round(self.low * UNTRAINED * (1 + k / 8)) for k in range(8)]
        return [Ask(rate, SCAN / 8, LAST, True) for rate in rates]

    def halved(self) -> list[Ask]:
        """Fewer rates around the best, moved on to the longer training; then the best on shuffled targets."""
        centre = self.best * (HALVED / SCAN) ** -DRIFT
        asks = self.around(centre, KEPT, WIDE, HALVED, seed=1, ahead=5 * DOUBTED + HALVED * self.shuffled)
        if self.missing(asks):
            return asks
        losses = self.losses(asks)
        self.best = asks[losses.index(min(losses))].rate
        asks += [Ask(self.best, HALVED, 1, True)] * self.shuffled
        if not self.missing(asks):
            self.share = VERIFIED if self.gain(min(losses)) > CLEAR else DOUBTED
        return asks

    def verified(self) -> list[Ask]:
        """The best and both its neighbours, at the longest share; with shuffled targets beside it where in doubt."""
        centre = self.best * (self.share / HALVED) ** -DRIFT
        doubt = self.shuffled and self.share == DOUBTED
        extra = [Ask(_round(centre / NARROW**k), DOUBTED, LAST, True) for k in range(2)] if doubt else []
        ahead = math.fsum(ask.share for ask in extra)
        return self.around(centre, 3, NARROW, self.share, seed=LAST, ahead=ahead) + extra

    def around(self, centre: float, count: int, factor: float, share: float, seed: int, ahead: float) -> list[Ask]:
        """`count` rates around a centre, and more on the side where the best is at the edge, as far as money goes."""
        first, last = 0, count - 1
        while True:
            rates = [_round(centre * factor ** (k - (count - 1) / 2)) for k in range(first, last + 1)]
            asks = [Ask(rate, share, seed) for rate in rates]
            if any(ask not in self.known for ask in asks):
                return asks
            losses = self.losses(asks)
            at = losses.index(min(losses))
            if 0 < at < len(asks) - 1 or self.spent(asks) + share + ahead > BUDGET or _flat(losses):
                return asks
            first, last = (first - 1, last) if at == 0 else (first, last + 1)

    def gain(self, loss: float, doubt: float = 0.0) -> float:
        """How far a loss lies below what is lost without information, as a share of it; 0 within noise or doubt.

        The reference has the same share as the loss, or as near as there is, and most often the same initial weights.
        """
        controls = {ask: self.known[ask] for ask in self.asked if ask.control}
        longest = max(ask.share for ask in controls)
        same = [value for ask, value in controls.items() if ask.share == longest and value < math.inf]
        if not same or loss == math.inf:
            return 0.0
        noise = statistics.stdev(same) if len(same) > 1 else 0.0
        gain = min(same) - loss if self.shuffled else statistics.fmean(same) - loss
        return gain / max(abs(min(same)), 1e-12) if gain > max(SIGMAS * noise, doubt) else 0.0

    def chosen(self) -> Chosen:
        """The optimum of the last round, carried on to the real length; or why there is none."""
        tries = tuple(Try(ask, self.known[ask]) for ask in self.asked)
        if self.over:
            return Chosen(None, self.over, tries)
        asks = sorted((a for a in self.asked if a.share == self.share and not a.control), key=lambda a: a.rate)
        last = {ask.rate: self.known[ask] for ask in asks}
        needed = CLEAR if self.shuffled and self.share == VERIFIED else LEARNED
        finite = [v for v in last.values() if v < math.inf]
        doubt = max(finite) - min(finite) if self.share == DOUBTED and finite else 0.0
        middle = statistics.median_low if math.inf in last.values() else statistics.median  # no mean with infinity
        if self.gain(middle(last.values()), doubt) < needed:
            return Chosen(None, "no rate does clearly better than a network that can learn nothing", tries)
        here = lowest(last)
        rate = _round(here * self.share**DRIFT)
        best = min(last, key=lambda r: last[r])
        edge = " (at the edge of what was tried)" if best in (min(last), max(last)) else " and worse on both sides"
        why = f"best at {here:.3g} over {self.share:.3g} of the length{edge}, moved on to all of it"
        return Chosen(rate, why, tries)


def lowest(losses: Mapping[float, float]) -> float:
    """The rate at the lowest point of a parabola through log losses over log rates, near the best that was tried."""
    best = min(losses, key=lambda rate: losses[rate])
    logs = min(losses.values()) > 0
    near = [(math.log(r), math.log(v) if logs else v) for r, v in losses.items() if v < math.inf]
    floor = min(y for _, y in near)
    near = [(x, y) for x, y in near if y <= floor + 0.6] if logs else near
    if len(near) < 3:
        return best
    x, y = (np.array(values) for values in zip(*near, strict=True))
    middle = x.mean()
    curve = np.polynomial.Polynomial.fit(x - middle, y, 2, w=np.exp((floor - y) * 2.5) if logs else None).convert()
    _, slope, bend = (*curve.coef, 0.0, 0.0)[:3]
    if bend <= 1e-9:
        return best
    bottom = math.exp(middle - slope / (2 * bend))
    return min(max(bottom, best / NARROW), best * NARROW)


def _flat(losses: Sequence[float]) -> bool:
    """Whether all losses are one and the same, but for rounding."""
    finite = [v for v in losses if v < math.inf]
    return len(finite) == len(losses) and max(finite) - min(finite) <= 1e-6 * max(map(abs, finite))


def _round(rate: float) -> float:
    """Three digits are enough for a rate, and can be read and written again."""
    return float(f"{rate:.3g}")
