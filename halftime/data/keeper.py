"""Keep the queue of batches just ahead of the step, in anybody's loop: `for batch in Keeper(loader): ...`.

How many workers a `DataLoader` should have depends on the step, on the machine and on who else works on it, and all
three change while a run goes on. More is not better: workers take processor time from the thread that launches the
step, and memory. A keeper adds workers when the step waits, takes some away when they do not pay, and says what is
missing where no setting helps.

What is promised: batches come in exactly the order of the loader's sampler, none lost, none twice, whatever changes on
the way; with the same seed they are those of the plain loader. What is not: randomness *inside* workers. Every worker
has a seed of its own, but which worker makes a batch depends on the time, so random augmentation is only reproducible
if it is keyed by the sample. A data set that opens files should open them once in each process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from halftime.data.controller import Controller, Setting
from halftime.data.courier import Courier
from halftime.data.gauge import Gauge
from halftime.data.lanes import Pool
from halftime.data.limits import shared_memory as shm_free
from halftime.data.order import key
from halftime.errors import BadData, BadValue, shorten

COUNT = 8  # steps between two looks at the workers' counters, which are cheap
LOOKING = 0.002  # of the time, at most, for looks at memory, which are not
SOON = 10  # steps after a change until the new workers are looked at
NO_MORE = "a worker that could not be started"
NO_SHM = (
    "shared memory: there is no /dev/shm to hand batches over, so they are made in this process: give the container "
    "some (docker run --shm-size=8g)"
)


@dataclass
class Kept:
    """What has happened so far: totals, and the settings over time."""

    steps: int = 0
    waited: float = 0.0  # seconds that were paid
    stepped: float = 0.0
    settings: list[tuple[int, Setting, str]] = field(default_factory=list)  # from this step on, and why
    slowest: tuple[float, Any] = (0.0, None)  # the longest wait for one batch: seconds, its samples


class Keeper:
    """Serves a loader's batches with as many workers as pay, in the loader's order.

    Args:
        loader: any `DataLoader` over samples by index. With workers of its own it starts with as many and keeps at
            least one; without, it starts in this process.
        workers: never more than this many.
        memory: bytes that all workers together may hold; what is free on the machine, if it is not given. Under this
            limit or the next it starts with the fewest workers, since what one holds is not known before.
        shared_memory: bytes that waiting batches may take; what is free in /dev/shm, if it is not given.

    Raises:
        BadData: the data set cannot be served by index or sent to a worker, or no worker can be started.
        BadValue: the loader is no `DataLoader`, or a limit is no positive number.

    Example:
        >>> loader = DataLoader(torch.arange(6), batch_size=2)
        >>> keeper = Keeper(loader)
        >>> [batch.tolist() for batch in keeper]
        [[0, 1], [2, 3], [4, 5]]
        >>> keeper.summary()["steps"]
        3
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        workers: int = 16,
        memory: float | None = None,
        shared_memory: float | None = None,
    ) -> None:
        _checked(loader, workers, {"memory": memory, "shared_memory": shared_memory})
        self.loader, self.kept = loader, Kept()
        self.gauge = Gauge((memory, shared_memory), workers)
        self._idle: Pool | None = None  # persistent workers, between two epochs
        self._seed: int | None = None
        self._pools = 0  # so far
        self._refused, self._look_at, self._ready = ("", 0), 0.0, 0
        least, start, why = min(1, loader.num_workers, workers), min(loader.num_workers, workers), "as the loader says"
        if memory is not None or shared_memory is not None:
            start, why = least, "the fewest, under a limit"
        if shm_free() is None:
            least, start, workers, why = 0, 0, 0, NO_SHM
        self.controller = Controller(Setting(start, loader.prefetch_factor or 2), least, workers)
        self._note(why)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return self._served()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End workers that persist for the next epoch; the others have ended with theirs."""
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.close()

    def __del__(self) -> None:
        if getattr(self, "_idle", None) is not None:  # left to the garbage collector, PyTorch waits seconds for them
            self.close()

    @property
    def advice(self) -> str:
        """The missing resource in one line, where no setting can help; empty while the step hardly waits."""
        if shm_free() is None:
            return NO_SHM
        return self._refused[0] or self.gauge.advice(self.controller, self.kept.slowest)

    def summary(self) -> dict[str, Any]:
        """What was done and why, ready for JSON.

        Returns:
            steps; stall, the share of the time that was paid for waiting; stall_now, the same in the last window;
            settings over time, each with the step from which on it held and why; caps; most_held, the most bytes
            that the workers held together; service, seconds of work in a batch; advice, the missing resource.
        """
        kept, gauge = self.kept, self.gauge
        return {
            "steps": kept.steps,
            "stall": kept.waited / max(1e-9, kept.waited + kept.stepped),
            "stall_now": self.controller.share,
            "settings": [
                {"step": step, "workers": s.workers, "prefetch": s.prefetch, "why": why}
                for step, s, why in kept.settings
            ],
            "caps": {"workers": self.controller.most, "because": self.controller.most_why or "the limit on workers"},
            "most_held": gauge.most_held,
            "service": gauge.service,
            "advice": self.advice,
        }

    def __str__(self) -> str:
        now, kept = self.controller.setting, self.kept
        share = f"{kept.waited / max(1e-9, kept.waited + kept.stepped):.1%}".replace("%", " %")
        lines = [
            f"{kept.steps} steps, {share} of the time waiting for data; now {now.workers} workers x {now.prefetch}"
        ]
        lines += [f"  from step {step}: {s.workers} workers x {s.prefetch}: {why}" for step, s, why in kept.settings]
        return "\n".join([*lines, *([f"  missing: {self.advice}"] if self.advice else [])])

    def _served(self) -> Generator[Any]:
        loader = self.loader
        indices = iter(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
        pool, self._idle = self._idle, None
        if pool is None:
            if self._seed is None or not loader.persistent_workers:  # when a plain loader draws the same number
                self._seed = int(torch.empty((), dtype=torch.int64).random_(generator=loader.generator))
            self._pools += 1
            pool = Pool(loader, key(self._seed, self._pools, 0))
            self.gauge.restart()
        whole, courier = False, Courier(pool)
        try:
            pool.begin(indices, self.controller.setting)
            yield from self._batches(courier)
            whole = True
        finally:
            keep = whole and loader.persistent_workers and bool(pool.lanes) and self._idle is None
            courier.close(keep)
            self._idle = pool if keep else self._idle

    def _batches(self, courier: Courier) -> Generator[Any]:
        """Waiting is all the time from being asked to giving: for the batch, and for what is done to the workers."""
        clock, kept, gauge, pool = time.perf_counter, self.kept, self.gauge, courier.pool
        step = -1.0  # seconds of the step before, which the first batch of an epoch has not
        courier.send(_nothing)
        while True:
            drained, here, asked = _drained(), courier.here, clock()
            if here:
                gauge.starts()
            try:
                batch = courier.take()
            except StopIteration:
                return
            late = clock() - asked
            if here:
                gauge.made_here(late)
            gauge.handed(batch)
            paid = drained()
            if step >= 0:
                self._towards(pool, late + step)
            courier.send(partial(self._between, courier, late if paid else 0.0, step))
            begun = clock()
            kept.waited += begun - asked if paid else 0.0
            yield batch
            step = clock() - begun
            del batch
            kept.steps += 1
            kept.stepped += step

    def _between(self, courier: Courier, wait: float, step: float) -> None:
        """While the next batch is on its way: look at what there is, ask the controller."""
        controller, gauge, pool, kept = self.controller, self.gauge, courier.pool, self.kept
        ready, self._ready = self._ready, pool.ready()
        if step < 0:
            return
        since = kept.steps - kept.settings[-1][0]
        if not ready and wait > kept.slowest[0]:
            kept.slowest = wait, pool.last
        if since % COUNT == COUNT // 2:
            gauge.count(pool)
            if courier.idle and gauge.looked:
                controller.limit(*gauge.most(controller.setting))
        if self._refused[0]:
            controller.limit(self._refused[1], NO_MORE)
        action = controller.observe(wait, step, ready, gauge.service)
        if action is not None:
            self._note(action.why)
        if courier.idle:
            self._errands(courier, since)

    def _towards(self, pool: Pool, seconds: float) -> None:
        """One move to where the controller wants to be, between two batches and in the loop's own thread."""
        controller = self.controller
        try:
            pool.towards(controller.setting, 1 + min(15, int(0.1 / max(1e-4, seconds))))
        except BadData as error:  # it goes on with those there are, unless the user has asked for more
            there = len(pool.lanes)
            if there < controller.least:
                raise
            self._refused = str(error), there
            controller.limit(there, NO_MORE)
            controller.setting = Setting(there, controller.setting.prefetch)
            self._note(f"taken back: {error}")

    def _errands(self, courier: Courier, since: int) -> None:
        """While the step runs: end workers that are done; see what the others hold, so rarely that it costs nothing."""
        pool = courier.pool
        look = (since == SOON and bool(self.controller.setting.workers)) or time.perf_counter() > self._look_at
        if not (look or pool.done):
            return
        pids, queued, done = pool.pids(), pool.queued(), pool.take_done()

        def errand() -> None:
            for lane in done:
                lane.close()
            if look:
                began = time.perf_counter()
                self.gauge.look(pids, queued)
                now = time.perf_counter()
                self._look_at = now + (now - began) / LOOKING

        courier.run(errand)

    def _note(self, why: str) -> None:
        self.kept.settings.append((self.kept.steps, self.controller.setting, why))


def _drained() -> Callable[[], bool]:
    """Has the device finished all it was given before the wait began? A wait while it is busy costs nothing."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return _yes
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    done: Callable[[], bool] = event.query
    return done


def _yes() -> bool:
    return True


def _nothing() -> None:
    pass


def _checked(loader: Any, workers: Any, limits: dict[str, Any]) -> None:
    if not isinstance(loader, DataLoader):
        raise BadValue(f"Keeper needs a torch.utils.data.DataLoader, not {shorten(loader)}")
    if isinstance(loader.dataset, IterableDataset):
        raise BadData(
            f"Keeper needs samples by index; {type(loader.dataset).__name__} is an IterableDataset, whose workers "
            "decide among themselves who reads what: use the plain loader"
        )
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
        raise BadValue(f"workers must be a whole number from 0 on, not {shorten(workers)}")
    for name, value in limits.items():
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0):
            raise BadValue(f"{name} must be a positive number of bytes, not {shorten(value)}")
