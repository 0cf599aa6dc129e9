"""Work: the trainings of a search, each a run of the ledger, behind the one function `in_turn`.

Whoever wants to train on several processes or machines puts another function in its place: it is given the jobs that
are not done yet, and yields their trials in the same order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from halftime.errors import StorageError
from halftime.ledger.store import Ledger, load_all
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search.failure import failure
from halftime.search.journal import Journal
from halftime.search.phases import listens
from halftime.search.records import Decision, Trial
from halftime.search.view import View
from halftime.train import train
from halftime.workload import Workload

BLOCK = 0.12  # seconds that a block of steps takes at least, where steps are timed


class OutOfTime(Exception):
    """All the minutes of a search are spent, or will not do; nothing more is begun."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One training that is wanted: `judged` as often as the workload says, or at the end alone."""

    stage: str
    recipe: Recipe
    seed: int
    judged: bool = False

    @property
    def key(self) -> str:
        """Its name in the journal; the same training is wanted by several stages, and made once."""
        return f"trial {self.recipe.hash} {self.seed}" + " judged" * self.judged


@dataclasses.dataclass(frozen=True)
class Place:
    """Where jobs are trained, and what is the same for all of them."""

    workload: Workload
    ledger: Ledger
    search: str
    device: str | None = None
    source: str = ""

    def group(self, stage: str) -> str:
        """What the runs of a stage belong to."""
        return f"{self.search}/{stage}"


Engine = Callable[[Place, Sequence[Job], Sequence[Run]], Iterator[Trial]]


def in_turn(place: Place, jobs: Sequence[Job], before: Sequence[Run] = ()) -> Iterator[Trial]:
    """Train jobs one after the other in this process.

    Args:
        place: where.
        jobs: what.
        before: runs that a killed search left; one of the same job counts, or is gone on with.

    Yields:
        The trial of each job, in order. What crashes, diverges or runs out of memory is a trial, too.
    """
    for job in jobs:
        yield trained(place, job, before)


def trained(place: Place, job: Job, before: Sequence[Run] = ()) -> Trial:
    """Train one job, or go on with what is left of it."""
    group = place.group(job.stage)
    mine = [r for r in before if (r.group, r.seed, r.recipe.hash) == (group, job.seed, job.recipe.hash)]
    run = next((r for r in mine if r.state in ("finished", "failed")), None)
    stopped = next((r.id for r in mine if r.state in ("preempted", "killed", "lost")), None)
    few = not job.judged and not any(listens(method) for method in job.recipe.methods)
    workload = dataclasses.replace(place.workload, evaluations=1) if few else place.workload
    about = {"stage": job.stage, "recipe": job.recipe.hash, "seed": job.seed}
    try:
        run = run or train(workload, job.recipe, job.seed, ledger=place.ledger, group=group, quiet=True,
                           resume=stopped, device=place.device, source=place.source)  # fmt: skip
    except StorageError:
        raise
    except Exception as error:
        state, reason = failure(error)
        return Trial(**about, state=state, reason=reason)  # type: ignore[arg-type]
    return Trial(
        **about, steps=run.steps, run=run.id, state=run.state, reason=run.reason, seconds=run.seconds,  # type: ignore[arg-type]
        held=run.device_seconds, hit=run.hit[1] if run.hit else None, score=_finite(run.score),
        loss=_finite(run.evaluations[-1].loss if run.evaluations else None), judged=not few,
    )  # fmt: skip


def _finite(value: float | None) -> float | None:
    """A score that is no number, such as the correlation of a constant, is none."""
    return value if value is not None and math.isfinite(value) else None


@dataclasses.dataclass
class Work:
    """What every stage of a search works with: trainings by way of the journal, decisions, and time.

    Args:
        place: where trainings happen.
        journal: what is known.
        view: of the terminal.
        limit: seconds of the whole search.
        engine: trains jobs.
    """

    place: Place
    journal: Journal
    view: View
    limit: float
    engine: Engine = in_turn
    block: float = BLOCK  # seconds of a block in which steps are timed
    reserved: float = 0.0  # seconds kept back for the proof
    until: float = 0.0  # seconds after which the stage ends
    stage: str = ""
    decisions: list[Decision] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    settings: list[str] = dataclasses.field(default_factory=list)  # of the process, as a program writes them
    trials: list[Trial] = dataclasses.field(default_factory=list)
    rated: dict[str, int] = dataclasses.field(default_factory=dict)  # learning rates tried, by what has them
    watch: Callable[[], None] | None = None  # looks at the machine's speed now and then

    def __post_init__(self) -> None:
        before = load_all(self.place.ledger) if self.journal.resumed else []
        told = {made["value"].get("run") for made in self.journal.known.values() if isinstance(made["value"], dict)}
        self.before = [run for run in before if run.id not in told]  # what attempts left that were killed
        self._costs: dict[int, float] = {}  # seconds for which a training of so many steps held the device
        self.until = self.limit

    @property
    def workload(self) -> Workload:
        """What is learned."""
        return self.place.workload

    @property
    def left(self) -> float:
        """Seconds that are neither spent nor reserved."""
        return self.limit - self.reserved - self.journal.spent

    @contextlib.contextmanager
    def share(self, stage: str, of_left: float) -> Iterator[None]:
        """A stage that may spend this share of what is left."""
        before, self.stage = (self.until, self.stage), stage
        self.until = self.journal.spent + max(0.0, self.left) * of_left
        try:
            yield
        finally:
            self.until, self.stage = before

    def affords(self, *steps: int) -> bool:
        """Whether trainings of so many steps each fit in what is left of this stage."""
        return self.journal.spent + sum(self.cost(n) for n in steps) <= self.until

    def cost(self, steps: int) -> float:
        """Seconds that a training of so many steps will likely take."""
        if not self._costs:
            return 0.0
        nearest = min(self._costs, key=lambda n: abs(math.log(n / steps)))
        return self._costs[nearest] * max(1.0, steps / nearest)  # a shorter one saves no start, as far as is known

    def step_of(self, recipe: Recipe) -> float:
        """Seconds of a step of a recipe, or of the longest training that is known; infinite where there is none."""
        known = [t for t in self.trials if t.ended and t.steps]
        mine = [t for t in known if t.recipe == recipe.hash] or known
        longest = max(mine, key=lambda t: t.steps, default=None)
        return longest.seconds / longest.steps if longest else math.inf

    def train(self, recipe: Recipe, seeds: Sequence[int], judged: bool = False) -> list[Trial]:
        """Train a recipe on some seeds, each once in the life of the search.

        Raises:
            OutOfTime: all of its minutes are spent.
        """
        return self.together([(recipe, seed) for seed in seeds], judged)

    def together(self, wanted: Sequence[tuple[Recipe, int]], judged: bool = False) -> list[Trial]:
        """Train recipes on seeds in one call of the engine, which may have several workers; `train` then knows them.

        Raises:
            OutOfTime: all of its minutes are spent.
        """
        if self.watch is not None:
            self.watch()
        jobs = [Job(self.stage, recipe, seed, judged) for recipe, seed in wanted]
        new = {job.key: job for job in jobs if job.key not in self.journal.known}
        made = self.engine(self.place, list(new.values()), self.before)
        found = []
        for job in jobs:
            if self.journal.spent >= self.limit:
                raise OutOfTime
            what = f"{self.stage}: {job.recipe}, seed {job.seed}"
            self.view.trying(what, self.journal.spent, self.limit)
            told = self.journal.once(job.key, lambda: self._made(next(made)), lambda trial: trial.get("earlier", 0.0))
            trial = Trial(**told)
            if trial.steps and trial.state == "finished":
                self._costs[trial.steps] = trial.held
            if trial.ended and trial.reason:
                self.note(f"{trial.run}: {trial.reason}")
            found.append(trial)
        self.trials += [trial for trial in found if trial not in self.trials]
        return found

    def _made(self, trial: Trial) -> dict[str, Any]:
        """A trial for the journal, with the seconds that earlier attempts had spent on it."""
        earlier = self.earlier(trial.run)
        return dataclasses.asdict(dataclasses.replace(trial, earlier=earlier))

    def earlier(self, *runs: str) -> float:
        """Device-seconds that attempts which were killed had spent on some runs."""
        return math.fsum(run.device_seconds for run in self.before if run.id in runs)

    def decide(self, decision: Decision) -> Decision:
        """Write down and show what was decided."""
        new = self.journal.decide(dataclasses.asdict(decision))
        self.decisions.append(decision)
        if new:
            self.view.say(f"  {decision.verdict:10} {decision.change}: {decision.why}")
        return decision

    def note(self, text: str) -> None:
        """Remember and show something that happened."""
        if text not in self.notes:
            self.notes.append(self.view.say(f"  note: {text}").removeprefix("  note: "))

    def signed(self, trial: Trial) -> float:
        """Its score, higher is better; minus infinity where it has none."""
        return self.workload.signed(trial.score) if trial.ended and trial.score is not None else float("-inf")


def first(trials: Sequence[Trial]) -> Any:
    """The reason of the first trial that did not end, or None."""
    return next((f"{t.state}: {t.reason}" for t in trials if not t.ended), None)
