"""A few batches made apart, to tell work on a core from waiting for a disk, and to find a slow sample."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from halftime.data.service import Meter


class Probe:
    """A data set that times its samples.

    Args:
        dataset: map-style.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._times, self.on_core = dataset, list[tuple[float, int]](), 1.0

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        began = time.perf_counter()
        found = self._dataset[index]
        self._times.append((time.perf_counter() - began, index))
        return found

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Sets `on_core`: the share of what happens inside that was on a core, standing in line for one left out."""
        meter = Meter()
        began, cpu, lined = time.perf_counter(), time.process_time(), meter.queued()
        yield
        spent = time.perf_counter() - began - (meter.queued() - lined)
        self.on_core = min(1.0, max(0.0, (time.process_time() - cpu) / max(spent, 1e-9)))

    @property
    def slowest(self) -> str:
        """A line on the slowest sample, where it takes ten times the usual and more than a millisecond."""
        if not self._times:
            return ""
        seconds, index = max(self._times)
        usual = median(t for t, _ in self._times)
        if seconds < 10 * usual or seconds < 1e-3:
            return ""
        return f"Slowest sample seen: {index}, {seconds * 1e3:.3g} ms, where the usual one takes {usual * 1e3:.3g}."
