"""Receiving told apart: work, a word from an idle worker, and one from a worker that is busy."""

from __future__ import annotations

import pytest

from halftime.data.receiving import received
from halftime.data.service import Service
from halftime.data.watch import Step


def step(asked: float, wait: float, start: float, end: float, busy: float = 0.001, worker: int = 0) -> Step:
    made = Service(worker, start, end, end, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 0.0)
    return Step(asked, wait, wait, 0.0, 0.0, 0.01, 0.01, 0.0, 0.0, False, made, "", busy)


def test_a_word_from_an_idle_worker() -> None:
    found = received([step(i * 0.1, 0.004, i * 0.1 - 0.05, i * 0.1 - 0.01) for i in range(10)])
    assert found == pytest.approx((0.001, 0.003, 0.0))


def test_a_worker_that_answers_when_its_next_batch_is_done_was_waited_for() -> None:
    steps = [step(i * 0.1, 0.043, i * 0.1 - 0.16, i * 0.1 - 0.06) for i in range(10)]
    found = received(steps)  # the worker's next batch is done 0.04 after the asking; of the last, none is known
    assert found.hand == pytest.approx(0.001)
    assert found.answer == pytest.approx(0.006)
    assert found.busy > 0.3


def test_what_came_while_the_worker_was_busy_took_what_it_took() -> None:
    steps = [step(i * 0.1, 0.006, i * 0.1 - 0.14, i * 0.1 - 0.05) for i in range(10)]
    found = received(steps)
    assert found.busy == pytest.approx(0.005)
    assert found.hand == pytest.approx(0.001)
