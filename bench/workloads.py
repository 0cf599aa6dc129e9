"""How long each CPU workload takes to its target by its own recipe: `python -m bench.workloads --seeds 3`.

Measure alone on the machine: a neighbour's work changes the times, not the scores.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

import halftime as ht
from halftime.errors import unknown
from halftime.ledger.fingerprint import machine
from halftime.workloads import ALL, get

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
ON_CPU = ("digits", "fashion_mnist", "cifar10", "shakespeare")


def recipe_of(name: str) -> tuple[Path, ht.Recipe]:
    """The newest recipe for two cores."""
    path = sorted(RECIPES.glob(f"{name}_2cores_*.py"))[-1]
    return path, runpy.run_path(str(path))["recipe"]


def sample(values: list[float]) -> dict[str, Any]:
    """Size, median, both ends and every value of a sample."""
    found: dict[str, Any] = {"n": len(values), "values": [round(v, 4) for v in values]}
    if values:
        found |= {"median": round(statistics.median(values), 4), "spread": [min(values), max(values)]}
    return found | {"spread_is": "least and most"}


def measure(name: str, seeds: int) -> dict[str, Any]:
    """Train a workload by its recipe once a seed."""
    workload, (path, recipe) = get(name), recipe_of(name)
    with tempfile.TemporaryDirectory() as folder:
        runs = [ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=None) for seed in range(seeds)]
    hits = [run.hit for run in runs if run.hit]
    return {
        "workload": name,
        "target": workload.target,
        "better": workload.better,
        "margin": workload.tolerance,
        "recipe": {"file": path.name, "hash": recipe.hash, **recipe.to_dict()},
        "seeds": seeds,
        "missed": seeds - len(hits),
        "after_s": sample([after for after, _ in hits]),
        "not_after_s": sample([by for _, by in hits]),
        "training_s": sample([run.seconds for run in runs]),
        "score": sample([run.score for run in runs if run.score is not None]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The measurements for a terminal: median, and the least and the most in brackets."""

    def cell(found: dict[str, Any], digits: int) -> str:
        if not found["n"]:
            return "-"
        median, least, most = (f"{v:.{digits}f}" for v in (found["median"], *found["spread"]))
        return f"{median} ({least} to {most})"

    lines = [f"{'workload':15}{'target':>8}{'missed':>8}  {'target met by, s':27}{'training, s':27}{'last score':27}"]
    for row in rows:
        met, whole, score = cell(row["not_after_s"], 1), cell(row["training_s"], 1), cell(row["score"], 4)
        missed = f"{row['missed']}/{row['seeds']}"
        lines.append(f"{row['workload']:15}{row['target']:>8g}{missed:>8}  {met:27}{whole:27}{score:27}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="workload", help=f"{', '.join(ON_CPU)}; all if none is named")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each (default 3)")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's threads; its own choice if not given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the measurements to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    for name in given.names:
        if name not in ON_CPU:
            parser.error(str(unknown("CPU workload", name, [n for n in ALL if n in ON_CPU])))
    rows = [measure(name, given.seeds) for name in given.names or ON_CPU]
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps({"machine": machine("cpu"), "workloads": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
