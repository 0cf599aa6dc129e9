"""How long a torch `DataLoader` needs for each batch, measured where the batch is made, carried beside it.

The user's loader is not touched: a copy of it shares sampler and generator, so order and randomness are the same, and
its samples are what they were. Each batch travels with eleven numbers, which are taken off before the user sees it.
"""

from __future__ import annotations

import copy
import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, get_worker_info

from halftime.data import adapters

_FORM = struct.Struct("11d")


class Service(NamedTuple):
    """What one batch cost where it was made; times in seconds, `start` and `end` on the clock all processes share.

    `cpu` and `queued` (waiting for a core) are of the thread that made the batch, up to the end of each part; `beside`
    is what a worker spent since its last batch on anything else, such as packing that one for the way.
    """

    worker: float  # -1: the training process itself
    start: float
    fetched: float
    end: float
    cpu_fetch: float
    cpu: float
    queued_fetch: float
    queued: float
    beside: float
    samples: float
    slowest: float  # seconds of the slowest sample

    @property
    def fetch(self) -> tuple[float, float]:
        """(on a core, blocked) seconds until the samples were there."""
        return _parts(self.fetched - self.start, self.cpu_fetch, self.queued_fetch)

    @property
    def collate(self) -> tuple[float, float]:
        """(on a core, blocked) seconds of putting the samples together."""
        spent = self.end - self.fetched
        return _parts(spent, self.cpu - self.cpu_fetch, self.queued - self.queued_fetch)


class Parcel(NamedTuple):
    """A batch on its way, with its times and the name of its slowest sample. Pinning goes through it to the batch."""

    batch: Any
    times: bytes
    slowest: str

    @property
    def service(self) -> Service:
        """The times, unpacked."""
        return Service(*_FORM.unpack(self.times))


def _parts(wall: float, cpu: float, queued: float) -> tuple[float, float]:
    """A part that waited for a core did not wait for the disk: what is left of the wall clock is blocked."""
    cpu = min(max(cpu, 0.0), wall)
    return cpu, max(0.0, wall - cpu - max(queued, 0.0))


class Meter:
    """Clocks of one thread: on a core, and waiting for one (from the Linux scheduler; 0 where there is none)."""

    def __init__(self) -> None:
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._file = -1

    def raw(self) -> bytes:
        """The scheduler's line, to be read later: 0.7 microseconds."""
        return os.pread(self._file, 64, 0) if self._file >= 0 else b""

    def queued(self) -> float:
        """Seconds for which the thread was ready to run and had no core."""
        return queued(self.raw())

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def queued(line: bytes) -> float:
    """Seconds without a core in the scheduler's line.

    >>> queued(b"166896474 497004 11")
    0.000497004
    """
    fields = line.split()
    return int(fields[1]) * 1e-9 if len(fields) > 1 else 0.0


class _Times:
    """Of the batch that is being made in this process."""

    def __init__(self) -> None:
        self.pid, self.meter, self.process = os.getpid(), Meter(), time.process_time()
        self.clear()

    def clear(self) -> None:
        self.start, self.slowest, self.samples, self.name = 0.0, 0.0, 0, ""
        self.cpu = self.waited = 0.0

    def begin(self) -> float:
        now = time.perf_counter()
        if not self.samples:
            self.start, self.cpu, self.waited = now, time.thread_time(), self.meter.queued()
        return now

    def note(self, began: float, name: Any, samples: int = 1) -> None:
        spent = time.perf_counter() - began
        self.samples += samples
        if spent > self.slowest:
            self.slowest, self.name = spent, str(name)[:80]


_HERE: list[_Times] = []


def _times() -> _Times:
    """Those of this process; a forked one starts its own."""
    if not _HERE or _HERE[0].pid != os.getpid():
        _HERE[:] = [_Times()]
    return _HERE[0]


class Timed:
    """A data set that times its samples and else is the one inside: attributes, class, length and all."""

    def __init__(self, inner: Any) -> None:
        object.__setattr__(self, "_timed_inner", inner)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._timed_inner)

    def __reduce__(self) -> Any:
        return Timed, (self._timed_inner,)

    def __getattr__(self, name: str) -> Any:
        if name == "_timed_inner":
            raise AttributeError(name)  # while it is being copied
        found = getattr(self._timed_inner, name)
        return _many(found) if name == "__getitems__" and found else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._timed_inner, name, value)

    def __len__(self) -> int:
        return len(self._timed_inner)

    def __getitem__(self, index: Any) -> Any:
        times = _times()
        began = times.begin()
        found = self._timed_inner[index]
        times.note(began, index)
        return found

    def __iter__(self) -> Iterator[Any]:
        samples = iter(self._timed_inner)
        number = 0
        while True:
            times = _times()
            began = times.begin()
            try:
                found = next(samples)
            except StopIteration:
                return
            times.note(began, f"number {number}")
            number += 1
            yield found


def _many(fetch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def timed(indices: Any) -> Any:
        times = _times()
        began = times.begin()
        found = fetch(indices)
        times.note(began, f"one of {len(indices)} fetched at once", len(indices))
        return found

    return timed


class Collate:
    """A collate function that closes the account of its batch."""

    def __init__(self, inner: Callable[[Any], Any]) -> None:
        self.inner = inner

    def __call__(self, samples: Any) -> Parcel:
        times, worker = _times(), get_worker_info()
        now = times.begin()  # only where no sample was timed
        fetched, cpu_fetch, queued_fetch = now, time.thread_time(), times.meter.queued()
        batch = self.inner(samples)
        end, cpu, waited = time.perf_counter(), time.thread_time(), times.meter.queued()
        process = time.process_time()
        beside = process - times.process - (cpu - times.cpu) if worker else 0.0
        row = (
            float(worker.id if worker else -1), times.start, fetched, end,
            cpu_fetch - times.cpu, cpu - times.cpu, queued_fetch - times.waited, waited - times.waited,
            max(0.0, beside), float(times.samples), times.slowest,
        )  # fmt: skip
        name, times.process = times.name, process
        times.clear()
        return Parcel(batch, _FORM.pack(*row), name)


def timed(loader: Any) -> Any | None:
    """A loader that yields `Parcel`s in the same order, or None where the inside of a loader cannot be seen.

    Args:
        loader: anything; a `DataLoader` whose iteration is torch's own, or torchdata's, is copied, and shares sampler
            and generator.
    """
    own = isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__
    own = own and type(loader)._get_iterator is DataLoader._get_iterator
    if (not own and not adapters.stateful(loader)) or _is_pipe(loader.dataset):
        return None
    twin = copy.copy(loader)
    twin.__dict__["dataset"] = Timed(loader.dataset)  # torch refuses the plain assignment, for fear of a new length
    twin.__dict__["collate_fn"] = Collate(loader.collate_fn)
    twin.__dict__["_iterator"] = None
    return twin


def _is_pipe(dataset: Any) -> bool:
    return any(c.__name__ in ("IterDataPipe", "MapDataPipe") for c in type(dataset).__mro__)
