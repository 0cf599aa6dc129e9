"""Pilot: a few seeds of one recipe, to know the noise before a proof is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from halftime.errors import BadData, BadValue, shorten
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.lines import Record, Writer, read
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger, load_all
from halftime.measure.device import pick
from halftime.measure.noise import Noise, noise
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files
from halftime.search.prove import train_once, warm_up
from halftime.workload import Workload

FIRST = 1000  # its seeds are not those of a proof: what is judged must be fresh
FEWEST, MOST = 3, 100


def pilot(
    workload: Workload,
    recipe: Recipe,
    seeds: int = 5,
    *,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    quiet: bool | None = None,
    source: str = "",
) -> tuple[str, Noise]:
    """Measure the noise of a recipe between seeds.

    A pilot that was interrupted goes on where it was when the same call is made again; one that has ended is not
    trained anew, and more seeds are added to it.

    Args:
        workload: with a target, the time to it is measured, without one, the final score.
        recipe: what is trained.
        seeds: how many; 3 to 100.
        device: as in `train`.
        ledger: as in `train`; the runs belong to the group "ID/pilot".
        quiet: as in `train`.
        source: as in `train`.

    Returns:
        The id of the pilot, and its noise.

    Raises:
        BadValue: too few or too many seeds. BadData: fewer than two runs have finished.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not FEWEST <= seeds <= MOST:
        raise BadValue(f"seeds must be a whole number from {FEWEST} to {MOST}, not {shorten(seeds)}")
    where, ledger = pick(device), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    ledger.check_writable()
    plan = {
        "workload": identity(workload, recipe, 0, source)["workload"],
        "recipe": recipe.to_dict(),
        "device": str(where),
        "fingerprint": fingerprint(where),
    }
    wanted = list(range(FIRST, FIRST + seeds))
    folder = _same(ledger, plan) or ledger.new("noise")
    group = f"{folder.name}/pilot"
    if not set(wanted) <= {run.seed for run in _ended(ledger, group)}:
        with Writer(ledger.attempt(folder)) as log:
            log.record("start", durable=True, noise=folder.name, seeds=wanted, **plan)
            warm_up(workload, (recipe,), device)
            for seed in wanted:
                train_once(workload, recipe, seed, group, ledger, device=device, quiet=quiet, source=source)
            log.record("measured", runs=[run.id for run in _ended(ledger, group)])
            log.end("finished")
    return folder.name, noise(_ended(ledger, group))


def known_noise(workload: Workload, recipe: Recipe, ledger: Ledger, device: str | None = None) -> Noise:
    """The noise that the newest pilot of this workload and recipe found on this machine.

    Args:
        workload: as it was measured: data and target the same.
        recipe: of the base.
        ledger: where to look.
        device: as in `train`.

    Raises:
        BadData: there is no pilot that met the target twice.
    """
    where = pick(device)
    here = fingerprint(where)["machine"]
    facts = identity(workload, recipe, 0, "")["workload"]
    for folder in reversed(ledger.noises):
        start = _start(folder)
        same = start and start["recipe"] == recipe.to_dict() and start["device"] == str(where)
        if not same or start["fingerprint"]["machine"] != here or not _alike(start["workload"], facts):
            continue
        runs = _ended(ledger, f"{folder.name}/pilot")
        if sum(run.hit is not None for run in runs) >= 2:
            return noise(runs)
    raise BadData(
        f"how much runs of {workload.name} by the base vary is not known here: run `halftime noise` on it first, "
        "or give --noise"
    )


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("name", "data", "target", "better"))


def _start(folder: Path) -> Record:
    records = [record for path in attempt_files(folder) for record in read(path)[0]]
    return records[0] if records and records[0]["kind"] == "start" else {}


def _same(ledger: Ledger, plan: dict[str, Any]) -> Path | None:
    """A pilot of the same workload, recipe, code and machine."""
    for folder in reversed(ledger.noises):
        start = _start(folder)
        if all(start.get(key) == value for key, value in plan.items()):
            return folder
    return None


def _ended(ledger: Ledger, group: str) -> list[Run]:
    runs = [run for run in load_all(ledger) if run.group == group and run.state in ("finished", "failed")]
    return sorted(runs, key=lambda run: run.seed)
