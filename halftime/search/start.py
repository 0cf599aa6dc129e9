"""Start: the base of a search at its own rate, how much its runs differ, and what the proof will cost."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from halftime.data.feed import Feed
from halftime.errors import BadWorkload, HalftimeError
from halftime.measure.noise import Noise, noise, price
from halftime.measure.plan import Plan
from halftime.measure.tuned import ENOUGH
from halftime.recipe import Recipe
from halftime.search.phases import NEAR, changed
from halftime.search.records import Trial
from halftime.search.retune import base_rate, rate_of
from halftime.search.work import OutOfTime, Work, first
from halftime.workload import Workload

SEEDS = 40_000  # where the seeds of the pilot begin
PILOT = 3
AIMED = 20.0  # per cent of the time that is quoted for
HOPED, SURELY = 1.5, 3.0  # gain that the proof is thought to show before anything is known of it; of a textbook base
FEWEST_PAIRS, MOST_PAIRS = 5, 12  # of the proof, when it is priced
PROOF = 0.25  # of the search's time that is kept back for more pairs than the fewest
SHOWN = 3.5  # standard errors between a mean and a bound that is shown: its quantile at every look, and one for luck
SPENT = 0.7  # of what is left when the length is looked for, that is left for the proof
LEAST = 11.0  # trainings of the base without which there is no search: its rate, a pilot of two, the fewest pairs
DEAR = 0.012  # of the search's time: of a training that costs more, fewer are made


@dataclasses.dataclass(frozen=True)
class Start:
    """The base, tuned; its steps; the trials of its pilot, and what is known from them.

    Args:
        base: as the user gave it, at its own rate.
        steps: of a run of it.
        trials: of the pilot.
        goal: the score, signed, that a faster recipe must end with: the target, and the base's but for the margin.
        noise: of the base, None where too few runs ended.
        signal: whether there was anything to learn; in words where not.
        mean: score, signed, that the pilot ended with.
    """

    base: Recipe
    steps: int
    trials: tuple[Trial, ...]
    goal: float
    noise: Noise | None
    signal: str = ""
    mean: float = -math.inf

    @property
    def held(self) -> float:
        """Device-seconds of a run."""
        return statistics.fmean(t.held for t in self.trials) if self.trials else 0.0

    def proof(self, limit: float, ratio: float = HOPED) -> float:
        """Seconds to keep back for the proof of a gain: pairs of runs, one of the base and a shorter one each.

        A pilot of three runs knows so little of the noise that its price is not paid beyond a share of the limit.
        """
        asked = price(self.noise, 100 * (1 - 1 / ratio)).seeds if self.noise and ratio > 1 else None
        pair = self.held * (1 + 1 / max(ratio, 1.0))
        return max(FEWEST_PAIRS * pair, min((asked or MOST_PAIRS) * pair, PROOF * limit))

    def aimed(self, sd: float, tolerance: float, seconds: float) -> float:
        """The goal of the final length: where few pairs can be paid, more of the margin is left for a proof to show.

        Args:
            sd: standard deviation between pairs, in units of score.
            tolerance: by how much a score may be worse, in the same.
            seconds: what is left of the search.

        Example:
            >>> trial = Trial("", "", 0, held=10.0)
            >>> began = Start(None, 100, (trial,), goal=0.765, noise=None, mean=0.77)
            >>> [round(began.aimed(0.008, tolerance=0.01, seconds=left), 4) for left in (1000, 200, 20)]
            [0.765, 0.7697, 0.77]
        """
        pairs = SPENT * seconds / (self.held * (1 + 1 / HOPED)) if self.held else MOST_PAIRS
        return max(self.goal, self.mean - max(0.0, tolerance - SHOWN * sd / math.sqrt(max(pairs, FEWEST_PAIRS))))

    @property
    def hit(self) -> float:
        """Seconds to the target; of the whole run where it is missed."""
        return statistics.median(t.hit or t.seconds for t in self.trials) if self.trials else math.inf

    @property
    def reached(self) -> bool:
        """Whether most runs met the target."""
        return 2 * sum(t.hit is not None for t in self.trials) > len(self.trials)


def steps_of(work: Work, recipe: Recipe) -> int:
    """Optimizer steps of a run; a budget in minutes is trained once to know."""
    if recipe.minutes is not None:
        trial = _ended(work.train(recipe, [SEEDS - 1])[0])
        return trial.steps
    return Plan.for_budget(recipe, Feed(work.workload.train, recipe.batch_size, 0).steps_per_epoch).total


def start(work: Work, recipe: Recipe) -> Start:
    """Tune the base, train its pilot, and price the proof.

    Raises:
        BadWorkload: the base itself cannot be trained.
    """
    steps = steps_of(work, recipe)
    if rate_of(recipe) is None:
        work.note("the base has no learning rate of its own, so none is tuned")
        return _piloted(work, recipe, steps)
    chosen = base_rate(work, recipe, steps)
    if work.limit < LEAST * work.cost(steps):
        asked = f"give at least {2 * LEAST * work.cost(steps) / 60:.2g} minutes"
        raise OutOfTime(
            f"a training of the base takes {work.cost(steps):.2g} s, base and proof {LEAST:g} of them: {asked}"
        )
    if chosen.rate is None:
        found = _piloted(work, recipe, steps)
        if not found.reached:
            return dataclasses.replace(found, signal=chosen.why)
        work.note(f"no learning rate could be chosen ({chosen.why}), yet the base reaches its target: its own stays")
        return found
    own, base = rate_of(recipe) or chosen.rate, changed(recipe, lr=chosen.rate)
    work.view.say(f"  base: learning rate {chosen}")
    if not 1 / NEAR < chosen.rate / own < NEAR:
        seeds = range(SEEDS, SEEDS + (1 if work.cost(steps) > DEAR * work.limit else 2))
        mine, given = (work.train(one, seeds, judged=True) for one in (base, recipe))
        if _standing(work, given) > _standing(work, mine):
            work.note(
                f"the base's own rate {own:g} does better in full than {chosen.rate:g}, which was chosen: it stays"
            )
            base = recipe
    if chosen.rates >= ENOUGH:
        work.journal.log.record("chosen", rate=rate_of(base), rates=chosen.rates, why=chosen.why, cost=chosen.cost,
                                recipe=base.to_dict(), recipe_hash=base.hash)  # fmt: skip
    return _piloted(work, base, steps)


def _standing(work: Work, trials: Sequence[Trial]) -> tuple[int, float]:
    """How well a rate does, to compare: how often the target is met, then how soon, or how near it is."""
    hits = [t.hit for t in trials if t.hit is not None]
    return len(hits), -math.fsum(hits) / len(hits) if hits else statistics.fmean(map(work.signed, trials))


def _piloted(work: Work, base: Recipe, steps: int) -> Start:
    trials: tuple[Trial, ...] = ()
    for seed in range(SEEDS, SEEDS + PILOT):
        if len(trials) < 2 or trials[0].held < 3 * DEAR * work.limit:
            trials += tuple(_ended(t) for t in work.train(base, [seed], judged=True))
    workload = work.workload
    mean = statistics.fmean(work.signed(t) for t in trials)
    goal = max(workload.signed(workload.target or 0.0), mean - workload.tolerance / 2)
    found = None
    try:
        found = noise([work.place.ledger.run(t.run) for t in trials])
        work.view.say(f"  base: {found.words}; {price(found, AIMED, per_hour=work.view.price).words}")
    except HalftimeError as error:
        work.note(f"the noise of the base is not known: {error}")
    return Start(base, steps, trials, goal, found, mean=mean)


def _ended(trial: Trial) -> Trial:
    if not trial.ended:
        raise BadWorkload(f"the base itself cannot be trained: {first([trial])}")
    return trial


def offered(workload: Workload, trials: list[Trial]) -> str:
    """The line to write into a workload file that has no target, from a pilot of the base."""
    scores = sorted(t.score for t in trials if t.ended and t.score is not None)
    if not scores:
        return f"{workload.name} has no target, and none can be offered, as no run of the base ended: {first(trials)}"
    worst = scores[0] if workload.better == "higher" else scores[-1]
    digits = max(0, 3 - math.ceil(math.log10(max(abs(worst), 1e-9))))
    scale = 10.0**digits  # rounded to the easy side
    target = (math.floor if workload.better == "higher" else math.ceil)(worst * scale) / scale
    return (
        f"{workload.name} has no target, so nothing can reach it sooner. {len(scores)} runs of the base ended between "
        f"{scores[0]:.4g} and {scores[-1]:.4g}: if that is good enough, write target={target:g} into the workload and "
        "start again"
    )
