"""Train a workload by a recipe and keep the record in the ledger."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.places import Method
    from halftime.recipe import Recipe

DEFAULT = ("AdamW()", "OneCycle()")  # the advice to start from


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", nargs="?", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument(
        "--with",
        dest="methods",
        action="append",
        default=[],
        metavar="METHOD",
        help="add a method, written as in Python: 'AdamW(lr=0.003)'",
    )
    parser.add_argument("--recipe", metavar="FILE", help="a JSON file, a Python file, or a name in recipes/")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=float, metavar="N", help="passes over the training data")
    budget.add_argument("--steps", type=int, metavar="N", help="optimizer steps")
    budget.add_argument("--minutes", type=float, metavar="M", help="minutes of training, evaluation not counted")
    parser.add_argument("--batch-size", type=int, metavar="B", help="samples in a step")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="of weights, order and augmentation (0)")
    parser.add_argument("--target", type=float, metavar="T", help="the validation score that is good enough")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped or killed")
    parser.add_argument("--json", action="store_true", help="the record as one JSON document")


def run(given: argparse.Namespace) -> int:
    """Train, then print a summary or the record."""
    from halftime.data.ranks import here
    from halftime.ledger.store import Ledger
    from halftime.recipe import Recipe
    from halftime.report.tables import summary
    from halftime.train import train

    ledger, seed, device = Ledger(), given.seed or 0, given.device
    if given.resume:
        before = ledger.run(given.resume)
        given.resume, seed = before.id, before.seed if given.seed is None else seed
        given.workload, device = given.workload or before.workload["source"], device or before.device
        given.target = before.workload["target"] if given.target is None else given.target
    if not given.workload:
        raise BadValue("train needs a WORKLOAD: a built-in name (see `halftime workloads`) or a Python file")
    workload, known, source = read.workload(given.workload, given.target)
    again = given.resume and not _recipe_given(given)
    recipe = Recipe.from_dict(before.recipe.to_dict(), known) if again else _recipe(given, known)
    found = train(workload, recipe, seed, device=device, resume=given.resume, source=source, quiet=None)
    if here().first:
        read.print_json(found.to_dict()) if given.json else print(summary(found))
    return 0 if found.state == "finished" and (found.hit or workload.target is None) else 1


def _recipe_given(given: argparse.Namespace) -> bool:
    budget = (given.epochs, given.steps, given.minutes, given.batch_size)
    return bool(given.recipe or given.methods or any(value is not None for value in budget))


def _recipe(given: argparse.Namespace, known: tuple[type[Method], ...]) -> Recipe:
    """The recipe that was asked for; without one, the default in every slot that the given methods leave free."""
    from halftime.recipe import Recipe

    methods = Recipe([read.method(text, known) for text in given.methods], epochs=1).methods
    if given.recipe:
        recipe = read.recipe(given.recipe, known)
    else:
        taken = {m.slot for m in methods}
        recipe = Recipe([m for m in map(read.method, DEFAULT) if m.slot not in taken], epochs=10)
    budget = {name: getattr(given, name) for name in ("epochs", "steps", "minutes") if getattr(given, name) is not None}
    size = {"batch_size": given.batch_size} if given.batch_size is not None else {}
    return recipe.plus(*methods).replace(**budget, **size)
