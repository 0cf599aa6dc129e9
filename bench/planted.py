"""Does the search decide rightly where the truth is planted? `python -m bench.planted --json FILE`

Each case is a whole search (base tuned, changes tried, shortened, left out again; no proof) on a task of its own, with
methods that were made for it. What is planted:

- loud: looks good at the base's own rate, which is far too low, for it only raises it; once the base is tuned, all that
  is left of it is that its steps are slower.
- quiet: its steps are faster, but at the tuned base's rate it hardly learns: it pays at a rate of its own alone.
- nothing: does nothing.
- harmful: noise in the training targets.
- company: each of two turns the inputs upside down, which makes the network useless; together they do not, and one of
  them makes the steps faster.

The task is a regression whose loss falls as a power of the steps; most of a step is a pause, so that the machine's own
noise is small beside what is planted: every effect is 15 % of the time or more.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
import time
from typing import Any, ClassVar

import torch
from torch import nn

import halftime as ht
from bench import tables
from halftime.methods import SGD, OneCycle
from halftime.places import Loss, Method
from halftime.search.records import Found
from halftime.search.search import search

PREDICTED = "at least 9 of 10"
PAUSE, LONGER = 0.0008, 0.0006  # seconds
WIDTH, SAMPLES, NOISE = 24, 1536, 0.3
BLOCK = 0.04  # seconds of a block of steps where steps are timed


def plain_loss(outputs: Any, targets: Any) -> Any:
    return nn.functional.mse_loss(outputs, targets)


def slow_loss(outputs: Any, targets: Any) -> Any:
    time.sleep(PAUSE)
    return plain_loss(outputs, targets)


def quick_loss(outputs: Any, targets: Any) -> Any:
    time.sleep(PAUSE / 4)
    return plain_loss(outputs, targets)


@dataclasses.dataclass(frozen=True)
class Loud(Method):
    """Raises the rate, and makes steps slower."""

    def lr_factor(self, progress: float) -> float:
        return 8.0

    def after_step(self, progress: float) -> None:
        time.sleep(LONGER)


@dataclasses.dataclass(frozen=True)
class Quiet(Method):
    """Lowers the rate, and makes steps faster."""

    def lr_factor(self, progress: float) -> float:
        return 0.15

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return quick_loss


@dataclasses.dataclass(frozen=True)
class Nothing(Method):
    """Does nothing."""

    def after_step(self, progress: float) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class Harmful(Method):
    """Noise in the targets."""

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return inputs, targets + 1.5 * torch.randn_like(targets)


@dataclasses.dataclass(frozen=True)
class UpsideDown(Method):
    """Inputs upside down."""

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return -inputs, targets


@dataclasses.dataclass(frozen=True)
class DownsideUp(Method):
    """Inputs upside down, and faster steps."""

    exact: ClassVar[bool] = False

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return -inputs, targets

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return quick_loss


CASES: dict[str, tuple[tuple[Method, ...], frozenset[str]]] = {  # what may be tried, and what must be kept
    "wins at the old rate, loses at the tuned one": ((Loud(),), frozenset()),
    "loses at the old rate, wins at the tuned one": ((Quiet(),), frozenset({"Quiet"})),
    "does nothing": ((Nothing(),), frozenset()),
    "harmful": ((Harmful(),), frozenset()),
    "two that help only together": ((UpsideDown(), DownsideUp()), frozenset({"UpsideDown", "DownsideUp"})),
}


def task(seed: int) -> ht.Workload:
    """A regression of its own: inputs whose directions differ in size, so that the small ones are learned late."""
    source = torch.Generator().manual_seed(seed)
    sizes = torch.arange(1, WIDTH + 1) ** -0.7
    truth = torch.randn(WIDTH, 1, generator=source)

    def drawn(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(n, WIDTH, generator=source) * sizes
        return x, x @ truth + NOISE * torch.randn(n, 1, generator=source)

    train, (x, _) = drawn(SAMPLES), drawn(512)
    return ht.Workload(
        name=f"planted {seed}",
        model=lambda: nn.Linear(WIDTH, 1),
        train=train,
        valid=(x, x @ truth),  # judged without noise: how far it is from the truth
        loss=slow_loss,
        score=plain_loss,
        better="lower",
        target=0.06,
        margin=0.02,
        evaluations=10,
    )


def base(case: str) -> ht.Recipe:
    """Far too low a rate where the old one matters, else a fair one."""
    return ht.Recipe([SGD(lr=0.01 if "wins at the old" in case else 0.1), OneCycle()], steps=128, batch_size=32)


def tried(case: str, seed: int) -> tuple[bool, Found]:
    """One search: whether it kept what it should, and nothing else."""
    methods, right = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        found = search(
            task(seed), base(case), minutes=5.0, methods=list(methods), known=[type(m) for m in methods], proof=False,
            device="cpu", ledger=folder, quiet=True, block=BLOCK,
        )  # fmt: skip
    return set(found.recipe["methods"]) & {type(m).__name__ for m in methods} == right, found


def planted(case: str, seed: int) -> float | None:
    """How many times lower the loss is with a lone change at the base's own rate: what a look without tuning says."""
    methods, _ = CASES[case]
    if len(methods) > 1:
        return None
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            ht.train(task(seed), recipe, 7, device="cpu", ledger=folder, quiet=True)
            for recipe in (base(case), base(case).plus(*methods))
        ]
    return (runs[0].score or 0.0) / (runs[1].score or 1.0)


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="of each case (default 10)")
    parser.add_argument("--show", action="store_true", help="print every decision")
    parser.add_argument("--only", metavar="WORD", default="", help="cases with this word in their name")
    given = parser.parse_args()
    torch.set_num_threads(1)
    jobs = [(case, seed) for case in CASES if given.only in case for seed in range(given.repeats)]
    random.Random(0).shuffle(jobs)
    rows: dict[str, list[tuple[bool, Found]]] = {}
    for case, seed in jobs:
        rows.setdefault(case, []).append(tried(case, seed))
        if given.show:
            ok, found = rows[case][-1]
            decided = (f"{d.stage}: {d.verdict} {d.change}: {d.why}" for d in found.decisions)
            print(f"{case} {seed}: {'right' if ok else 'wrong'}, {found.words}", *decided, sep="\n  ", flush=True)
    figures, lines = [], []
    for case in (case for case in CASES if case in rows):
        right = sum(ok for ok, _ in rows[case])
        question = f"How often does the search decide rightly in the case: {case}?"
        figures.append(tables.count(f"planted: {case}", question, PREDICTED, "right", right, len(rows[case])))
        first = [next((d.gain.ratio for d in f.decisions if d.gain), None) for _, f in rows[case]]
        untuned = [planted(case, seed) for seed in range(min(3, given.repeats))]
        lines.append({
            "case": case, "searches": len(rows[case]), "right": right,
            "loss gain at the old rate": None if None in untuned else tables.quartiles([u or 0.0 for u in untuned])[1],
            "median gain found": tables.quartiles([g for g in first if g] or [0.0])[1],
            "median seconds": tables.quartiles([f.seconds for _, f in rows[case]])[1],
        })  # fmt: skip
    tables.publish(given, figures, {"planted cases": lines})


if __name__ == "__main__":
    main()
