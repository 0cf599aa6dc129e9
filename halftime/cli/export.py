"""Write a plain PyTorch script that trains as the recipe does, and imports nothing of halftime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.recipe import Recipe
    from halftime.run import Run
    from halftime.workload import Workload


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", nargs="?", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument("--recipe", metavar="FILE", help="a JSON file, a Python file, or a name in recipes/")
    parser.add_argument("--run", metavar="RUN", help="a recorded run: its workload, recipe, seed and steps")
    parser.add_argument("--seed", type=int, metavar="S", help="of weights, order and augmentation (0)")
    parser.add_argument("--device", metavar="D", help="on which it trains; the fastest there is, where the script runs")
    parser.add_argument("--out", required=True, metavar="FILE.py", help="where to write the script")
    parser.add_argument("--force", action="store_true", help="write it even where a file lies already")


def run(given: argparse.Namespace) -> int:
    """Try the recipe, translate it, and write the script whole or not at all."""
    path = Path(given.out)
    _check(given, path)
    from halftime.export.script import script
    from halftime.ledger.checkpoint import replace
    from halftime.ledger.store import Ledger
    from halftime.measure.plan import Plan

    before = Ledger().run(given.run) if given.run else None
    target = before.workload["target"] if before else None
    workload, known, source = read.workload(given.workload or _source(before), target)
    if before is not None:
        _same(before, workload, source)
    recipe, seed = _recipe(given, known, before), given.seed
    if seed is None:
        seed = before.seed if before else 0
    runs = (before,) if before and _ended_as(before, seed) else _runs(workload, recipe, seed)
    plan = Plan.of(before.plan) if before and before.plan else None
    device = given.device or (before.device if before else None)
    text = script(workload, recipe, seed, source=source, device=device, plan=plan, runs=runs, name=path.stem)
    replace(path, text.encode())
    print(f"wrote {path}: {len(text.splitlines())} lines; run it with: python {path}")
    return 0


def _check(given: argparse.Namespace, path: Path) -> None:
    """Refuse what cannot be before any work is done."""
    if not given.run and not (given.workload and given.recipe):
        raise BadValue("export needs a WORKLOAD and its --recipe, or the --run that is to be repeated")
    if given.run and given.recipe:
        raise BadValue("--run brings its own recipe: leave --recipe out")
    if path.suffix != ".py":
        raise BadValue(f"--out {path}: the script is Python: give a name that ends in .py")
    read.check_out(given.out)
    if path.exists() and not given.force:
        raise BadValue(f"--out {path}: there is a file already: give another name, or --force to write over it")


def _source(before: Run | None) -> str:
    """Where a run found its workload."""
    if before is None or not before.workload["source"]:
        raise BadValue("the run was started from Python and does not know its workload's file: name WORKLOAD as well")
    return str(before.workload["source"])


def _same(before: Run, workload: Workload, source: str) -> None:
    """Refuse to call a script the repetition of a run on other data, or of another file."""
    from halftime.ledger.resume import identity

    then, now = before.workload, identity(workload, before.recipe, before.seed, source)["workload"]
    if then["data"] != now["data"]:
        raise BadValue(f"the data of {workload.name} are no longer those of run {before.id}: export the recipe instead")
    if then.get("code") and now["code"] and then["code"] != now["code"]:
        raise BadValue(f"{source} has changed since run {before.id}: export the recipe instead")


def _ended_as(before: Run, seed: int) -> bool:
    """Whether a run says what a training with this seed ends as."""
    return before.state == "finished" and before.seed == seed


def _recipe(given: argparse.Namespace, known: tuple[type, ...], before: Run | None) -> Recipe:
    from halftime.recipe import Recipe

    return Recipe.from_dict(before.recipe.to_dict(), known) if before else read.recipe(given.recipe, known)


def _runs(workload: Workload, recipe: Recipe, seed: int) -> tuple[Run, ...]:
    """What the ledger has of this workload as it is now, this recipe and this seed."""
    from halftime.data.feed import digest
    from halftime.ledger.store import Ledger, load_all

    found = [r for r in load_all(Ledger()) if r.workload["name"] == workload.name and r.recipe.hash == recipe.hash]
    data = digest(workload.train) + digest(workload.valid) if found else ""
    found = [r for r in found if (r.workload["data"], r.workload["target"]) == (data, workload.target)]
    return tuple(r for r in found if r.state == "finished" and r.seed == seed)
