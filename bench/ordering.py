"""Does order survive every stop, how soon does training go on, and does memory stay where it is? (Figure 5)

Claims: restored at every step of an epoch, with 0, 1, 2 or 4 workers, from a world of 1, 2 or 4 to any of them, no
sample is skipped or repeated and the receipts are the same; going on at 1.28 million samples takes at most a second,
and so does the first batch; with 8 workers on a million entries memory grows by at most 2 % over three epochs.

How: (1) a small data set, an epoch of 16 steps. Every world serves it whole, rank by rank; then every world is restored
at every step and serves the rest of the epoch. For each pair of worlds the ids before the stop and after it are counted
and each receipt is compared with the one of serving in turn in one world. (2) The time until the first ticket of a
random step of epoch 90 is there. (3) The time from opening the feed until its first batch. (4) A data set that is a
Python list of a million pairs of a file name and a class. Proportional set size (PSS) of this process and its workers,
together, is read after the first batches and at the end of each epoch. The plain `DataLoader` with workers that stay
alive is measured beside, on the same data set: it is what happens without arrays in place of long lists.

    python -m bench.ordering --json bench/results/ordering.json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import itertools
import multiprocessing as mp
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from bench import tables
from halftime.data.feed import Feed, Tensors
from halftime.data.order import Permuted, Repeated, shuffled
from halftime.data.ranks import sliced
from halftime.data.workers import Ahead

WORKERS, WORLDS = (0, 1, 2, 4), (1, 2, 4)
BATCH = 16
Steps = list[tuple[list[int], str]]  # ids and receipt after each step


class Rows:
    """Samples that know their number and draw one of their own."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, random.random()


class Files:
    """What a data set on disk knows: a name and a class for each sample."""

    def __init__(self, many: int) -> None:
        self.files = [(f"train/class-{i % 1000:04d}/image-{i:08d}.jpg", i % 1000) for i in range(many)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[int, int]:
        name, kind = self.files[index]
        return len(name), kind


def served(feed: Feed, workers: int, world: int, step: int, receipt: str, many: int) -> Steps:
    """So many steps of all ranks of a world, from one on."""
    whole: list[list[int]] = [[] for _ in range(many)]
    receipts: set[tuple[str, ...]] = set()
    for rank in range(world):
        mine = dataclasses.replace(feed, serve=sliced(Ahead(workers, 2), rank, world))
        seen = []
        with contextlib.closing(mine.batches(step, receipt)) as batches:
            for ids, batch in zip(whole, batches, strict=False):
                ids += batch[0].tolist()
                seen.append(mine.served.receipt)
        receipts.add(tuple(seen))
    return list(zip(whole, receipts.pop() if len(receipts) == 1 else [""] * many, strict=True))


def restored(steps: int) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Every step x workers x world to world."""
    feed = Feed(Rows(steps * BATCH), BATCH, 5)
    wanted = served(feed, 0, 1, 0, "", steps)
    rows = []
    for workers in WORKERS:
        before = {world: served(feed, workers, world, 0, "", steps) for world in WORLDS}
        row = {"workers": workers, "stops": 0, "skipped": 0, "repeated": 0}
        row |= {"stops with a sample lost": 0, "other receipts": 0}
        for stop, after in itertools.product(range(steps), WORLDS):
            rest = served(feed, workers, after, stop, wanted[stop - 1][1] if stop else "", steps - stop)
            for world in WORLDS:
                counts = Counter(i for ids, _ in before[world][:stop] + rest for i in ids)
                row["stops"] += 1
                row["skipped"] += steps * BATCH - len(counts)
                row["repeated"] += sum(n - 1 for n in counts.values())
                row["stops with a sample lost"] += set(counts.values()) != {1} or len(counts) != steps * BATCH
                row["other receipts"] += [r for _, r in before[world][:stop] + rest] != [r for _, r in wanted]
        rows.append(row)
    asked, n = "Restored at every step, with other workers and worlds:", sum(row["stops"] for row in rows)
    lost, other = (sum(row[name] for row in rows) for name in ("stops with a sample lost", "other receipts"))
    figures = [
        tables.count("order: samples", f"{asked} how often is a sample skipped or repeated?", "0", "wrong", lost, n),
        tables.count("order: receipts", f"{asked} how often is a receipt another?", "0", "differ", other, n),
    ]
    return figures, rows


def resumed(samples: int, repeats: int, dice: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Seconds until the first ticket of a random step of epoch 90."""
    orders = {
        "shuffled (default)": shuffled,
        "Permuted": Permuted(),
        "Repeated": Repeated(Permuted(), torch.ones(samples)),
        "a function of unknown length": lambda seed, epoch, n: shuffled(seed, epoch, n),
    }
    per_epoch = samples // 512
    spent: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(repeats):
        for name in dice.sample(list(orders), len(orders)):
            feed = Feed(Tensors(torch.empty(1).expand(samples)), 512, dice.randrange(1000), order=orders[name])
            began = time.perf_counter()
            next(feed.tickets(90 * per_epoch + dice.randrange(per_epoch)))
            spent[name].append(time.perf_counter() - began)
    rows = [{"order": name, **spread(values)} for name, values in spent.items()]
    asked = f"How long until training can go on in epoch 90 of {samples} samples, in the default order?"
    return [tables.sample("order: resume", asked, "at most 1", "s", spent["shuffled (default)"])], rows


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = tables.quartiles(values)
    return {"seconds": median, "lower quartile": low, "upper quartile": high, "most": max(values)}


def first_batch(dataset: Files, workers: int, repeats: int) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Seconds from opening the feed to its first batch."""
    rows, figures = [], []
    for helpers in (0, 1, workers):
        spent = []
        for seed in range(repeats):
            began = time.perf_counter()
            with contextlib.closing(Feed(dataset, 256, seed, serve=Ahead(helpers)).batches()) as batches:
                next(batches)
                spent.append(time.perf_counter() - began)
        rows.append({"workers": helpers, **spread(spent)})
        asked = f"How long until the first batch, with {helpers} workers on {len(dataset)} entries?"
        if helpers == workers:
            figures.append(tables.sample("order: first batch", asked, "at most 1", "s", spent))
    return figures, rows


def pss() -> float:
    """MiB of this process and its children, shared pages divided among those who share them."""
    found = 0
    for pid in [os.getpid(), *(child.pid for child in mp.active_children())]:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def halftimes(dataset: Files, workers: int, epochs: int) -> Iterator[tuple[int, Any]]:
    """(batches in an epoch, a batch) of halftime's loader."""
    feed = Feed(dataset, 256, 0, serve=Ahead(workers))
    with contextlib.closing(feed.batches()) as batches:
        for _ in range(epochs * feed.steps_per_epoch):
            yield feed.steps_per_epoch, next(batches)


def torchs(dataset: Files, workers: int, epochs: int) -> Iterator[tuple[int, Any]]:
    """The same of a plain DataLoader whose workers stay alive."""
    loader: DataLoader[Any] = DataLoader(
        dataset, 256, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True  # type: ignore[arg-type]
    )  # fmt: skip
    for _ in range(epochs):
        for batch in loader:
            yield len(loader), batch


def growth(
    dataset: Files, workers: int, epochs: int, dice: random.Random
) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """PSS after the first batches and at the end of each epoch."""
    rows, figures = [], []
    for name, arm in dice.sample([("halftime", halftimes), ("DataLoader", torchs)], 2):
        gc.collect()
        alone, marks = pss(), []
        for step, (length, _) in enumerate(arm(dataset, workers, epochs), 1):
            if step == min(length, 16 * workers) or step % length == 0:
                marks.append(pss())
        row = {"loader": name, "before (MiB)": alone, "first batches (MiB)": marks[0]}
        row |= {f"epoch {n} (MiB)": mark for n, mark in enumerate(marks[1:], 1)}
        rows.append(row | {"growth (%)": 100 * (marks[-1] / marks[0] - 1)})
        asked = f"By how much does memory grow over {epochs} epochs, {workers} workers, {len(dataset)} entries?"
        if name == "halftime":
            figures.append(tables.sample("order: memory", asked, "at most 2", "%", [rows[-1]["growth (%)"]]))
    return figures, rows


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--steps", type=int, default=16, help="steps in the epoch that is restored at each of them")
    parser.add_argument("--samples", type=int, default=1_281_167, help="of the long epoch")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the long list")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the arms")
    given: argparse.Namespace = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dice = random.Random(given.seed)
    parts = {"Restored at every step": restored(given.steps)}
    parts["Going on"] = resumed(given.samples, given.repeats, dice)
    dataset = Files(given.entries)
    parts["First batch"] = first_batch(dataset, given.workers, given.repeats)
    parts["Memory"] = growth(dataset, given.workers, given.epochs, dice)
    figures = [figure for found, _ in parts.values() for figure in found]
    tables.publish(given, figures, {title: rows for title, (_, rows) in parts.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
