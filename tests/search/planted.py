"""A tiny task with pauses in its loss, and methods whose effect is known."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

import halftime as ht
from halftime.methods import SGD, OneCycle
from halftime.places import Loss, Method
from halftime.run import Run
from halftime.search.records import Found, Trial
from halftime.search.search import search
from halftime.search.work import Job, Place, in_turn

PAUSE = 0.002
BASE = ht.Recipe([SGD(lr=0.1), OneCycle()], steps=64, batch_size=32)


def mse(outputs: Any, targets: Any) -> Any:
    return nn.functional.mse_loss(outputs, targets)


def slow(outputs: Any, targets: Any) -> Any:
    time.sleep(PAUSE)
    return mse(outputs, targets)


@dataclasses.dataclass(frozen=True)
class Quick(Method):
    """Leaves the pause out."""

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return mse


@dataclasses.dataclass(frozen=True)
class Crash(Method):
    """Breaks in the middle of a training that is longer than a timing."""

    kind: str = "crash"

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        if self.kind == "crash":
            raise RuntimeError("planted")
        if self.kind == "memory":
            raise torch.OutOfMemoryError("planted")
        return inputs * float("nan"), targets


def task(**changes: Any) -> ht.Workload:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(512, 16, generator=source) * torch.arange(1, 17) ** -0.7
    truth = torch.randn(16, 1, generator=source)
    fields = dict(name="planted", model=lambda: nn.Linear(16, 1), train=(x, x @ truth + 0.1), valid=(x, x @ truth),
                  loss=slow, score=mse, better="lower", target=0.1, margin=0.05, evaluations=5)  # fmt: skip
    return ht.Workload(**{**fields, **changes})


def searched(workload: ht.Workload | None = None, base: ht.Recipe = BASE, **how: Any) -> Found:
    given = dict(minutes=3.0, methods=[Quick()], known=(Quick, Crash), device="cpu", quiet=True, block=0.01)
    return search(workload or task(), base, **{**given, **how})


class Killed:
    """Trains so many jobs, then dies."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, place: Place, jobs: Sequence[Job], before: Sequence[Run] = ()) -> Iterator[Trial]:
        for trial in in_turn(place, jobs, before):
            self.left -= 1
            if self.left < 0:  # the run exists, and nobody has written down that it does
                raise KeyboardInterrupt
            yield trial
