"""The training clock: all that a user waits for, evaluation kept apart."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from halftime.measure.device import synchronize


class Clock:
    """Monotonic seconds of training since it was made; time inside `paused` does not count.

    Args:
        device: where the training runs; it is synchronised at both ends of a pause.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.already = device, 0.0  # seconds of earlier attempts
        self.spans: defaultdict[str, float] = defaultdict(float)  # seconds by purpose, of this attempt
        self._began = time.perf_counter()
        self._paused = 0.0
        self._compiled = _compile_seconds()

    @property
    def seconds(self) -> float:
        """Training seconds, those of earlier attempts included."""
        return self.already + time.perf_counter() - self._began - self._paused

    @property
    def held(self) -> float:
        """Seconds for which this attempt has held its device, pauses included."""
        return time.perf_counter() - self._began

    @property
    def compiling(self) -> float:
        """Seconds of this attempt spent in torch.compile; they are part of `seconds`."""
        return _compile_seconds() - self._compiled

    def read(self, data: float) -> dict[str, Any]:
        """All of it for a record.

        Args:
            data: seconds of this attempt in which the loop waited for its batches.
        """
        spans = {"data": data, "compile": self.compiling, **self.spans}
        rounded = {name: round(spent, 6) for name, spent in spans.items() if spent}
        return {"seconds": round(self.seconds, 6), "held": round(self.held, 6), "spans": rounded}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Evaluation: timed apart, not counted."""
        synchronize(self.device)
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            spent = time.perf_counter() - start
            self._paused += spent
            self.spans["evaluation"] += spent

    @contextmanager
    def span(self, purpose: str) -> Iterator[None]:
        """Counted time whose purpose is shown apart."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spans[purpose] += time.perf_counter() - start


def _compile_seconds() -> float:
    if "torch._dynamo" not in sys.modules:
        return 0.0
    from torch._dynamo.utils import compilation_time_metrics  # no public name gives this in torch 2.10 to 2.15

    return sum(compilation_time_metrics.get("_compile.compile_inner", ()))
