"""Does a keeper's queue stay just ahead of the step, and what does it cost against the best number of workers?

Claims: where it is feasible, the step waits at most 2 % of the time from 200 steps on (after the start, or after the
change of a regime that changes); never under 98 % of the throughput of the best fixed setting; the memory cap is never
exceeded.

How: ten regimes, with real worker processes. A step is a sleep, as a step on a device is for the processor; a batch is
a sleep ("disk") or work on the processor outside of Python's lock, as decoding is, so that two cores are enough unless
a regime says what is missing. Waiting is measured from outside: all the time from asking for a batch to having it, with
what the keeper does to its workers meanwhile.
Each round sweeps the plain `DataLoader` over 0 to 8 workers (fewer where a cap allows fewer) in random order; then the
best of them runs twice more and the keeper once, again in random order. The two runs of the best are the A/A: no
difference smaller than theirs means anything. A regime that changes is compared after its change, with the best setting
for what it is then, which favours the fixed setting: it has never been wrong.

    python -m bench.keeping --json bench/results/keeping.json
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from bench import tables
from halftime.data.keeper import Keeper
from halftime.data.limits import MIB, private

PREDICTED = {
    "stall": "0 wait longer", "throughput": "0 under", "noise": "more than the keeper: it is only the machine's noise",
    "memory": "0 above", "missing": "0 wrong",
}  # fmt: skip
SETTLED = 200  # steps until it must have found its setting
BLOCK = bytes(2**16)


def compute(seconds: float) -> None:
    """Burn processor time outside of Python's lock, as decoders do."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(BLOCK)


@dataclass(frozen=True)
class Regime:
    """How a batch and a step take their time (milliseconds), what is allowed, and what must come out."""

    work: float
    step: tuple[float, float] = (5, 5)  # before and after the change
    make: Callable[[float], None] = time.sleep
    collate: float = 0.0
    slow: float = 0.0  # every 40th batch
    size: int = 1024  # bytes of a batch
    ballast: int = 0  # MiB that each worker fills
    limits: tuple[tuple[str, float], ...] = ()
    most: int = 8  # workers that the limits allow
    neighbours: int = 0
    changes: bool = False
    missing: str = ""  # infeasible: what it must name


REGIMES = {
    "CPU-bound": Regime(9, (8, 8), make=compute),
    "disk-bound": Regime(18),
    "fast": Regime(0.02),
    "one slow sample": Regime(1, slow=40),
    "memory-capped": Regime(18, ballast=60, limits=(("memory", 200 * MIB),), most=2, missing="memory"),
    "shared-memory-capped": Regime(18, size=256 * 1024, limits=(("shared_memory", 2 * MIB),), most=2,
                                   missing="shared memory"),
    "step halves": Regime(18, (10, 5), changes=True),
    "step doubles": Regime(18, (5, 10), changes=True),
    "neighbour": Regime(3, (8, 8), make=compute, neighbours=1, changes=True),
    "collate-bound": Regime(0.1, collate=12, missing="CPU"),
}  # fmt: skip


class Work(Dataset[torch.Tensor]):
    """Samples that take their time; in a worker the first one fills memory, as a cache does."""

    def __init__(self, regime: Regime) -> None:
        self.regime, self.filled = regime, b""

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> torch.Tensor:
        regime = self.regime
        if regime.ballast and not self.filled and torch.utils.data.get_worker_info():
            self.filled = random.randbytes(regime.ballast * MIB)
        regime.make((regime.slow if regime.slow and index % 40 == 39 else regime.work) / 1000)
        return torch.zeros(regime.size, dtype=torch.uint8)

    def put_together(self, samples: list[torch.Tensor]) -> torch.Tensor:
        """The collate function."""
        compute(self.regime.collate / 1000)
        return torch.stack(samples)


def loader(regime: Regime, workers: int = 0) -> DataLoader[torch.Tensor]:
    work = Work(regime)
    return DataLoader(work, batch_size=1, num_workers=workers, collate_fn=work.put_together)


@dataclass
class Loop:
    """Seconds of the steps and of the waits in a loop, from a step on."""

    waits: list[float]
    steps: list[float]
    held: int = 0  # the most bytes that all workers held

    def stall(self, since: int) -> float:
        return sum(self.waits[since:]) / self.seconds(since)

    def seconds(self, since: int) -> float:
        return sum(self.waits[since:]) + sum(self.steps[since:])

    def rate(self, since: int) -> float:
        return len(self.steps[since:]) / self.seconds(since)


def looped(source: Any, regime: Regime, steps: int, change: int | None, limit: float) -> Loop:
    """A bare loop over some batches, for so many steps or seconds; measured from outside, for a keeper, too."""
    out, neighbours, started = Loop([], []), [], time.perf_counter()
    watch = _Watch(regime.ballast > 0)
    batches = iter(source)
    try:
        if regime.neighbours and change is None:
            neighbours = _computing(regime.neighbours)
        for number in range(steps):
            if number == change and regime.neighbours:
                neighbours = _computing(regime.neighbours)
            asked = time.perf_counter()
            next(batches)
            got = time.perf_counter()
            time.sleep(regime.step[change is None or number >= change] / 1000)
            out.waits.append(got - asked)
            out.steps.append(time.perf_counter() - got)
            if time.perf_counter() - started > limit and len(out.steps) > 40:
                break
    finally:
        for process in neighbours:
            process.terminate()
            process.join()
        del batches
        out.held = watch.most()
    return out


class _Watch(threading.Thread):
    """Sees what all workers hold, again and again, beside the loop and not in it."""

    def __init__(self, wanted: bool) -> None:
        super().__init__(daemon=True)
        self._held, self._over = 0, threading.Event()
        if wanted:
            self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            own = [process.pid for process in multiprocessing.active_children()]
            self._held = max(self._held, sum(private(pid for pid in own if pid)))

    def most(self) -> int:
        """Bytes, when it is over."""
        self._over.set()
        if self.ident:
            self.join()
        return self._held


def _computing(number: int) -> list[Any]:
    processes = [multiprocessing.Process(target=compute, args=(3600,), daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    return processes


def one_round(name: str, given: Any, dice: random.Random) -> dict[str, Any]:
    """One regime once: the sweep, then the best of it twice and the keeper, in random order."""
    regime = REGIMES[name]
    sweep = list(range(min(regime.most, given.most) + 1))
    dice.shuffle(sweep)
    rates = {w: looped(loader(regime, w), regime, 10**6, None, given.seconds).rate(20) for w in sweep}
    best = max(rates, key=lambda w: rates[w])
    keeper = Keeper(loader(regime), workers=8, **dict(regime.limits))
    change = given.change if regime.changes else None
    since = SETTLED + (change or 0)
    arms: dict[str, Callable[[], Loop]] = {
        "best": lambda: looped(loader(regime, best), regime, 10**6, None, 2 * given.seconds),
        "best again": lambda: looped(loader(regime, best), regime, 10**6, None, 2 * given.seconds),
        "keeper": lambda: looped(keeper, regime, since + given.steps, change if change else 0, 60),
    }
    if regime.neighbours:  # the keeper's own start is without them
        arms["keeper"] = lambda: looped(keeper, regime, since + given.steps, change, 60)
    order = list(arms)
    dice.shuffle(order)
    took = {arm: arms[arm]() for arm in order}
    settings = keeper.summary()["settings"]
    a, b, mine = took["best"].rate(20), took["best again"].rate(20), took["keeper"].rate(since)
    return {
        "regime": name, "best fixed": best, "batches/s": (a + b) / 2, "A/A": b / a, "keeper": mine,
        "keeper/best": 2 * mine / (a + b), "stall": took["keeper"].stall(since), "workers": settings[-1]["workers"],
        "prefetch": settings[-1]["prefetch"], "changes": len(settings) - 1, "held": took["keeper"].held,
        "missing": keeper.advice.split(":")[0],
    }  # fmt: skip


def figures_of(rows: list[dict[str, Any]]) -> list[tables.Figure]:
    """What was claimed, as counts."""
    feasible = [row for row in rows if not REGIMES[row["regime"]].missing]
    capped = [(row, dict(REGIMES[row["regime"]].limits)) for row in rows if REGIMES[row["regime"]].ballast]
    late = sum(row["stall"] > 0.02 for row in feasible)
    slow = sum(row["keeper/best"] < 0.98 for row in rows)
    noise = sum(min(row["A/A"], 1 / row["A/A"]) < 0.98 for row in rows)
    above = sum(row["held"] > limits["memory"] for row, limits in capped)
    wrong = sum(row["missing"] != REGIMES[row["regime"]].missing for row in rows)
    asked = [
        ("stall", "In how many runs of a feasible regime does it wait over 2 % from 200 steps on?", late, feasible),
        ("throughput", "In how many runs is the keeper under 98 % of the best fixed setting?", slow, rows),
        ("noise", "In how many runs is the best fixed setting under 98 % of itself?", noise, rows),
        ("memory", "In how many runs do the workers hold more memory than the cap?", above, capped),
        ("missing", "In how many runs does it name a wrong resource, or one where none is missing?", wrong, rows),
    ]  # fmt: skip
    return [tables.count(f"keeper: {n}", q, PREDICTED[n], "runs", hits, len(of)) for n, q, hits, of in asked if of]


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="steps of the keeper that count")
    parser.add_argument("--change", type=int, default=250, help="the step at which a regime changes")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each setting of the sweep")
    parser.add_argument("--most", type=int, default=8, help="workers to sweep up to")
    parser.add_argument("--regimes", default=";".join(REGIMES), help="which, with semicolons between")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores: they sleep
    dice, rows = random.Random(given.seed), []
    for _ in range(given.rounds):
        names = given.regimes.split(";")
        dice.shuffle(names)
        rows += [one_round(name, given, dice) for name in names]
    rows.sort(key=lambda row: list(REGIMES).index(row["regime"]))
    tables.publish(given, figures_of(rows), {"Regimes (every run)": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
