"""Phases: what a tune does one after the other, each training a job that any of its processes may take."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from halftime.data.batch import mapped, tensors
from halftime.errors import HalftimeError
from halftime.ledger.lines import Writer
from halftime.ledger.store import Ledger, load
from halftime.places import Method, overrides
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search import rates
from halftime.search.failure import failure
from halftime.search.trials import Job, Result, Taken, Trials
from halftime.train import train
from halftime.workload import Workload

REACH = 50.0  # the grid goes from the recipe's own rate over this to the rate times this
SEEDS = 70_000  # where the seeds of a tune begin: nothing is judged on those by which it was tuned
NEAR = 1.3  # rates within this factor are taken for the same
BETTER = 0.01  # of the loss: another weight decay or batch size must win by this much to be taken


@dataclasses.dataclass
class Phases:
    """What a tune works with, and its phases."""

    workload: Workload
    recipe: Recipe
    folder: Path
    ledger: Ledger
    log: Writer
    how: dict[str, Any]
    quiet: bool | None

    def __post_init__(self) -> None:
        self.trials = Trials(self.folder)
        self.base = self.recipe  # with the batch size that was chosen, and its budget

    def settle(self, step: Callable[[], Any]) -> Any:
        """Do what a step wants, together with whoever else does, until it has its answer."""
        while True:
            wanted = step()
            if not (isinstance(wanted, tuple) and wanted and isinstance(wanted[0], Job)):
                return wanted
            taken = self.trials.take(wanted)
            if taken is None:  # others train what is left of this round
                time.sleep(0.1)
                continue
            try:
                result = self.train(taken)
            except BaseException:  # such as Ctrl-C in a notebook, whose process lives on
                self.trials.drop(taken)
                raise
            self.trials.tell(taken, result)
            self.log.record("try", job=taken.job._asdict(), run=result.run,
                            loss=result.loss if math.isfinite(result.loss) else None)  # fmt: skip
            self.say(taken.job, result)

    def next_rates(self, base: Recipe, advance: Callable[..., Any]) -> Any:
        """The next jobs of a search for a rate on a recipe, or its answer."""
        own, decay, size = setting_of(base, "lr"), setting_of(base, "weight_decay"), base.batch_size
        asked = {
            rates.Ask(job.rate, job.share, job.seed, job.control): result.loss
            for job, result in self.trials.done().items()
            if (job.phase, job.weight_decay, job.batch_size) == ("rate", decay, size)
        }
        tries = [rates.Try(ask, loss) for ask, loss in asked.items()]
        step = advance(own / REACH, own * REACH, tries, shuffled=True)
        if not isinstance(step, tuple):
            return step
        return tuple(Job("rate", a.rate, a.share, a.seed, a.control, decay, size) for a in step)

    def decayed(self, base: Recipe) -> Recipe:
        """The recipe with the best weight decay, at a rate that a first look at the rates suggests."""
        method = optimizer_of(base)
        own = setting_of(base, "weight_decay")
        rough = self.settle(lambda: self.next_rates(base, rates.rough))
        if rough is None:
            return base
        rate, share = rough * (rates.VERIFIED / rates.SCAN) ** -rates.DRIFT, rates.VERIFIED
        values = sorted({own, *method.choices.get("weight_decay", (0.0, own / 3, own * 3))})
        jobs = [Job("weight_decay", rate, share, 3, False, float(v), base.batch_size) for v in values]
        self.settle(lambda: tuple(job for job in jobs if job not in self.trials.done()))
        losses = {job.weight_decay: self.trials.done()[job].loss for job in jobs}
        return changed(base, weight_decay=_clearly(losses, own))

    def sized(self, base: Recipe) -> Recipe:
        """The recipe with the batch size that gets furthest in the time that its own takes."""
        own, lr, decay = base.batch_size, setting_of(base, "lr"), setting_of(base, "weight_decay")
        first = Job("batch_size", lr, rates.VERIFIED, 4, False, decay, own)
        self.settle(lambda: () if first in self.trials.done() else (first,))
        mine = self.trials.done()[first]
        if not mine.steps:  # it broke, so there is no time at which others could be compared
            return base
        most = max(own, len(self.workload.train) // 4)
        sizes = [s for s in (own // 2, own * 2, own * 4) if 1 <= s <= most]
        minutes = max(mine.seconds, 1e-3) / 60
        jobs = [Job("batch_size", lr * math.sqrt(s / own), rates.VERIFIED, 4, False, decay, s, minutes) for s in sizes]
        for job in jobs:  # one at a time: equal minutes beside another training are no equal minutes
            self.settle(lambda job=job: () if job in self.trials.done() else (job,))  # type: ignore[misc]
        done = self.trials.done()
        size = int(_clearly({own: mine.loss} | {job.batch_size: done[job].loss for job in jobs}, own))
        if size == own:
            return base
        steps = next(done[job].steps for job in jobs if job.batch_size == size) / max(mine.steps, 1)
        budget = base.replace(batch_size=size, micro_batch=base.micro_batch and min(base.micro_batch, size))
        if base.steps is not None:
            budget = budget.replace(steps=max(1, round(base.steps * steps)))
        elif base.epochs is not None:
            budget = budget.replace(epochs=base.epochs * steps * size / own)
        self.base = changed(budget, lr=lr * math.sqrt(size / own))
        return self.base

    def train(self, taken: Taken) -> Result:
        """Do one job as a run of the ledger; a run of it that was stopped goes on, one that had ended counts."""
        job, seed = taken.job, SEEDS + taken.job.seed
        recipe, workload = self.short(job), self.workload
        if not any(listens(method) for method in recipe.methods):
            workload = dataclasses.replace(workload, evaluations=1)
        group = f"{self.folder.name}/{job.phase}"
        before = [run for run in self.runs() if taken.again and (run.group, run.seed) == (group, seed)]
        before = [run for run in before if run.recipe.hash == recipe.hash]
        run = next((run for run in before if run.state in ("finished", "failed")), None)
        if run is None:
            stopped = next((run.id for run in before if run.state in ("preempted", "killed", "lost")), None)
            try:
                run = train(workload, recipe, seed, ledger=self.ledger, group=group, resume=stopped, quiet=True,
                            **self.how)  # fmt: skip
            except Exception as error:
                lone = failure(error)[0] != "out of memory" and not any(one.run for one in self.trials.done().values())
                if lone or isinstance(error, HalftimeError):
                    raise  # nothing has been trained here yet: it is no matter of a rate, or of a batch size
                return Result(math.inf)  # of a larger batch, or a higher rate: a result like any other
        return Result(_loss(run), run.steps, run.seconds, run.id)

    def short(self, job: Job) -> Recipe:
        """The recipe of a job."""
        recipe = changed(self.base, lr=job.rate, weight_decay=job.weight_decay)
        size = job.batch_size or recipe.batch_size
        recipe = recipe.replace(batch_size=size, micro_batch=recipe.micro_batch and min(recipe.micro_batch, size))
        if job.control:
            recipe = recipe.plus(ShuffledTargets())
        if job.minutes is not None:
            return recipe.replace(minutes=job.minutes)
        samples = self.base.batch_size / size if self.base.steps is not None else 1.0
        if recipe.steps is not None:
            return recipe.replace(steps=max(1, round(recipe.steps * job.share * samples)))
        name = "epochs" if recipe.epochs is not None else "minutes"
        return recipe.replace(**{name: getattr(recipe, name) * job.share})

    def runs(self) -> list[Run]:
        """The runs that began after this tune did."""
        folders = [path for path in self.ledger.runs if path.name[1:] >= self.folder.name[1:]]
        return [run for run in map(load, folders) if run is not None]

    def say(self, job: Job, result: Result) -> None:
        """A line about a training."""
        if self.quiet is not True:
            what = "shuffled targets" if job.control else job.phase.replace("_", " ")
            size = f" · batch {job.batch_size}" if job.phase == "batch_size" else ""
            decay = f" · weight decay {job.weight_decay:g}" if job.phase == "weight_decay" else ""
            text = f"{self.workload.name} · {what} · rate {job.rate:g}{decay}{size} · {job.share:.3g} of the budget"
            print(f"{text} · loss {result.loss:.4g}", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class ShuffledTargets(Method):
    """Targets in another order than their inputs: what is lost then is lost without information. No speed-up."""

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:  # noqa: ARG002
        """Shuffle the targets of a batch."""
        first = next(tensors(targets))
        order = torch.randperm(len(first)).to(first.device)
        return inputs, mapped(targets, lambda t: t[order])


def optimizer_of(recipe: Recipe) -> Method:
    """The optimizer method of a recipe that has one."""
    method = recipe.get("optimizer")
    assert method is not None, "checked at the start"
    return method


def setting_of(recipe: Recipe, name: str) -> Any:
    """A setting of a recipe: its batch size, or a field of its optimizer, None where it has none."""
    return recipe.batch_size if name == "batch_size" else getattr(optimizer_of(recipe), name, None)


def changed(recipe: Recipe, **settings: Any) -> Recipe:
    """The recipe with settings of its optimizer changed; those that are None stay.

    With `lr` move the rates of the optimizer's other groups (`kernel_lr`, `rest_lr`): each keeps its ratio.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    optimizer = optimizer_of(recipe)
    if "lr" in given:
        ratio = given["lr"] / optimizer.lr  # type: ignore[attr-defined]
        others = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.name.endswith("_lr")}
        given = {name: rate * ratio for name, rate in others.items() if rate is not None} | given
    return recipe.plus(dataclasses.replace(optimizer, **given))


def _clearly(losses: Mapping[Any, float], own: Any) -> Any:
    """The value with the lowest loss, if it clearly beats that of the recipe's own value; its own where all diverge."""
    best = min(losses, key=lambda value: losses[value])
    if losses[best] == math.inf:
        return own
    return best if losses[own] == math.inf or losses[own] - losses[best] > BETTER * abs(losses[own]) else own


def listens(method: Method) -> bool:
    """Whether a method may act on validation scores: then the short runs are judged as often as the long one."""
    return overrides(method, "evaluated") or (method.slot == "schedule" and not overrides(method, "lr_factor"))


def _loss(run: Run) -> float:
    """The validation loss at the end, infinite where the run failed."""
    loss = run.evaluations[-1].loss if run.state == "finished" and run.evaluations else math.inf
    return loss if loss is not None and math.isfinite(loss) else math.inf
