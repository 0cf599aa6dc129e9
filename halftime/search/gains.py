"""Gains: what a change is worth in time, from scores at a fixed number of steps and from seconds a step.

With a schedule that decays, a run meets its target near its end, whatever its length: two recipes of equal length say
little about time. So a change is judged by its score at the same number of steps, and the difference is turned into
time by how much longer the incumbent would have to train for it: `slope` is the score that the incumbent gains where
its steps grow by a factor of e. Seconds a step are timed side by side, and come off. The number of steps is chosen
where the incumbent just misses the goal: there the score still tells recipes apart.

What differs between seeds is estimated from all pairs so far together, since a few pairs alone know too little of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from halftime.measure.statistics import quantile
from halftime.recipe import Recipe
from halftime.search.records import Gain, Pace, Trial
from halftime.search.retune import of_length, rate_of, retuned
from halftime.search.work import Work

SEEDS = 20_000  # where the seeds of comparisons begin
RACE = (2, 3, 4, 6, 9, 12)  # seeds after which it is looked whether a change is clear
DOUBTED = 0.04  # standard error of the log of a pace above which it is timed again, for longer
OUTWEIGHS = 2.0  # times the error that is left by the seeds: where that of the timing is larger, no seeds are added
PART = 0.04  # of the search's time: what a change may take beyond the first turn
SURE, HOPE = 0.97, 0.9  # one-sided: to keep a change (leave-one-out asks again), and to give it up
LEAST = 1.02  # a change that is not likely to gain so much is given up
FEWEST = 12  # steps of the shortest comparison
ALIKE = 9.0  # variances that differ by more are not of one kind
FURTHEST = 3.0  # a difference in scores counts as at most e to this power in time
FARTHEST = 50.0  # an end of an interval as well


@dataclasses.dataclass
class Anchor:
    """The incumbent at the number of steps at which changes are judged.

    Args:
        recipe: the incumbent, with that number of steps.
        trials: of it, by seed.
        slope: score gained where the steps grow by a factor of e; above 0.
        squares: sum of squares of what differs between the seeds of a pair ...
        freedom: ... and the degrees of freedom of it.
    """

    recipe: Recipe
    trials: dict[int, Trial]
    slope: float
    squares: float = 0.0
    freedom: int = 0

    @property
    def steps(self) -> int:
        """At which changes are judged."""
        assert self.recipe.steps is not None, "an anchor is made with steps"
        return self.recipe.steps

    @property
    def sd(self) -> float:
        """Standard deviation between pairs, in units of score."""
        floor = 1e-4 * self.slope
        return max(math.sqrt(self.squares / self.freedom), floor) if self.freedom else floor


def pays(gain: Gain) -> str:
    """ "kept" or "dropped" where it is clear that a change pays, or that it is not likely to; else nothing."""
    return "kept" if gain.low > 1.0 else "dropped" if gain.high < LEAST else ""


def race(
    work: Work,
    anchor: Anchor,
    candidate: Recipe,
    pace: Pace,
    settled: Callable[[Gain], str] = pays,
    longer: Callable[[], Pace] | None = None,
) -> tuple[Gain | None, list[Trial], str]:
    """Train a candidate on few seeds, on more where it is near the decision.

    Args:
        work: of the search.
        anchor: the incumbent; what the pairs show of the noise is added to it.
        candidate: at the anchor's number of steps.
        pace: seconds a step of the incumbent over the candidate's.
        settled: says whether a gain is clear, and how.
        longer: times both again, for longer; asked where nothing is clear and it may be the timing that is not.

    Returns:
        The gain (None where a training did not end), the candidate's trials, and what is settled, or "not clear".
    """
    trials: list[Trial] = []
    gain: Gain | None = None
    began = work.journal.spent
    for n in RACE:
        more = range(SEEDS + len(trials), SEEDS + n)
        spent = work.journal.spent - began + 2 * len(more) * work.cost(anchor.steps)
        if trials and (spent > PART * work.limit or not work.affords(*[anchor.steps] * 2 * len(more))):
            break
        mine = [(anchor.recipe, seed) for seed in more if seed not in anchor.trials]
        work.together(sorted([*mine, *((candidate, seed) for seed in more)], key=lambda pair: pair[1]))  # side by side
        trials += work.train(candidate, more)
        if not all(trial.ended for trial in trials):
            return None, trials, "dropped"
        reference(work, anchor, n)
        found = differences(work, anchor, trials)
        if not found:  # the incumbent did not end on any of these seeds
            return None, trials, "dropped"
        gain = gain_of(work, anchor, trials, pace)
        if settled(gain) or not any(found):  # what changes no score on any seed differs in its timing alone
            break
        if pace.error > OUTWEIGHS * anchor.sd / anchor.slope / math.sqrt(n):
            break  # or it is the timing that is unclear, and seeds tell nothing of that
    assert gain is not None, "the first turn always trains"
    if longer and not settled(gain) and pace.error > DOUBTED:
        again = longer()
        gain = gain if again.why else gain_of(work, anchor, trials, again)
    learn(work, anchor, trials)
    return gain, trials, settled(gain) or "not clear"


def reference(work: Work, anchor: Anchor, n: int) -> None:
    """Train the incumbent on so many seeds, those that are known left out."""
    for trial in work.train(anchor.recipe, [s for s in range(SEEDS, SEEDS + n) if s not in anchor.trials]):
        anchor.trials[trial.seed] = trial


def differences(work: Work, anchor: Anchor, trials: Sequence[Trial]) -> list[float]:
    """By how much a candidate's scores are higher than the incumbent's on the same seeds."""
    mine = anchor.trials
    return [work.signed(t) - work.signed(mine[t.seed]) for t in trials if t.ended and mine[t.seed].ended]


def gain_of(work: Work, anchor: Anchor, trials: Sequence[Trial], pace: Pace) -> Gain:
    """What a candidate gains in time, with the interval that the noise so far leaves."""
    found = differences(work, anchor, trials)
    n, mean = len(found), math.fsum(found) / len(found)
    own = math.fsum((d - mean) ** 2 for d in found)
    freedom = anchor.freedom + n - 1
    sd = max(math.sqrt((anchor.squares + own) / freedom), 1e-4 * anchor.slope)
    time = max(-FURTHEST, min(FURTHEST, mean / anchor.slope))
    centre = time + math.log(pace.ratio)
    error = math.hypot(sd / anchor.slope / math.sqrt(n), pace.error)
    low, high = centre - quantile(SURE, freedom) * error, centre + quantile(HOPE, freedom) * error
    return Gain(_exp(centre), _exp(low), _exp(high), n, mean, pace.ratio)


def _exp(value: float) -> float:
    """Finite, and above 0, whatever the noise: an interval from next to nothing to next to everything says as much."""
    return math.exp(max(-FARTHEST, min(FARTHEST, value)))


def learn(work: Work, anchor: Anchor, trials: Sequence[Trial]) -> None:
    """Add what the pairs of a candidate show of the noise; one that trains quite otherwise shows noise of its own."""
    found = differences(work, anchor, trials)
    if not any(found):  # a change that does nothing knows nothing of luck
        return
    mean = math.fsum(found) / len(found)
    squares = math.fsum((d - mean) ** 2 for d in found)
    if abs(mean) <= anchor.slope and squares <= ALIKE * (len(found) - 1) * anchor.sd**2:
        anchor.squares += squares
        anchor.freedom += len(found) - 1


def words(gain: Gain) -> str:
    """A gain in a few words."""
    return (
        f"{gain.ratio:.2f}× (interval from {gain.low:.2f}×, {gain.n} seeds; score {gain.score:+.3g} at equal steps, "
        f"{gain.pace:.2f}× a step)"
    )


def anchored(
    work: Work, recipe: Recipe, steps: int, goal: float, before: Anchor | None = None, known: Sequence[Trial] = ()
) -> Anchor:
    """Find the number of steps at which the incumbent just misses the goal, and how its score grows there.

    Args:
        work: of the search.
        recipe: the incumbent.
        steps: where to begin; halved as long as the goal is met with half of them.
        goal: score to reach, signed so that higher is better.
        before: an anchor of an earlier incumbent, whose noise is kept.
        known: trials of the incumbent at these steps, if there are any.
    """
    seeds = range(SEEDS, SEEDS + 2)
    long = list(known) or work.train(of_length(recipe, steps), seeds)
    while True:
        half = max(FEWEST, steps // 2)
        short = work.train(of_length(recipe, half), seeds)
        reached = all(t.ended for t in short) and _mean(work, short) >= goal
        if not reached or half in (FEWEST, steps):
            break
        steps, long = half, short
    both = [t.ended for t in (*long, *short)]
    rise = (_mean(work, long) - _mean(work, short)) / math.log(steps / half) if all(both) and half < steps else 0.0
    spread = math.fsum(
        (work.signed(t) - _mean(work, group)) ** 2 for group in (long, short) for t in group if all(both)
    )
    freedom = len(long) + len(short) - 2
    noise = math.sqrt(spread / freedom) if spread and freedom else 0.0
    at, trials = (half, short) if all(t.ended for t in short) and half >= FEWEST else (steps, long)
    kept = before.slope if before is not None and not rise > 0 and not noise else 0.0  # nothing new was learned of it
    slope = max(rise, noise, kept, 1e-12 + 1e-6 * abs(goal))
    incumbent = of_length(recipe, at)
    if before is None:  # later incumbents were tuned when they were tried; the first must be no worse off
        tuned, _ = retuned(work, incumbent, rate_of(incumbent), at)
        trials = trials if tuned == incumbent else work.train(tuned, seeds)
        incumbent = tuned
    anchor = Anchor(incumbent, {t.seed: t for t in trials}, slope)
    if before is not None and before.steps == at:
        anchor.squares, anchor.freedom = before.squares, before.freedom
    anchor.squares += 2 * spread  # two runs of a pair differ by twice the variance of one
    anchor.freedom += freedom
    return anchor


def _mean(work: Work, trials: Sequence[Trial]) -> float:
    return math.fsum(work.signed(t) for t in trials) / len(trials)
