"""Prove: train two recipes on the same seeds, interleaved, and say what may be said."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from halftime.errors import BadValue, BadWorkload, InputError, StorageError, shorten
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.lines import Writer, read
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger, load_all
from halftime.measure.device import pick
from halftime.measure.proof import Proof
from halftime.measure.sequential import Design
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files
from halftime.train import train
from halftime.workload import Workload


def prove(
    workload: Workload,
    base: Recipe,
    fast: Recipe,
    seeds: int = 5,
    *,
    sequential: Design | None = None,
    first: int = 0,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    quiet: bool | None = None,
    source: str = "",
) -> Proof:
    """Show whether `fast` reaches the workload's target sooner than `base`, at the same quality.

    Both arms train on the same seeds, from `first` on, in random order within each seed, after a short warm-up of
    each. A proof that was interrupted goes on where it was when the same call is made again on the same code, data and
    machine.

    Args:
        workload: must have a target.
        base: the recipe to beat.
        fast: the recipe that is thought to be faster.
        seeds: 5 or more can prove, 3 or 4 give a provisional verdict, fewer a hint.
        sequential: train pair after pair until it is settled, in place of a fixed number of `seeds`; see
            `halftime.measure.sequential.design`.
        first: the first seed; what was chosen by some seeds must be proved on others.
        device: as in `train`.
        ledger: as in `train`.
        quiet: as in `train`.
        source: as in `train`.

    Raises:
        BadWorkload: no target. BadValue: no seeds.
    """
    if workload.target is None:
        raise BadWorkload(f"{workload.name} has no target, so nothing can reach it sooner: give it one")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise BadValue(f"seeds must be a whole number of at least 1, not {shorten(seeds)}")
    where, ledger = pick(device), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    ledger.check_writable()
    plan = {
        "workload": identity(workload, base, 0, source)["workload"],
        "base": base.to_dict(),
        "fast": fast.to_dict(),
        "seeds": list(range(first, first + (sequential.most if sequential else seeds))),
        "device": str(where),
        "fingerprint": fingerprint(where),
        **({"sequential": sequential.to_dict()} if sequential else {}),
    }
    folder = _unfinished(ledger, plan) or ledger.new("proof")
    with Writer(ledger.attempt(folder)) as log:
        log.record("start", durable=True, proof=folder.name, **plan)
        warm_up(workload, (base, fast), device)
        for seed in plan["seeds"]:
            arms = [("base", base), ("fast", fast)]
            random.Random(f"{folder.name} {seed}").shuffle(arms)
            for name, recipe in arms:
                train_once(
                    workload, recipe, seed, f"{folder.name}/{name}", ledger, device=device, quiet=quiet, source=source
                )
            if sequential and Proof.load(folder, ledger).complete:
                break
        found = Proof.load(folder, ledger)
        log.record(
            "judged", verdict=found.verdict, words=found.words, runs=_digests((*found.base.runs, *found.fast.runs))
        )
        log.end("finished")
    return found


def train_once(workload: Workload, recipe: Recipe, seed: int, group: str, ledger: Ledger, **how: Any) -> None:
    """Train one arm on one seed, unless that is done; go on with a run that was stopped or killed.

    A training that breaks, such as of a full memory, is a run that failed: a result, which stands in the ledger.
    """

    def runs(*states: str) -> list[Run]:
        return [run for run in load_all(ledger) if run.group == group and run.seed == seed and run.state in states]

    if runs("finished", "failed"):
        return
    stopped = next((run.id for run in runs("preempted", "killed", "lost")), None)
    try:
        train(workload, recipe, seed, ledger=ledger, group=group, resume=stopped, **how)
    except (InputError, StorageError):
        raise
    except Exception:
        if not runs("failed"):
            raise


def warm_up(workload: Workload, recipes: Iterable[Recipe], device: str | None) -> None:
    """A few steps of each arm, so that the first timed run does not pay for the process's start."""
    short = dataclasses.replace(workload, evaluations=1)
    with tempfile.TemporaryDirectory() as folder:
        for recipe in recipes:
            train(short, recipe.replace(steps=3), ledger=folder, device=device, quiet=True)


def _unfinished(ledger: Ledger, plan: dict[str, Any]) -> Path | None:
    """A proof of the same plan that has not ended."""
    for folder in reversed(ledger.proofs):
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        keys = {*plan, "sequential"}
        same = records and all(records[0].get(key) == plan.get(key) for key in keys)
        if same and not any(record["kind"] == "judged" for record in records):
            return folder
    return None


def _digests(runs: tuple[Run, ...]) -> dict[str, str]:
    """What each run's records digest to, so that a later edit shows."""
    return {run.id: read(attempt_files(run.folder)[-1])[0][-1].get("digest", "") for run in runs}
