"""The clock counts what a user waits for, and nothing else."""

from __future__ import annotations

import time

import torch

import halftime as ht
from halftime.measure.clock import Clock
from halftime.methods import SGD
from tests.conftest import make_task

CPU = torch.device("cpu")


def test_a_pause_does_not_count_but_is_shown() -> None:
    clock = Clock(CPU)
    time.sleep(0.02)
    with clock.paused():
        time.sleep(0.1)
    assert 0.02 <= clock.seconds < 0.1
    assert clock.held >= 0.12
    assert clock.spans["evaluation"] >= 0.1


def test_a_span_counts_and_is_shown() -> None:
    clock = Clock(CPU)
    with clock.span("checkpoint"):
        time.sleep(0.02)
    assert clock.seconds >= clock.spans["checkpoint"] >= 0.02


def test_earlier_attempts_are_added() -> None:
    clock = Clock(CPU)
    clock.already = 100.0
    assert 100.0 < clock.seconds < 101.0


def test_slow_evaluation_is_free_and_slow_data_is_not() -> None:
    def slow_score(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return ht.accuracy(outputs, targets)

    class Slow:
        columns = make_task().train.columns

        def __len__(self) -> int:
            return 256

        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            return tuple(c[index] for c in self.columns)

        def batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
            time.sleep(0.02)
            return tuple(c[indices] for c in self.columns)

    recipe = ht.Recipe([SGD()], steps=10)
    judged = ht.train(make_task(score=slow_score, evaluations=10), recipe, device="cpu", quiet=True)
    fed = ht.train(make_task(train=Slow()), recipe, device="cpu", quiet=True)
    assert judged.spans["evaluation"] >= 1.0
    assert judged.seconds < 1.0
    assert fed.spans["data"] >= 0.2
    assert fed.seconds >= 0.2


def test_both_ends_of_the_hit_are_kept() -> None:
    run = ht.train(make_task(target=0.5, evaluations=5), ht.Recipe([SGD()], steps=10), device="cpu", quiet=True)
    assert run.hit is not None
    assert run.hit[0] < run.hit[1] <= run.seconds


def test_compile_is_counted_apart() -> None:
    """Dynamo's own account of what it spent; the eager backend needs no compiler on the machine."""
    import torch._dynamo

    torch._dynamo.reset()
    clock = Clock(CPU)
    torch.compile(torch.nn.Linear(3, 2), backend="eager")(torch.ones(1, 3))
    assert 0.0 < clock.compiling <= clock.seconds
