"""A loss that is no number: which step, which rate, which cause."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.diagnose.diverged import explain
from halftime.ledger.lines import Writer
from halftime.methods import SGD, AdamW
from tests.conftest import make_task


def record(folder: Path, losses: list[float]) -> Path:
    with Writer(folder / "attempt-001.jsonl") as log:
        for step, loss in enumerate(losses, 1):
            log.scalar("loss", loss, step)
            log.scalar("lr", 0.3, step)
    return folder


CALM = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("losses", "batch", "low", "words"),
    [
        ([2.3] * 20 + [float("nan")], torch.tensor([1.0, float("inf")]), False, "the batch itself holds NaN"),
        ([2.3] * 20 + [3.0, 9.0, 80.0, float("nan")], CALM, False, "the learning rate is likely too high, try 0.1"),
        ([2.3] * 20 + [float("nan")], CALM, True, "an overflow in 16 bits"),
        ([2.3, float("nan")], CALM, False, "too high a rate (try 0.03)"),
        ([2.3] * 20 + [float("nan")], CALM, False, "a square root of zero"),
    ],
)
def test_the_likely_cause(own_folder: Path, losses: list[float], batch: torch.Tensor, low: bool, words: str) -> None:
    line = explain(len(losses), record(own_folder / "run", losses), batch, low)
    assert words in line
    assert f"since step {len(losses)} (learning rate 0.3)" in line


def test_the_run_stops_soon_and_the_record_says_so() -> None:
    run = ht.train(make_task(), ht.Recipe([SGD(lr=1e38)], epochs=500, batch_size=32), device="cpu", quiet=True)
    assert run.state == run.verdict == "failed"
    assert "the loss is not a number since step" in run.reason
    assert run.steps < 4000
    assert run.intact
    assert not run.weights.exists()


def test_a_rotten_sample_is_found_although_the_network_is_sound() -> None:
    task = make_task()
    x, y = task.train.columns
    x = x.clone()
    x[100] = float("nan")
    run = ht.train(make_task(train=(x, y)), ht.Recipe([AdamW()], epochs=2, batch_size=32), device="cpu", quiet=True)
    assert "the batch itself holds NaN" in run.reason


def test_a_crash_in_the_users_code_is_recorded_as_failed(own_folder: Path) -> None:
    class Rotten(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and torch.rand(()) < 0.5:
                raise ZeroDivisionError("in the user's network")
            return super().forward(x.flatten(1))

    with pytest.raises(ZeroDivisionError):
        ht.train(make_task(model=lambda: Rotten(64, 2)), ht.Recipe([], steps=50), device="cpu", quiet=True)
    run = ht.Ledger().run(ht.Ledger().runs[0].name)
    assert (run.state, run.reason) == ("failed", "in the user's network")
