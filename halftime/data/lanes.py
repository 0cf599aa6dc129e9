"""A pool of workers whose size can change between any two batches, on PyTorch's own `DataLoader`.

A lane is a `DataLoader` with one worker. All lanes draw from one iterator over the batches of the user's sampler, and
the pool notes which lane drew which batch: a lane hands its batches over in the order in which it drew them, so asking
the lanes in the noted order gives exactly the order of the sampler, whatever the lanes are at the moment. A lane that
is to go draws no more; when its last batch is handed over it ends.

A pool belongs to one thread at a time: to the courier while it fetches a batch, to the loop in between.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from halftime.data.controller import Setting
from halftime.data.errands import DONE, SLOWEST, Counted, Errand, introduced, sendable
from halftime.data.order import key

PATIENCE = 1.0  # seconds of waiting for a batch until somebody looks whether it is still wanted


class Lane:
    """A loader with one worker, or with none: then it works when it is asked."""

    def __init__(self, pool: Pool, number: int, prefetch: int) -> None:
        self.pool, self.number, self.prefetch, self.hand = pool, number, prefetch, deque[Any]()
        self.going, self.received, self.drawn, self.pids = False, 0, 0, set[int]()
        self.row = torch.zeros(5, dtype=torch.float64)
        if prefetch:
            self.row.share_memory_()  # type: ignore[no-untyped-call]
        self.counts = self.row.numpy()  # the same memory, read without making tensors
        self._loader = self._made()
        self._batches: Iterator[Any] = iter(())

    def begin(self, hand: list[Any], prefetch: int) -> None:
        """Start on an epoch, with the batches dealt to it, and work so many ahead."""
        self.hand = deque(hand)
        if hasattr(self._batches, "_prefetch_factor"):  # of the epoch before, whose worker persists
            self._batches._prefetch_factor = self.prefetch = prefetch
        before = {p.pid for p in multiprocessing.active_children()}
        with sendable(self.pool.loader):
            self._batches = iter(self._loader)
        self.pids |= {p.pid for p in multiprocessing.active_children() if p.pid not in before and p.pid}

    def _made(self) -> DataLoader[Any]:
        of, worker = self.pool.loader, self.prefetch > 0
        batched = of.batch_sampler is not None
        return DataLoader(
            of.dataset,
            batch_sampler=self if batched else None,
            sampler=None if batched else self,
            batch_size=1 if batched else None,
            num_workers=int(worker),
            prefetch_factor=self.prefetch if worker else None,
            collate_fn=Counted(of.collate_fn, self.row) if worker else of.collate_fn,
            pin_memory=of.pin_memory,
            timeout=min(of.timeout or PATIENCE, PATIENCE) if worker else 0,
            worker_init_fn=functools.partial(introduced, self.number, of.worker_init_fn) if worker else None,
            multiprocessing_context=of.multiprocessing_context if worker else None,
            generator=torch.Generator().manual_seed(key(self.pool.seed, self.number, 0)),
            persistent_workers=worker and of.persistent_workers,
        )

    def __iter__(self) -> Iterator[Any]:  # the lane is the sampler of its loader
        return self

    def __next__(self) -> Any:
        if self.hand:
            indices = self.hand.popleft()  # dealt: the pool has noted it, and will ask for it
        elif self.going:
            raise StopIteration
        else:
            indices = self.pool.draw()
            self.pool.order.append((self, indices))
        self.drawn += 1
        return Errand(indices) if self.prefetch else indices

    def take(self) -> Any:
        """The next batch of this lane; waits for it, as long as the user's loader would and the pool is open."""
        begun, limit = time.monotonic(), self.pool.loader.timeout
        while True:
            try:
                batch = next(self._batches)
            except RuntimeError as error:
                if not str(error).startswith("DataLoader timed out"):
                    raise
                if limit and time.monotonic() - begun >= limit:
                    raise RuntimeError(f"DataLoader timed out after {limit:g} seconds") from error
                if self.pool.closing:
                    raise
            else:
                self.received += 1
                return batch

    def deepen(self) -> None:
        """Work one batch further ahead. PyTorch fixes it at the start; where its names have changed, it stays so."""
        more = getattr(self._batches, "_try_put_index", None)
        if more is not None and hasattr(self._batches, "_prefetch_factor"):
            self._batches._prefetch_factor += 1
            self.prefetch += 1
            more()

    @property
    def empty(self) -> bool:
        """Has everything it drew been handed over?"""
        return self.received == self.drawn and not self.hand

    def close(self) -> None:
        """End the worker now. Letting its loader go would do, too, but for what an error's traceback still holds."""
        self.going = True
        end = getattr(self._batches, "_shutdown_workers", None)  # not public, as old as the loader's workers
        self._batches = iter(())
        if end is not None:
            end()
        del self._loader


class Pool:
    """Serves the batches of one epoch by lanes that come and go.

    Args:
        loader: whose data set, sampler and collate function are used.
        seed: from which the seeds of the workers follow.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self.loader, self.seed = loader, seed
        self.order: deque[tuple[Lane, Any]] = deque()  # who makes the next batches, and of which samples
        self.last: Any = None  # the samples of the batch that was taken last
        self.lanes: list[Lane] = []  # that draw; the going ones are only in `order`
        self._numbers = itertools.count()
        self._indices: Iterator[Any] = iter(())
        self._stock = deque[Any]()  # drawn from the sampler, and not yet by a lane
        self._ended = False
        self.closing = False
        self.done: list[Lane] = []  # that have handed over their last batch, and whose workers are to be ended
        self._here: Lane | None = None
        self._lost = [0.0] * 5  # what the workers that went had counted

    def begin(self, indices: Iterator[Any], setting: Setting) -> None:
        """Start an epoch: the first batches are dealt in turn, so that all workers start on them at once."""
        self._indices, self._ended = indices, False
        self.order.clear()
        self._stock.clear()
        while len(self.lanes) > setting.workers:
            self._let_go(self.lanes[-1])
        while len(self.lanes) < setting.workers:
            self.lanes.append(Lane(self, next(self._numbers), setting.prefetch))
        drawn, turns = self._dealt(setting.workers * setting.prefetch), itertools.cycle(self.lanes)
        self.order.extend((next(turns), indices) for indices in drawn)
        for place, lane in enumerate(self.lanes):  # one that gets too few draws in vain: then the epoch is over
            lane.begin(drawn[place :: setting.workers], setting.prefetch)

    def _dealt(self, count: int) -> list[Any]:
        """The next so many batches of indices, as far as there are; here, so that a sampler's errors are its own."""
        drawn: list[Any] = []
        with contextlib.suppress(StopIteration):
            while len(drawn) < count:
                drawn.append(self.draw())
        return drawn

    def stock(self) -> None:
        """Draw what the next `take` will want, so that the user's sampler runs in the thread of the loop alone."""
        if not self._stock:
            self._stock.extend(self._dealt(1))

    def draw(self) -> Any:
        """The next batch of indices of the epoch."""
        if self._stock:
            return self._stock.popleft()
        if self._ended:
            raise StopIteration
        try:
            return next(self._indices)
        except StopIteration:
            self._ended = True
            raise

    def take(self) -> Any:
        """The next batch in the order of the sampler; StopIteration when there is none."""
        if not self.order:
            self._serve_here(1)
        lane, self.last = self.order.popleft()
        batch = lane.take()
        if lane.going and lane.empty and lane.prefetch:
            self._let_go(lane)
        return batch

    def _serve_here(self, batches: int) -> None:
        """The next so many batches are made in this process, each when it is asked for."""
        if self._here is None:
            self._here = Lane(self, -1, 0)
            self._here.begin([], 0)
        for _ in range(batches):
            indices = self.draw()
            self._here.hand.append(indices)
            self.order.append((self._here, indices))

    def towards(self, setting: Setting, ahead: int = 1) -> None:
        """One move towards a setting: a lane more, or one fewer; and each works one batch further ahead, or does not.

        Args:
            setting: where to go.
            ahead: batches that this process makes itself while the first worker starts.
        """
        if len(self.lanes) > setting.workers:
            leaving = self.lanes.pop()
            leaving.going = True
            if leaving.empty:
                self._let_go(leaving)
        if self._ended:
            return
        for lane in [lane for lane in self.lanes if lane.prefetch < setting.prefetch]:
            lane.deepen()
        if len(self.lanes) < setting.workers:
            if not self.order:
                with contextlib.suppress(StopIteration):
                    self._serve_here(ahead)
            self._widen(min(setting.prefetch, self.loader.prefetch_factor or 2))

    def _widen(self, depth: int) -> None:
        """A lane more. Where its worker cannot be started, what was dealt to it is there for the others."""
        hand = self._dealt(depth)
        if not hand:
            return
        lane = Lane(self, next(self._numbers), depth)
        try:
            lane.begin(hand, depth)
        except BaseException:
            self._stock.extendleft(reversed(hand))
            raise
        self.lanes.append(lane)
        self.order.extend((lane, indices) for indices in hand)

    def ready(self) -> int:
        """How many of the next batches lie ready, in a row."""
        found, left = 0, dict[Lane, int]()
        for lane, _ in self.order:
            if lane not in left:
                left[lane] = int(lane.counts[DONE]) - lane.received if lane.prefetch else 0
            if left[lane] <= 0:
                break
            left[lane] -= 1
            found += 1
        return found

    def here(self) -> bool:
        """Will the next batch be made in this process?"""
        return not self.order or not self.order[0][0].prefetch

    def queued(self) -> int:
        """Batches that are ready or being made."""
        return sum(1 for lane, _ in self.order if lane.prefetch)

    def counted(self) -> list[float]:
        """What all workers have counted so far; PyTorch has no counters of its own."""
        rows = [lane.counts.tolist() for lane in self._all() if lane.prefetch]
        sums = [sum(column) for column in zip(self._lost, *rows, strict=True)]
        sums[SLOWEST] = max((row[SLOWEST] for row in [self._lost, *rows]), default=0.0)
        return sums

    def _all(self) -> set[Lane]:
        return {*self.lanes, *(lane for lane, _ in self.order)}

    def take_done(self) -> list[Lane]:
        """The lanes that are to be closed, which takes some milliseconds and touches nothing else."""
        done, self.done = self.done, []
        return done

    def pids(self) -> set[int]:
        """The processes of all workers."""
        return {pid for lane in [*self._all(), *self.done] for pid in lane.pids}

    def _let_go(self, lane: Lane) -> None:
        counts = lane.counts.tolist()
        slowest = max(self._lost[SLOWEST], counts[SLOWEST])
        self._lost = [a + b for a, b in zip(self._lost, counts, strict=True)]
        self._lost[SLOWEST] = slowest
        if lane in self.lanes:
            self.lanes.remove(lane)
        lane.going = True
        self.done.append(lane)

    def close(self) -> None:
        """End all workers, whatever they are at."""
        self._ended = True
        for lane in [*self._all(), *self.take_done()]:
            lane.close()
        self.lanes, self._here = [], None
        self.order.clear()
