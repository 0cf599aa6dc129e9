"""Choose the learning rate of a recipe for a workload, from short full trainings."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.search.tune import Tuned

DEFAULT = ("AdamW()", "OneCycle()")  # as `halftime train` takes


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument("--recipe", metavar="R", help="what is tuned: JSON or Python file, or a name; else the default")
    parser.add_argument("--weight-decay", action="store_true", help="choose the weight decay, too, before the rate")
    parser.add_argument("--batch-size", action="store_true", help="choose the batch size, too, at equal training time")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="share the trainings between N (1)")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    parser.add_argument("--out", metavar="FILE.json", help="write the tuned recipe here")


def run(given: argparse.Namespace) -> int:
    """Tune, then print what was tried, what was chosen and what it cost; exit code 1 where there was no signal."""
    from halftime.ledger.checkpoint import replace
    from halftime.recipe import Recipe
    from halftime.search.tune import tune

    read.check_out(given.out)
    if given.processes < 1:
        raise BadValue(f"--processes must be at least 1, not {given.processes}")
    workload, known, source = read.workload(given.workload)
    default = Recipe([read.method(text) for text in DEFAULT], epochs=10)
    recipe = read.recipe(given.recipe, known) if given.recipe else default
    asked = {"weight_decay": given.weight_decay, "batch_size": given.batch_size}
    with _helpers(given):
        found = tune(workload, recipe, **asked, device=given.device, source=source, quiet=True if given.json else None)
    if given.out and found.signal:
        from pathlib import Path

        replace(Path(given.out), found.recipe.to_json().encode())
    read.print_json(found.to_dict()) if given.json else _show(found, given.out)
    return 0 if found.signal else 1


def _show(found: Tuned, out: str | None) -> None:
    from halftime.report.tables import table

    rows = [
        ["shuffled" if job.control else job.phase.replace("_", " "), job.rate, job.weight_decay, job.batch_size,
         job.share, result.loss]
        for job, result in found.results.items()
    ]  # fmt: skip
    print(table(["tried for", "rate", "decay", "batch", "share", "loss"], rows))
    print(f"{found.words}\n  tune {found.id}" + (f", recipe: {out}" if out and found.signal else ""))


@contextlib.contextmanager
def _helpers(given: argparse.Namespace) -> Iterator[None]:
    """Further processes that make the same call, and so share the work; they end with it."""
    command = [sys.executable, "-m", "halftime", "tune", given.workload, "--json"]
    command += ["--weight-decay"] * given.weight_decay + ["--batch-size"] * given.batch_size
    for name in ("recipe", "device"):
        command += [f"--{name}", getattr(given, name)] if getattr(given, name) else []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    helpers = [subprocess.Popen(command, **quiet) for _ in range(given.processes - 1)]  # type: ignore[call-overload]
    try:
        yield
    finally:  # at once: all is trained, and one that begins only now would find nothing to join and tune anew
        for helper in helpers:
            helper.terminate()
        for helper in helpers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                helper.wait(timeout=30)
            helper.kill()
