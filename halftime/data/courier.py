"""The next batch is received while the step runs, in a thread; so is what ends workers or looks at their memory.

Receiving a batch from a worker takes a good part of a millisecond even if it lies ready: the worker is asked for a
file, both prove who they are, and the file is mapped. A step of a few milliseconds must not wait for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
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
        self._jobs, self._brought = SimpleQueue[tuple[Callable[[], Any], bool] | None](), SimpleQueue[Any]()
        self._coming, self.idle = False, True  # idle: there is no errand that still runs
        self._failed: BaseException | None = None  # what an errand died of
        self._thread = threading.Thread(target=self._work, name="halftime-keeper", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            what, awaited = job
            done: tuple[Any, BaseException | None]
            try:
                done = what(), None
            except BaseException as error:  # for the loop's thread to raise, whatever it is
                done = None, error
            if awaited:
                self._brought.put(done)
            else:
                self._failed, self.idle = self._failed or done[1], True
            del job, what, done  # a batch is not held here

    @property
    def here(self) -> bool:
        """Will the next batch be made in the loop's own thread?"""
        return not self._coming

    def send(self, first: Callable[[], None]) -> None:
        """Fetch the next batch while the step runs, and do something with the pool before."""
        self.pool.stock()
        self._coming = not self.pool.here()
        if self._coming:
            self._jobs.put((partial(self._fetched, first), True))
        else:
            first()

    def _fetched(self, first: Callable[[], None]) -> Any:
        first()
        return self.pool.take()

    def take(self) -> Any:
        """The batch that was sent for; waits for it. StopIteration when there is none."""
        if self._failed is not None:
            raise self._failed
        if not self._coming:
            return self.pool.take()
        batch, error = self._brought.get()
        self._coming = False
        if error is not None:
            raise error
        return batch

    def run(self, errand: Callable[[], None]) -> None:
        """Do something after the batch is there that does not touch the pool."""
        self.idle = False
        self._jobs.put((errand, False))

    def close(self, keep: bool) -> None:
        """Come back without waiting for a slow batch; the pool is closed, too, unless it is to be kept."""
        self.pool.closing = True
        self._jobs.put(None)
        self._thread.join()  # with the errands: they may be ending workers
        self.pool.closing = False
        if not keep:
            self.pool.close()
