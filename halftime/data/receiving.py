"""What it takes to receive a made batch from a `DataLoader`'s worker: work, and a word from the worker.

A tensor comes through shared memory, and its worker must be asked for it: a worker in the middle of Python code answers
when its batch is done. An array comes through a pipe, and is copied while the training process waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from halftime.data.service import Service
from halftime.data.watch import Step


class Received(NamedTuple):
    """Mean seconds a batch: on a core, and waiting for a worker that is idle, or at work on its next batch."""

    hand: float
    answer: float
    busy: float


def received(steps: Sequence[Step]) -> Received:
    """What receiving took in recorded steps.

    A batch that overtook the one waited for was received within that one's wait, and looks free: only sums are right.
    A worker that had not answered when its batch was done is a waiting that was cut off: its time counts, it does not.

    Args:
        steps: with the times of their batches, in order.
    """
    work = idle = at_work = 0.0
    answered = asked_idle = 0
    for s, job in zip(steps, _next_jobs(steps), strict=True):
        end = s.service.end if s.service else math.inf
        since, got = max(s.asked, end), s.asked + s.wait
        spent = max(0.0, got - since)
        on_core = min(s.busy, spent)
        work += on_core
        rest = spent - on_core
        if job is not None and job.start < got <= job.end:
            at_work, answered = at_work + rest, answered + 1
            continue
        asked_idle += 1
        cut = max(0.0, job.end - since) if job is not None and job.start < got else 0.0
        if cut > spent / 2:  # it came soon after the other batch was done, so for that it had waited
            at_work, rest = at_work + min(cut, rest), rest - min(cut, rest)
        idle += rest
    busy = at_work / max(answered, 0.5)
    return Received(work / max(1, len(steps)), idle / asked_idle if asked_idle else busy, busy)


def _next_jobs(steps: Sequence[Step]) -> list[Service | None]:
    """What the worker of each batch did after it."""
    found: list[Service | None] = []
    later: dict[float, Service] = {}
    for s in reversed(steps):
        found.append(later.get(s.service.worker) if s.service else None)
        if s.service:
            later[s.service.worker] = s.service
    return found[::-1]
