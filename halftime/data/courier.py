"""The next batch is received while the step runs, in a thread; so is what ends workers or looks at their memory.

Receiving a batch from a worker takes a good part of a millisecond even if it lies ready: the worker is asked for a
file, both prove who they are, and the file is mapped. A step of a few milliseconds must not wait for that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from halftime.data.lanes import Pool


class Courier:
    """Fetches the batches of one epoch from a pool, each one step ahead.

    The pool changes hands like a baton: from `send` to `take` it is the thread's, from `take` to `send` the loop's. A
    batch that is made in this process is made in the loop's own thread, as a plain loader does.

    Args:
        pool: to fetch from.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._thread = ThreadPoolExecutor(1, "halftime-keeper")
        self._coming: Future[Any] | None = None
        self._errand: Future[None] | None = None

    @property
    def here(self) -> bool:
        """Will the next batch be made in the loop's own thread?"""
        return self._coming is None

    @property
    def idle(self) -> bool:
        """Is there no errand that still runs?"""
        return self._errand is None or self._errand.done()

    def send(self) -> None:
        """Fetch the next batch, while the step runs."""
        self.pool.stock()
        self._coming = None if self.pool.here() else self._thread.submit(self.pool.take)

    def take(self) -> Any:
        """The batch that was sent for; waits for it. StopIteration when there is none."""
        coming, self._coming = self._coming, None
        return self.pool.take() if coming is None else coming.result()

    def run(self, errand: Callable[[], None]) -> None:
        """Do something after the batch is there that does not touch the pool; if the last one failed, it is told."""
        if self._errand is not None:
            self._errand.result()
        self._errand = self._thread.submit(errand)

    def close(self, keep: bool) -> None:
        """Come back without waiting for a slow batch; the pool is closed, too, unless it is to be kept."""
        self.pool.closing = True
        if self._coming is not None:
            self._coming.cancel()
            wait([self._coming])
        self._thread.shutdown()  # the errand is finished: it may be ending workers
        if keep:
            self.pool.closing = False
        else:
            self.pool.close()
