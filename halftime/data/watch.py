"""Where the time of a step goes, seen from the loop: asked for a batch, got it, asked for the next one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from halftime.data import adapters, startup
from halftime.data.batch import on_device
from halftime.data.service import Meter, Parcel, Service, queued, timed

KEPT = 20_000  # steps that are remembered


class Step(NamedTuple):
    """One turn of a loop, in seconds.

    `wait` is from asking for the batch to having it, of which the device had nothing to do for `paid`, and the process
    stood in line for a core for `lined` and was on one for `busy` (all threads); `copy` is the way to the device where
    the watch makes it; `step` is the loop's own part, of which `cpu` on a core (of all threads) and `queued` in line
    for one. `device` is what ran beside on the device.
    """

    asked: float
    wait: float
    paid: float
    lined: float
    copy: float
    step: float
    cpu: float
    queued: float
    device: float
    first: bool  # of an epoch
    service: Service | None
    slowest: str
    busy: float = 0.0

    @property
    def whole(self) -> float:
        """Seconds of the turn."""
        return self.wait + self.copy + self.step


class Watch:
    """Iterates a loader and writes down when; the batches, their order and all randomness are the loader's own.

    Args:
        loader: any iterable. Of a torch `DataLoader` the work inside is timed too, in its workers as well.
        device: where to move each batch, and time it; not moved if None.
    """

    def __init__(self, loader: Any, device: torch.device | str | None = None) -> None:
        self.loader, self.device, self.notes = loader, device, list[str]()
        twin = timed(loader)
        self.inside = twin is not None
        self._source = loader if twin is None else twin
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=KEPT)
        self._read: list[Step] = []
        self._seen = 0
        self._meter = Meter()
        self._mark = _events() if torch.cuda.is_available() else _nothing
        if twin is not None:
            self.notes += startup.fit(twin)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name in ("loader", "_source"):
            raise AttributeError(name)
        return getattr(self.loader, name)  # `dataset`, `sampler`: the loader's

    def __iter__(self) -> Iterator[Any]:
        clock, spent, line, mark = time.perf_counter, time.process_time, self._meter.raw, self._mark
        keep, inside, device = self._rows.append, self.inside, self.device
        began = clock()
        source = startup.begin(self._source, self.loader)
        asked, cpu_asked, waited_asked, device_asked, first = began, spent(), line(), mark(), True
        while True:
            try:
                batch = next(source)
            except StopIteration:
                return
            got = clock()
            times, slowest = None, ""
            if inside and type(batch) is Parcel:
                batch, times, slowest = batch
            device_got = mark()
            if device is not None:
                batch = on_device(batch, torch.device(device))
            moved, cpu, waited = clock() if device is not None else got, spent(), line()
            yield batch
            ended, cpu_ended, waited_ended, device_ended = clock(), spent(), line(), mark()
            keep(
                (asked, got, moved, ended, cpu - cpu_asked, cpu_ended - cpu, waited_asked, waited, waited_ended, first,
                 times, slowest, device_asked, device_got, device_ended)
            )  # fmt: skip
            self._seen += 1
            asked, cpu_asked, waited_asked, device_asked, first = ended, cpu_ended, waited_ended, device_ended, False

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands; refused where it cannot say."""
        return adapters.state_of(self.loader)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the loader go on where it stood; refused where it cannot."""
        adapters.restore(self.loader, state)

    @property
    def workers(self) -> int:
        """Worker processes of the loader; 0 where that is not known."""
        return int(getattr(self._source, "num_workers", 0) or 0)

    @property
    def prefetch(self) -> int:
        """Batches that each worker keeps ahead."""
        return int(getattr(self._source, "prefetch_factor", None) or 2)

    @property
    def steps(self) -> list[Step]:
        """All steps that are over, as far as they are remembered; on CUDA, those whose events have come in."""
        new = min(self._seen - len(self._read), len(self._rows)) if len(self._read) < KEPT else len(self._rows)
        if new and len(self._read) + new > KEPT:
            self._read, new = [], len(self._rows)
        rows = list(self._rows)[len(self._rows) - new :]
        self._read += [_step(row) for row in rows]
        return self._read


def _step(row: tuple[Any, ...]) -> Step:
    asked, got, moved, ended, busy, cpu, start, before, after, first, times, slowest, *events = row
    wait = got - asked
    paid, device = wait, 0.0
    if events[0] is not None:
        events[2].synchronize()
        idle = events[0].elapsed_time(events[1]) / 1e3  # from the last step's end to the batch's arrival, on the device
        paid, device = min(wait, max(0.0, idle)), events[1].elapsed_time(events[2]) / 1e3
    service = Parcel(None, times, "").service if times else None
    between = queued(before)
    lined, waited = between - queued(start), queued(after) - between
    own = (moved - got, ended - moved, cpu, waited, device)
    return Step(asked, wait, paid, lined, *own, first, service, slowest, busy)


def _events() -> Callable[[], Any]:
    """Marks on the device's own time line: made without waiting, read when all is over."""

    def mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    return mark


def _nothing() -> None:
    return None
