"""Workers on this machine: processes of their own, each with its share of the cores or a device, and nothing shared.

They read jobs from their standard input and write answers to their standard output, a line each, and end when that
input does: also where this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import torch

from halftime.errors import BadValue, Stopped, shorten
from halftime.ledger.interrupts import Interrupts
from halftime.measure.device import pick
from halftime.search.engine import GRACE, Answer, Pool, share
from halftime.search.work import Place

LOOK = 0.1  # seconds between two looks at whether workers live
NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # what libraries of numbers obey


class Worker:
    """A process that trains one job after the other.

    Args:
        cores: that it may use.
        device: that it trains on.
        inbox: where its answers go, with itself.
    """

    def __init__(
        self, cores: list[int], device: str | None, inbox: queue.SimpleQueue[tuple[Worker, Answer | None]]
    ) -> None:
        self.cores, self.device, self.inbox = cores, device, inbox
        self.number: int | None = None  # of the job that it trains
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path)  # what can be imported here, can there
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "halftime.search.worker", *map(str, cores)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,  # Ctrl-C is for this process to tell
            env={**os.environ, "PYTHONPATH": paths, **dict.fromkeys(NAMES, str(len(cores)))},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None, "it was made with a pipe"
        with self.process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # torn: the worker died over it
                    self.inbox.put((self, json.loads(line)))

    def send(self, number: int, job: Answer) -> None:
        """Give it a job."""
        self.number = number
        threads = min(len(self.cores), job["threads"])
        line = json.dumps({**job, "threads": threads, "device": self.device or job["device"]})
        assert self.process.stdin is not None, "it was made with a pipe"
        with contextlib.suppress(BrokenPipeError):  # it has died: that is seen when it is waited for
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def tell(self) -> None:
        """Tell it to end: to save what it trains, once; a second signal would tear it away from that."""
        if self.process.poll() is None:
            self.process.terminate() if self.number is not None else self._hang_up()

    def end(self, at_once: bool = False) -> None:
        """Wait until it has ended, for a while; whatever it started ends with it."""
        try:
            if not at_once:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(GRACE)
        finally:  # also where Ctrl-C came a second time
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._hang_up()
            self._reader.join(LOOK)

    def _hang_up(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


class Workers(Pool):
    """Several workers on this machine.

    Args:
        count: of them.
        device: as in `train`; "cuda", or None where there is CUDA, gives each worker one of the devices in turn.

    Raises:
        BadValue: more workers than cores, or none.

    Example:
        >>> with Workers(1, "cpu") as engine:
        ...     engine.workers
        1
    """

    def __init__(self, count: int, device: str | None = None) -> None:
        cores = (
            sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        )
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(cores):
            raise BadValue(
                f"workers must be a whole number from 1 to {len(cores)}, the cores here, not {shorten(count)}"
            )
        where = pick(device)
        spread = where.type == "cuda" and where.index is None
        devices = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if spread else [device]
        alike = len({torch.cuda.get_device_name(name) for name in devices}) == 1 if spread else False
        self.parts = share(cores, count)
        self.devices = [devices[k % len(devices)] for k in range(count)]
        each = count == 1 or (spread and alike and count <= len(devices))
        own = f"{len(self.parts[0])} of {len(cores)} cores" + (", a device of its own" if spread and each else "")
        words = f"{count} worker{'s' * (count > 1)} here, each with {own}"
        super().__init__(count, each, words, len(set(self.devices)))
        self._inbox: queue.SimpleQueue[tuple[Worker, Answer | None]] = queue.SimpleQueue()
        self._workers: list[Worker | None] = [None] * count

    def free(self) -> bool:
        """Whether a worker has nothing to do."""
        return any(worker is None or worker.number is None for worker in self._workers)

    def begin(self, number: int, job: Answer) -> None:
        """Give a job to a worker that is free; the first one starts it."""
        k = next(k for k, worker in enumerate(self._workers) if worker is None or worker.number is None)
        worker = self._workers[k]
        if worker is not None and worker.process.poll() is not None:  # it died while it had nothing to do
            worker.end(at_once=True)
            worker = None
        worker = worker or Worker(self.parts[k], self.devices[k], self._inbox)
        self._workers[k] = worker
        worker.send(number, job)

    def wait(self, place: Place) -> tuple[int, Answer | None, str]:
        """The next answer, or the next death."""
        with Interrupts() as stop:
            while True:
                if stop.signal is not None:
                    raise Stopped(place.search, 0, stop.signal)
                if news := self._news() or self._dead():
                    return news

    def _news(self) -> tuple[int, Answer | None, str] | None:
        """The next answer of a worker that is still one of these."""
        try:
            worker, answer = self._inbox.get(timeout=LOOK)
        except queue.Empty:
            return None
        number, worker.number = worker.number, None
        return (number, answer, "") if number is not None and worker in self._workers else None

    def _dead(self) -> tuple[int, None, str] | None:
        """Take away a worker that died over a job; what it said before is heard first."""
        for k, worker in enumerate(self._workers if self._inbox.empty() else ()):
            if worker is None or worker.number is None or (code := worker.process.poll()) is None:
                continue
            number, self._workers[k] = worker.number, None
            worker.end(at_once=True)
            why = f"signal {-code}" + (", perhaps for want of memory" if code == -9 else "") if code < 0 else f"{code}"
            return number, None, f"its worker died ({why})"
        return None

    def stop(self) -> None:
        """End the workers that train something; those that do not stay for what comes."""
        self._end([k for k, worker in enumerate(self._workers) if worker is not None and worker.number is not None])

    def close(self) -> None:
        """End all workers."""
        self._end(list(range(self.workers)))

    def _end(self, numbers: list[int]) -> None:
        ending = [worker for k in numbers if (worker := self._workers[k]) is not None]
        for k in numbers:
            self._workers[k] = None
        for worker in ending:  # all hear of it before one is waited for
            worker.tell()
        try:
            while ending:
                ending[-1].end()
                ending.pop()
        finally:
            for worker in ending:
                worker.end(at_once=True)
