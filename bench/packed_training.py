"""Does a training on cifar10 reach its target sooner when its data come from `Packed` and not from per-sample code?

Claim: with the CPU network of the workload `cifar10`, `Packed` reaches the target sooner than per-sample code with
the same augmentation (pad by reflection, crop, flip, normalise), at the same quality.

How: two workloads that differ in their training data alone. "plain": a map-style data set that augments each image as
it is read, collated by torch's `default_collate`, in the process of the training. "packed": the same images packed
once (that pass is not timed here; the table says what it took), served by `Packed` and augmented in whole batches.
Same network, recipe, validation and seeds; the arms take turns within each seed in random order. Time to target is
training time, as in a proof; what counts is the ratio of the two within a seed, over seeds, with quartiles. Two
passes of one arm ("again") say how much of a difference is noise.

    python -m bench.packed_training --json bench/results/packed_training.json
"""

from __future__ import annotations

import dataclasses
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import halftime as ht
from bench import tables
from bench.workloads import recipe_of
from halftime.data.images import Images
from halftime.data.storage import to_pack
from halftime.methods import Packed
from halftime.workloads import get
from halftime.workloads.cifar10 import MEAN, STD


class PerSample:
    """Images augmented one at a time, as in most trainings: in NumPy, the fastest of the usual ways."""

    def __init__(self, images: Images, shift: int) -> None:
        self.pixels, self.labels, self.shift = images.columns[0].numpy(), images.columns[1], shift
        self.mean = np.array(MEAN, np.float32).reshape(3, 1, 1)
        self.std = np.array(STD, np.float32).reshape(3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        by = self.shift
        padded = np.pad(self.pixels[index], ((0, 0), (by, by), (by, by)), mode="reflect")
        top, left = np.random.randint(2 * by + 1), np.random.randint(2 * by + 1)
        image = padded[:, top : top + 32, left : left + 32]
        image = image[:, :, ::-1] if np.random.rand() < 0.5 else image
        return torch.from_numpy((image.astype(np.float32) / 255 - self.mean) / self.std), self.labels[index]


def arms(target: float, epochs: float) -> dict[str, tuple[ht.Workload, ht.Recipe]]:
    """Workload and recipe of each arm."""
    workload, (_, recipe) = dataclasses.replace(get("cifar10", target), evaluations=12), recipe_of("cifar10")
    images: Any = workload.train
    recipe = recipe.replace(epochs=epochs)
    plain = dataclasses.replace(workload, train=PerSample(images, images.shift))
    fast = recipe.plus(Packed())
    return {"plain": (plain, recipe), "packed": (workload, fast), "packed again": (workload, fast)}


def measure(target: float, epochs: float, seeds: int) -> dict[str, list[ht.Run]]:
    """Runs by arm, seed by seed."""
    chosen = arms(target, epochs)
    runs: dict[str, list[ht.Run]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for workload, recipe in chosen.values():  # the first optimizer of a process imports for a second
            short = dataclasses.replace(workload, evaluations=1)
            ht.train(short, recipe.replace(steps=3), device="cpu", ledger=folder, quiet=True)
        for seed in range(seeds):
            order = list(chosen)
            random.Random(seed).shuffle(order)
            for name in order:
                workload, recipe = chosen[name]
                runs[name].append(ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=None))
    return runs


def times(runs: list[ht.Run]) -> list[float]:
    """Seconds to target; of a run that missed it, all it took: at least so long."""
    return [run.hit[1] if run.hit else run.seconds for run in runs]


def packing_seconds() -> float:
    """How long packing the training data takes, once."""
    images = get("cifar10").train
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        to_pack(images, Path(folder))
        return time.perf_counter() - began


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.70, help="accuracy; lower than the workload's, to be quick")
    parser.add_argument("--epochs", type=float, default=4.0)
    given = parser.parse_args(arguments)
    packing = packing_seconds()
    runs = measure(given.target, given.epochs, given.seeds)
    plain, fast, again = (times(runs[name]) for name in ("plain", "packed", "packed again"))
    name = f"time to {given.target:g} on cifar10"
    figures = [
        tables.sample("packed training", f"{name}: plain over packed, by seed?", "1.2 to 2", "times",
                      [p / f for p, f in zip(plain, fast, strict=True)]),
        tables.sample("packed training: noise", f"{name}: packed over packed again, by seed?", "1, within 5 %", "times",
                      [a / f for a, f in zip(again, fast, strict=True)]),
    ]  # fmt: skip
    rows = [
        {
            "arm": arm,
            "seed": run.seed,
            "to target s": run.hit[1] if run.hit else None,
            "training s": run.seconds,
            "data s": run.spans.get("data"),
            "score": run.score,
        }
        for arm, some in runs.items()
        for run in some
    ]
    tables.publish(given, figures, {"Runs": rows, "Packing, once": [{"seconds": packing}]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
