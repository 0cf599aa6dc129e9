"""What the workers of a keeper cost: seconds of work, where they go, and bytes. How many are allowed; what is short."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from halftime.data.batch import tensors
from halftime.data.controller import PAID, Controller, Setting
from halftime.data.errands import COLLATE, CPU, DONE, WORK
from halftime.data.lanes import Pool
from halftime.data.limits import MIB, cores, memory, private, resident, shared_memory
from halftime.errors import shorten

BUSY = 0.7  # of the work on the processor: then it is the processor that it needs
SPARED = 0.9  # of what is free may be used
DEEPEST = 16  # batches that one worker works ahead, at most
MEMORY = 0.5  # weight of what was known when something new is measured


@dataclass(frozen=True)
class Needs:
    """What was measured of the work: bytes of a batch, bytes of a worker, and is a worker busy with the processor?"""

    batch: int = 0
    worker: int = 0
    on_processor: bool = False


@dataclass(frozen=True)
class Caps:
    """What may be used by all workers together, besides what they use already.

    Args:
        cores: processors.
        memory: bytes; None if nobody knows.
        shared_memory: bytes in /dev/shm; None if there is no such place.
        workers: never more than this many.
    """

    cores: float
    memory: int | None
    shared_memory: int | None
    workers: int

    def most(self, needs: Needs, prefetch: int) -> tuple[int, str]:
        """The most workers, and which resource says so.

        Example:
            >>> caps = Caps(cores=4, memory=1000, shared_memory=500, workers=8)
            >>> caps.most(Needs(batch=10, worker=300), prefetch=2)
            (2, 'memory')
            >>> caps.most(Needs(batch=100, worker=30), prefetch=2)
            (1, 'shared memory')
        """
        found = [(self.workers, "the limit on workers")]
        if needs.on_processor:
            found.append((max(1, math.ceil(self.cores)), "CPU"))
        held = needs.batch * prefetch
        if self.memory is not None and needs.worker + held:
            found.append((int(SPARED * self.memory) // (needs.worker + held), "memory"))
        if self.shared_memory is None:
            found.append((0, "shared memory"))
        elif held:
            found.append((int(SPARED * self.shared_memory) // (held + needs.batch), "shared memory"))
        return min(found)

    def deepest(self, needs: Needs, workers: int) -> int:
        """How many batches each of so many workers may work ahead, one more of each being handed over.

        Example:
            >>> Caps(cores=4, memory=None, shared_memory=500, workers=8).deepest(Needs(batch=10), workers=4)
            10
        """
        found = [DEEPEST]
        each = max(1, needs.batch * workers)
        if self.memory is not None:
            found.append(int(SPARED * self.memory - workers * needs.worker) // each)
        if self.shared_memory is not None:
            found.append(int(SPARED * self.shared_memory) // each - 1)
        return max(0, min(found))


class Gauge:
    """Measures the work of one keeper's workers, or of this process while there are none.

    Args:
        limits: bytes of memory and of shared memory for all workers; None: what is free.
        workers: never more than this many.
    """

    def __init__(self, limits: tuple[float | None, float | None], workers: int) -> None:
        self.limits, self.workers = limits, workers
        self.looked: Caps | None = None  # what was allowed when somebody looked last
        self.service: float | None = None  # seconds of work in a batch
        self.on_processor, self.in_collate = 0.0, 0.0  # shares of it
        self.batch, self.worker, self.held, self.most_held = 0, 0, 0, 0  # bytes
        self._before = [0.0] * 5
        self._cpu = 0.0
        self._seen: dict[int, int] = {}  # bytes of each worker, that which was looked at longest ago first

    def handed(self, batch: Any) -> None:
        """The first batch says how large they are."""
        self.batch = self.batch or max(1, sum(t.numel() * t.element_size() for t in tensors(batch)))

    def restart(self) -> None:
        """The counters of a new pool begin at zero."""
        self._before = [0.0] * 5

    def starts(self) -> None:
        """This process starts on a batch of its own."""
        self._cpu = time.thread_time()

    def made_here(self, seconds: float) -> None:
        """This process has made a batch of its own."""
        self._learn(1, seconds, min(seconds, time.thread_time() - self._cpu), 0.0)

    def count(self, pool: Pool) -> None:
        """Read what the workers have counted since the last time."""
        now = pool.counted()
        new = [after - before for after, before in zip(now, self._before, strict=True)]
        if new[DONE] >= 1:
            self._learn(new[DONE], new[WORK], new[CPU], new[COLLATE])
            self._before = now

    def _learn(self, batches: float, work: float, cpu: float, collate: float) -> None:
        old = 0.0 if self.service is None else MEMORY
        self.service = old * (self.service or 0.0) + (1 - old) * work / batches
        self.on_processor = old * self.on_processor + (1 - old) * cpu / max(work, 1e-9)
        self.in_collate = old * self.in_collate + (1 - old) * collate / max(work, 1e-9)

    def look(self, pids: set[int], queued: int) -> None:
        """See what the machine and the user allow now; what the workers hold already counts as theirs.

        Args:
            pids: the processes of the workers.
            queued: batches that are ready or being made.
        """
        self._seen = {pid: held for pid, held in self._seen.items() if pid in pids}
        new = [pid for pid in pids if pid not in self._seen]
        for pid in [max(new)] if new else [*self._seen][:1]:  # one at a time, since the kernel takes its time
            self._seen.pop(pid, None)
            self._seen[pid] = sum(private([pid]))
        self.worker = max([self.worker, *self._seen.values()])
        waiting = queued * self.batch
        self.held = sum(self._seen.values()) + len(new[1:]) * self.worker + waiting
        self.most_held = max(self.most_held, self.held)
        free, room = memory(), shared_memory()
        allowed = self.limits[0] if self.limits[0] is not None else None if free is None else free + self.held
        handed = self.limits[1] if self.limits[1] is not None else None if room is None else room + waiting
        self.looked = Caps(cores(), _whole(allowed), _whole(handed), self.workers)

    def most(self, setting: Setting) -> tuple[int, str, int]:
        """The most workers, which resource says so, and how far ahead those there are may work, by the last look.

        A worker that nobody has measured yet may come to be as large as this process.
        """
        assert self.looked is not None
        each = self.worker or resident()
        needs = Needs(self.batch, each, self.on_processor > BUSY)
        most, why = self.looked.most(needs, setting.prefetch)
        deepest = max(setting.prefetch, self.looked.deepest(needs, max(1, setting.workers)))
        most = most if self.worker or why == "shared memory" else max(min(1, self.workers), most)
        return most, why, deepest

    def advice(self, controller: Controller, slowest: tuple[float, Any]) -> str:
        """The missing resource in one line; empty while the step hardly waits."""
        if controller.share <= PAID or not controller.short:
            return ""
        ms, cost = 1000 * (self.service or 0.0), controller.setting.workers
        part = "; most of it puts samples together (collate)" if self.in_collate > 0.5 else ""
        busy = f"CPU: a batch is {ms:.3g} ms of work on the processor{part}, and {cores():.3g} cores are there: make "
        busy += "the transforms cheaper, pack the data, or take a machine with more cores"
        disk = (
            f"disk: a batch is {ms:.3g} ms of waiting for the data's source{part}, and more workers do not shorten it: "
        )
        disk += "put the data on a faster disk or into memory"
        lines = {
            "CPU": busy,
            "memory": f"memory: a worker holds {self.worker / MIB:.0f} MiB and there is room for {cost}: let the data "
            "set hold less (arrays instead of lists), or add memory",
            "shared memory": f"shared memory: a waiting batch takes {self.batch / MIB:.3g} MiB and /dev/shm has room "
            "for no more: raise it (docker run --shm-size=8g), or make batches smaller",
            "slow batches": f"one slow sample: a step waited {slowest[0]:.3g} s for the batch of samples "
            f"{shorten(slowest[1])}: look at the slowest of them",
            "handing over": "memory bandwidth: batches lie ready, handing them over takes the time: make them smaller "
            "(uint8, converted on the device)",
            "work": busy if self.on_processor > BUSY else disk,
        }
        return lines.get(
            controller.short, f"workers: the limit of {controller.most} keeps the step waiting: allow more"
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
