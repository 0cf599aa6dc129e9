"""The plan: progress over steps, and landing on time."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import halftime as ht
from halftime.measure.plan import OPEN, Pacer, Plan
from halftime.methods import SGD, AdamW, OneCycle
from tests.conftest import make_task


@given(st.integers(1, 500), st.lists(st.tuples(st.integers(1, 499), st.integers(1, 1000)), max_size=6))
def test_progress_is_continuous_monotone_and_ends_at_one(total: int, redraws: list[tuple[int, int]]) -> None:
    plan = Plan([(0, 0.0, total)])
    for step, length in sorted(redraws):
        if step < plan.total:
            plan.redraw(step, step + length)
    values = [plan.progress(step) for step in range(plan.total + 1)]
    assert values == sorted(values)
    assert values[-1] == 1.0
    assert plan.progress(plan.total + 5) == 1.0


@given(st.integers(1, 300), st.integers(1, 40))
def test_evaluations_fall_as_often_as_asked_and_on_the_last_step(total: int, times: int) -> None:
    plan = Plan([(0, 0.0, total)])
    due = [step for step in range(1, total + 1) if plan.due(step, times)]
    assert due[-1] == total
    assert len(due) == min(times, total)


@given(st.floats(0.001, 0.05), st.floats(0.3, 3.0), st.floats(0.1, 0.8))
def test_lands_within_its_time_when_the_pace_changes(pace: float, change: float, when: float) -> None:
    """A simulated clock: the pace changes in the middle; the end lies within 97 to 100 % of the budget."""
    budget, now, step = 60.0, 0.5, 0
    plan = Plan([(0, 0.0, OPEN)])
    pacer = Pacer(plan, budget)
    while step < plan.total:
        now += pace * (change if now > budget * when else 1.0)
        step += 1
        pacer.tick(step, now)
    assert 0.97 * budget <= now <= budget


def test_a_budget_smaller_than_a_step_ends_after_one_step() -> None:
    plan = Plan([(0, 0.0, OPEN)])
    Pacer(plan, 1.0).tick(1, 5.0)
    assert plan.total == 1


def test_minutes_end_on_time_decayed_and_replay_exactly() -> None:
    """12 s of training whose loader is throttled in mid-run: 97 to 100 % of the time, rate at most 1 % of its peak."""

    class Throttled:
        columns = make_task().train.columns

        def __len__(self) -> int:
            return 256

        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            return tuple(c[index] for c in self.columns)

        def batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
            if time.perf_counter() > slow_from:
                time.sleep(0.004)
            return tuple(c[indices] for c in self.columns)

    slow_from = time.perf_counter() + 6.0
    task = make_task(train=Throttled())
    recipe = ht.Recipe([AdamW(lr=0.01), OneCycle()], minutes=0.2, batch_size=32)
    run = ht.train(task, recipe, device="cpu", quiet=True)
    assert 0.97 * 12.0 <= run.seconds <= 12.0
    rates = [rate or 0.0 for _, rate in run.series("lr")]
    assert rates[-1] <= 0.01 * max(rates)
    assert len(run.plan) > 1

    slow_from = float("inf")
    again = ht.train(task, recipe, device="cpu", plan=Plan.of(run.plan), quiet=True)
    assert again.steps == run.steps
    assert again.weights.read_bytes() == run.weights.read_bytes()
    assert [e.step for e in again.evaluations] == [e.step for e in run.evaluations]


@pytest.mark.parametrize(("budget", "steps"), [({"epochs": 2}, 8), ({"epochs": 0.5}, 2), ({"steps": 3}, 3)])
def test_budgets_become_steps(budget: dict[str, float], steps: int) -> None:
    run = ht.train(make_task(), ht.Recipe([SGD()], batch_size=64, **budget), device="cpu", quiet=True)  # type: ignore[arg-type]
    assert run.steps == steps
