"""How many workers this machine allows, from what is free and from what a worker was seen to need."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPARED = 0.9  # of what is free may be used
DEEPEST = 16  # batches that one worker works ahead, at most


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
