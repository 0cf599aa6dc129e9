"""Start: the base of a search at its own rate, how much its runs differ, and what the proof will cost."""

from __future__ import annotations

import dataclasses
import math
import statistics

from halftime.data.feed import Feed
from halftime.errors import BadWorkload, HalftimeError
from halftime.measure.noise import Noise, noise, price
from halftime.measure.plan import Plan
from halftime.measure.tuned import ENOUGH
from halftime.places import overrides
from halftime.recipe import Recipe
from halftime.search.phases import changed
from halftime.search.records import Trial
from halftime.search.retune import base_rate, rate_of
from halftime.search.work import Work, first
from halftime.workload import Workload

SEEDS = 40_000  # where the seeds of the pilot begin
PILOT = 3
NEAR = 1.3  # a rate that was chosen within such a factor of the given one is taken without comparing both in full
AIMED = 20.0  # per cent of the time that the proof should be able to show
FEWEST_PAIRS, MOST_PAIRS = 5, 10  # of the proof, when it is priced


@dataclasses.dataclass(frozen=True)
class Start:
    """The base, tuned; its steps; the trials of its pilot, and what is known from them.

    Args:
        base: as the user gave it, at its own rate.
        steps: of a run of it.
        trials: of the pilot.
        goal: the score, signed, that a faster recipe must end with: the target, and the base's but for the margin.
        noise: of the base, None where too few runs ended.
        pairs: that the proof is thought to take.
        signal: whether there was anything to learn; in words where not.
    """

    base: Recipe
    steps: int
    trials: tuple[Trial, ...]
    goal: float
    noise: Noise | None
    pairs: int
    signal: str = ""

    @property
    def held(self) -> float:
        """Device-seconds of a run."""
        return statistics.fmean(t.held for t in self.trials) if self.trials else 0.0

    @property
    def hit(self) -> float:
        """Seconds to the target; of the whole run where it is missed."""
        return statistics.median(t.hit or t.seconds for t in self.trials) if self.trials else math.inf

    @property
    def reached(self) -> bool:
        """Whether most runs met the target."""
        return 2 * sum(t.hit is not None for t in self.trials) > len(self.trials)


def decays(recipe: Recipe) -> bool:
    """Whether a method of the recipe lets the rate fall."""
    return any(m.slot == "schedule" or overrides(m, "lr_factor") for m in recipe.methods)


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
    if chosen.rate is None:
        found = _piloted(work, recipe, steps)
        if not found.reached:
            return dataclasses.replace(found, signal=chosen.why)
        work.note(f"no learning rate could be chosen ({chosen.why}), yet the base reaches its target: its own stays")
        return found
    own, base = rate_of(recipe) or chosen.rate, changed(recipe, lr=chosen.rate)
    work.view.say(f"  base: learning rate {chosen}")
    if not 1 / NEAR < chosen.rate / own < NEAR:
        mine, given = (work.train(one, [SEEDS, SEEDS + 1], judged=True) for one in (base, recipe))
        if min(map(work.signed, given)) > max(map(work.signed, mine)):
            work.note(
                f"the base's own rate {own:g} ends better than {chosen.rate:g}, the one that was chosen: it stays"
            )
            base = recipe
    if chosen.rates >= ENOUGH:
        work.journal.log.record("chosen", rate=rate_of(base), rates=chosen.rates, why=chosen.why, cost=chosen.cost,
                                recipe=base.to_dict(), recipe_hash=base.hash)  # fmt: skip
    return _piloted(work, base, steps)


def _piloted(work: Work, base: Recipe, steps: int) -> Start:
    trials = tuple(_ended(t) for t in work.train(base, range(SEEDS, SEEDS + PILOT), judged=True))
    workload = work.workload
    mean = statistics.fmean(work.signed(t) for t in trials)
    goal = max(workload.signed(workload.target or 0.0), mean - workload.tolerance / 2)
    found, pairs = None, FEWEST_PAIRS
    try:
        found = noise([work.place.ledger.run(t.run) for t in trials])
        pairs = price(found, AIMED).seeds or MOST_PAIRS
        work.view.say(f"  base: {found.words}; {price(found, AIMED).words}")
    except HalftimeError as error:
        work.note(f"the noise of the base is not known: {error}")
    pairs = min(MOST_PAIRS, max(FEWEST_PAIRS, pairs))
    return Start(base, steps, trials, goal, found, pairs)


def _ended(trial: Trial) -> Trial:
    if not trial.ended:
        raise BadWorkload(f"the base itself cannot be trained: {first([trial])}")
    return trial


def offered(workload: Workload, trials: list[Trial]) -> str:
    """The line to write into a workload file that has no target, from a pilot of the base."""
    scores = sorted(t.score for t in trials if t.score is not None)
    worst = scores[0] if workload.better == "higher" else scores[-1]
    digits = max(0, 3 - math.ceil(math.log10(max(abs(worst), 1e-9))))
    scale = 10.0**digits  # rounded to the easy side
    target = (math.floor if workload.better == "higher" else math.ceil)(worst * scale) / scale
    return (
        f"{workload.name} has no target, so nothing can reach it sooner. {len(scores)} runs of the base ended between "
        f"{scores[0]:.4g} and {scores[-1]:.4g}: if that is good enough, write target={target:g} into the workload and "
        "start again"
    )
