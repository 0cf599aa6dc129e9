"""Tune: choose a recipe's learning rate on its workload, and batch size and weight decay before it where asked.

The rate is `halftime.search.rates`: short full schedules, never a ramp. It acts through the field `lr` of the optimizer
method alone, so groups of parameters keep their ratios. Every training is a run of the ledger, in the tune's group, on
seeds that are a tune's own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from halftime.data.feed import Feed
from halftime.errors import BadRecipe, BadValue
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.lines import Writer, read
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger
from halftime.measure.device import pick
from halftime.measure.plan import Plan
from halftime.recipe import Recipe
from halftime.run import attempt_files
from halftime.search import rates
from halftime.search.phases import Phases, changed, setting_of
from halftime.search.trials import Job, Result, check_optuna, locked
from halftime.workload import Workload

SHORTEST = 32  # steps of a training whose shares can still be told apart


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The recipe with what was chosen, or as it was where there was no signal; what was tried, and what it cost."""

    id: str
    folder: Path
    base: Recipe
    recipe: Recipe
    chosen: rates.Chosen
    results: Mapping[Job, Result]
    device_seconds: float  # of all processes, runs that were done again included
    device: str

    @property
    def signal(self) -> bool:
        """Whether the losses carried information, so that a rate could be chosen."""
        return self.chosen.rate is not None

    @property
    def cost(self) -> float:
        """Trainings of the real length that everything tried comes to."""
        return math.fsum(job.share for job in self.results)

    @property
    def words(self) -> str:
        """The choice and its price in a sentence or two."""
        text = f"learning rate {self.chosen}"
        for name in ("weight_decay", "batch_size"):
            before, after = setting_of(self.base, name), setting_of(self.recipe, name)
            if {job.phase for job in self.results} & {name}:
                text += f"; {name.replace('_', ' ')} {after:g}" + (
                    " as it was" if before == after else f", not {before:g}"
                )
        return f"{text}; cost {self.cost:.2f} trainings of {self.base.budget}, {self.device_seconds:.1f} device-seconds"

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "tune": self.id,
            "signal": self.signal,
            "rate": self.chosen.rate,
            "words": self.words,
            "base": self.base.to_dict(),
            "recipe": self.recipe.to_dict(),
            "device": self.device,
            "cost": self.cost,
            "device_seconds": self.device_seconds,
            "tries": [job._asdict() | vars(result) for job, result in self.results.items()],
        }


def tune(
    workload: Workload,
    recipe: Recipe,
    *,
    weight_decay: bool = False,
    batch_size: bool = False,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    quiet: bool | None = None,
    source: str = "",
) -> Tuned:
    """Choose the learning rate of a recipe for the length of its own budget.

    A tune that was interrupted goes on where it was when the same call is made again on the same code and data; the
    same call in another process, at the same time, shares the work.

    Args:
        workload: what is learned; the loss on its validation data is what is compared.
        recipe: with an optimizer method that has a field `lr`; the grid is laid around its value.
        weight_decay: choose it, too, before the rate.
        batch_size: choose it, too, at equal training time, before everything else.
        device: as in `train`.
        ledger: as in `train`.
        quiet: True shows nothing; else a line a training, on stderr.
        source: as in `train`.

    Raises:
        BadRecipe: no optimizer with a learning rate, or no weight decay where it is asked for.
        BadValue: the budget is too short to try shares of it.

    Example:
        >>> import halftime as ht, torch
        >>> from halftime.methods import SGD, OneCycle
        >>> x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
        >>> task = ht.Workload(name="sum", model=lambda: torch.nn.Linear(4, 1), train=(x, x.sum(1, keepdim=True)),
        ...                    valid=(x, x.sum(1, keepdim=True)), loss=torch.nn.functional.mse_loss,
        ...                    score=torch.nn.functional.mse_loss, better="lower")
        >>> found = tune(task, ht.Recipe([SGD(lr=0.01), OneCycle()], steps=96, batch_size=32), quiet=True, device="cpu")
        >>> 0.01 < found.chosen.rate < 1.0, found.cost <= 1.5
        (True, True)
    """
    _check(recipe, weight_decay)
    where, ledger = pick(device), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    steps = Plan.for_budget(recipe, Feed(workload.train, recipe.batch_size, 0).steps_per_epoch).total
    if steps < SHORTEST:
        raise BadValue(f"{recipe.budget} are {steps} steps, too few to try shares of them: give at least {SHORTEST}")
    ledger.check_writable()
    check_optuna()
    made = fingerprint(where)
    plan = {
        "workload": identity(workload, recipe, 0, source)["workload"],
        "recipe": recipe.to_dict(),
        "asked": {"weight_decay": weight_decay, "batch_size": batch_size},
        "device": str(where),
        "code": made["code"],
        "packages": made["packages"],
    }
    folder, log = _joined(ledger, plan)
    with log:
        work = Phases(workload, recipe, folder, ledger, log, {"device": device, "source": source}, quiet)
        log.record("machine", machine=made["machine"])
        base = work.sized(recipe) if batch_size else recipe
        base = work.decayed(base) if weight_decay else base
        chosen = work.settle(lambda: work.next_rates(base, rates.advance))
        found = _found(work, base, chosen)
        log.record("chosen", rate=chosen.rate, why=chosen.why, rates=chosen.rates, cost=found.cost,
                   recipe=found.recipe.to_dict(), recipe_hash=found.recipe.hash)  # fmt: skip
        log.end("finished")
    return found


def _found(work: Phases, base: Recipe, chosen: rates.Chosen) -> Tuned:
    """The outcome, with what it cost."""
    recipe = work.recipe if chosen.rate is None else changed(base, lr=chosen.rate)
    mine = [run for run in work.runs() if run.group.partition("/")[0] == work.folder.name]
    done = work.trials.done()
    order = sorted(done, key=lambda job: (job.phase != "batch_size", job.phase == "rate", job.share, job.rate))
    return Tuned(
        id=work.folder.name, folder=work.folder, base=work.recipe, recipe=recipe, chosen=chosen,
        results={job: done[job] for job in order}, device_seconds=sum(run.device_seconds for run in mine),
        device=mine[-1].device if mine else "",
    )  # fmt: skip


def _joined(ledger: Ledger, plan: dict[str, Any]) -> tuple[Path, Writer]:
    """The folder of the unfinished tune of this plan, or a new one, and this process's record in it."""
    plan = {**plan, "workload": {k: v for k, v in plan["workload"].items() if k != "target"}}
    with locked(ledger.root / ".tunes"):
        folder = next((path for path in reversed(ledger.tunes) if _unfinished(path, plan)), None)
        folder = folder or ledger.new("tune")
        log = Writer(ledger.attempt(folder))
        log.record("start", durable=True, tune=folder.name, **plan)
    return folder, log


def _unfinished(folder: Path, plan: dict[str, Any]) -> bool:
    records = [record for path in attempt_files(folder) for record in read(path)[0]]
    same = bool(records) and all(records[0].get(key) == value for key, value in plan.items())
    return same and not any(record["kind"] == "chosen" for record in records)


def _check(recipe: Recipe, weight_decay: bool) -> None:
    method = recipe.get("optimizer")
    if method is None:
        raise BadRecipe("there is no optimizer method in this recipe, so no rate to tune: add one, such as AdamW")
    for name in ("lr", *(["weight_decay"] * weight_decay)):
        if not isinstance(getattr(method, name, None), float):
            raise BadRecipe(f"{type(method).__name__} has no field {name}: there is nothing to tune")
