"""How long each CPU workload takes to its target by its own recipe: `python -m bench.workloads --seeds 3`.

Measure alone on the machine: a neighbour's work changes the times, not the scores.
"""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import halftime as ht
from bench import tables
from halftime.errors import unknown
from halftime.workloads import get

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
ON_CPU = ("digits", "fashion_mnist", "cifar10", "shakespeare", "blood_cells")
PREDICTED = {"digits": "1 to 5", "fashion_mnist": "20 to 60", "cifar10": "20 to 60", "shakespeare": "20 to 60"} | {
    "blood_cells": "8 to 30"
}


def recipe_of(name: str) -> tuple[Path, ht.Recipe]:
    """The newest recipe for two cores."""
    path = sorted(RECIPES.glob(f"{name}_2cores_*.py"))[-1]
    return path, runpy.run_path(str(path))["recipe"]


def measure(name: str, seeds: int) -> tuple[tables.Figure, dict[str, Any]]:
    """Train a workload by its recipe once a seed: the figure, and a row of the table."""
    workload, (path, recipe) = get(name), recipe_of(name)
    with tempfile.TemporaryDirectory() as folder:
        # the first optimizer of a process imports for a second; a short run pays for it
        ht.train(workload, recipe.replace(steps=2), 0, device="cpu", ledger=folder, quiet=True)
        runs = [ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=None) for seed in range(seeds)]
    hits = [run.hit for run in runs if run.hit]
    missed = f", missed by {seeds - len(hits)} of {seeds} seeds" if len(hits) < seeds else ""
    question = f"seconds of training until {name} reaches {workload.target:g}{missed}"
    figure = tables.sample(name, question, PREDICTED[name], "s", [by for _, by in hits] or [float("nan")])
    row = {
        "workload": name,
        "target": workload.target,
        "recipe": path.stem,
        "seeds": seeds,
        "missed": seeds - len(hits),
        "met after s": median([after for after, _ in hits] or [0.0]),
        "met by s": median([by for _, by in hits] or [0.0]),
        "training s": median([run.seconds for run in runs]),
        "evaluation s": median([run.spans["evaluation"] for run in runs]),
        "least score": min(run.score or 0.0 for run in runs),
        "most score": max(run.score or 0.0 for run in runs),
    }
    return figure, row


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("names", nargs="*", metavar="workload", help=f"{', '.join(ON_CPU)}; all if none is named")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each (default 3)")
    given = parser.parse_args()
    for name in given.names:
        if name not in ON_CPU:
            parser.error(str(unknown("CPU workload", name, ON_CPU)))
    measured = [measure(name, given.seeds) for name in given.names or ON_CPU]
    title = "medians over seeds; a target is met between two evaluations"
    tables.publish(given, [figure for figure, _ in measured], {title: [row for _, row in measured]})


if __name__ == "__main__":
    main()
