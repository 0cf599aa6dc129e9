"""Train some steps of a workload and say what they waited for, and what other loaders would bring."""

from __future__ import annotations

import argparse
import tempfile
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, Stopped

if TYPE_CHECKING:
    from halftime.recipe import Recipe
    from halftime.workload import Workload

PROBED = 20  # batches that are made apart, to tell the processor from the disk


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument("--recipe", metavar="FILE", help="a JSON file, a Python file, or a name in recipes/")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="steps to train (200)")
    parser.add_argument(
        "--loader-workers", type=int, nargs="+", default=(), metavar="W", help="worker counts to predict"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="the diagnosis as one JSON document")


def run(given: argparse.Namespace) -> int:
    """Train under watch; nothing is left in the ledger."""
    import dataclasses

    from halftime.diagnose.starved import ENOUGH, of_run
    from halftime.recipe import Recipe
    from halftime.train import train

    if given.steps < ENOUGH:
        raise BadValue(f"--steps {given.steps}: a diagnosis needs at least {ENOUGH}")
    if any(w < 1 or w > 256 for w in given.loader_workers):
        raise BadValue("--loader-workers: give counts from 1 to 256")
    workload, known, source = read.workload(given.workload)
    recipe = read.recipe(given.recipe, known) if given.recipe else Recipe([read.method("AdamW()")], epochs=1)
    budget = {"epochs": None, "minutes": None, "steps": given.steps}
    recipe, workload = recipe.replace(**budget), dataclasses.replace(workload, evaluations=1)
    share, slowest = _probe(workload, recipe)
    with tempfile.TemporaryDirectory(prefix="halftime-") as folder:
        try:
            record = train(workload, recipe, device=given.device, ledger=folder, quiet=True, source=source)
        except Stopped:  # there will be nothing to go on with
            raise KeyboardInterrupt from None
        found = of_run(record, given.loader_workers, share)
    if found is None:
        raise BadValue(f"the training ended before a step was over: {record.reason}")
    ill = f"the training failed: {record.reason}; what is said here is of the steps before" * (record.state == "failed")
    found = dataclasses.replace(found, notes=(*found.notes, *(note for note in (ill, slowest) if note)))
    read.print_json(found.to_dict()) if given.json else print(found)
    return 0


def _probe(workload: Workload, recipe: Recipe) -> tuple[float, str]:
    """(share of making a batch that is on a core, a line on the slowest sample) from some batches made apart."""
    import itertools

    from halftime.data.feed import Feed
    from halftime.data.kinds import by_batch
    from halftime.data.probe import Probe

    probe = Probe(workload.train)
    feed: Any = Feed(workload.train if by_batch(workload.train) else probe, recipe.batch_size, 0)
    with probe.timed():
        for _ in itertools.islice(feed.batches(), PROBED):
            pass
    return probe.on_core, probe.slowest
