"""From which budget on dropout pays: `python -m bench.crossover --seeds 5`.

A few samples of fashion_mnist, a network with dropout, and for each budget the final score with it and with
`DropStochastic`, on the same seeds, in random order, each side with the better of its learning rates. The first
comparison is of a side with itself. Scores do not depend on what else the machine does.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from statistics import median
from typing import Any

import torch
from torch import nn

import halftime as ht
from bench import tables
from halftime.data.feed import fetch
from halftime.methods import AdamW, DropStochastic, OneCycle
from halftime.workloads import get

RATES = (0.001, 0.003, 0.01)
SIDES = {"dropout": (), "again": (), "none": (DropStochastic(),)}
PREDICTED = {"again": "0 within the spread", "none": "above 0 up to some 8 epochs, below 0 from some 64 on"}


def network() -> nn.Module:
    """Two convolutions and a wide layer, half of which is dropped."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(64 * 49, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)),
    )


def scores(task: ht.Workload, epochs: int, rate: float, seeds: int) -> dict[str, list[float]]:
    """The final score of each side on each seed."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for seed in range(seeds):
        for side in random.Random(f"{epochs} {rate} {seed}").sample(sorted(SIDES), len(SIDES)):
            recipe = ht.Recipe([AdamW(lr=rate), OneCycle(), *SIDES[side]], epochs=epochs, batch_size=64)
            with tempfile.TemporaryDirectory() as folder:
                shifted = seed + 1000 * (side == "again")  # else a side and itself would be equal, bit for bit
                run = ht.train(task, recipe, shifted, device="cpu", ledger=folder, quiet=True)
            found[side].append(run.score if run.score is not None else 0.0)
    return found


def measure(task: ht.Workload, epochs: int, seeds: int) -> tuple[list[tables.Figure], dict[str, Any]]:
    """The gain of each side over dropout at one budget, and a row of the table."""
    by_rate = {rate: scores(task, epochs, rate, seeds) for rate in RATES}
    best = {side: max((by_rate[rate][side] for rate in RATES), key=median) for side in SIDES}
    figures = []
    for side in ("again", "none"):
        gains = [100 * (b - a) for a, b in zip(best["dropout"], best[side], strict=True)]
        what = "dropout, other seeds," if side == "again" else "no dropout"
        question = f"points of accuracy that {what} gains over dropout at {epochs} epochs"
        figures.append(tables.sample(f"{side} at {epochs}", question, PREDICTED[side], "points", gains))
    return figures, {"epochs": epochs, "seeds": seeds, **{side: median(best[side]) for side in SIDES}}


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each side (default 5)")
    parser.add_argument("--samples", type=int, default=1024, metavar="N", help="training samples (default 1024)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64], metavar="N", help="budgets")
    told = parser.parse_args()
    whole = get("fashion_mnist")
    few = fetch(whole.train, torch.arange(told.samples), (0, 0, 0))
    task = dataclasses.replace(whole, model=network, train=few, target=None, margin=None, evaluations=1)
    figures: list[tables.Figure] = []
    rows: list[dict[str, Any]] = []
    for epochs in told.epochs:
        some, row = measure(task, epochs, told.seeds)
        figures += some
        rows.append(row)
    tables.publish(told, figures, {"final accuracy, the median at the best of three rates": rows})


if __name__ == "__main__":
    main()
