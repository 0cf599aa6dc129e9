"""Batches made ahead of the step by helpers, in order, and the same bit for bit as without them.

Every sample's randomness comes from (seed, epoch, position), so it does not matter who makes it, nor when. A data set
that gives whole batches is read by threads; one that gives samples is read by processes, through torch's `DataLoader`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing as mp
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from halftime.data.batch import tensors
from halftime.data.compact import compacted
from halftime.data.feed import Feed, fetch, in_turn
from halftime.data.helper import SIGNALS, Failed, Maker, as_it_is, settle
from halftime.data.kinds import by_batch
from halftime.data.room import RAISE, fitting
from halftime.data.served import Early, Ticket
from halftime.errors import BadData, shorten

Served = Generator[tuple[Ticket, Any]]


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Serves through helpers: `Feed(..., serve=Ahead(workers=2))`.

    Args:
        workers: how many helpers; 0 for none.
        ahead: batches that each of them may have ready.
        context: how processes are started: "fork", "spawn" or "forkserver"; the cheapest there is if None.
        told: what the user should know; a warning is given, too.
    """

    workers: int = 2
    ahead: int = 2
    context: str | None = None
    told: list[str] = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, feed: Feed, tickets: Iterator[Ticket]) -> Served:
        """Make the batches of tickets."""
        workers, ahead, early = self.workers, self.ahead, Early(tickets)
        if workers and by_batch(feed.dataset):
            return early.served(by_threads(feed, early, workers, ahead))
        if workers:
            workers, ahead, text = fitting(partial(_bytes, feed), workers, ahead)
            if text:
                self.told.append(text)
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        if not workers:
            return in_turn(feed, tickets)
        return early.served(by_processes(feed, early, workers, ahead, self.context))


def _bytes(feed: Feed) -> int:
    """Of one batch in shared memory, each tensor of which takes whole pages."""
    return sum(t.numel() * t.element_size() + 4096 for t in tensors(feed.look()))


def by_threads(feed: Feed, tickets: Iterator[Ticket], workers: int, ahead: int) -> Served:
    """Serve a data set that gives whole batches: its work is done outside of Python, where threads are enough."""
    mine = threading.local()

    def make(ticket: Ticket) -> Any:
        if not hasattr(mine, "generator"):
            mine.generator = torch.Generator()
        return fetch(feed.dataset, ticket.ids, (feed.seed, ticket.epoch, ticket.position), mine.generator)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="halftime-loader")
    waiting: deque[tuple[Ticket, Future[Any]]] = deque()
    try:
        while True:
            waiting.extend((t, pool.submit(make, t)) for t in islice(tickets, workers * ahead - len(waiting)))
            if not waiting:
                return
            feed.served.stood(sum(made.done() for _, made in waiting))
            ticket, made = waiting.popleft()
            try:
                batch = made.result()
            except Exception as error:
                error.add_note(f"in the batch of samples {shorten(ticket.ids.tolist())}")
                raise
            yield ticket, batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def by_processes(feed: Feed, tickets: Iterator[Ticket], workers: int, ahead: int, context: str | None = None) -> Served:
    """Serve a data set that gives samples.

    Raises:
        BadData: a sample could not be made, a process died, or the data set cannot be sent to processes.
    """
    way = mp.get_context(context or ("fork" if "fork" in mp.get_all_start_methods() else "spawn"))
    at = way.RawArray("q", [-1] * workers)  # the sample that each process works on
    waiting: deque[Ticket] = deque()

    def work() -> Iterator[tuple[int, int, Any]]:
        for ticket in tickets:
            waiting.append(ticket)
            yield ticket.epoch, ticket.position, ticket.ids.numpy()

    def loader() -> DataLoader[Any]:
        return DataLoader(
            Maker(compacted(feed.dataset), feed.seed, at), batch_size=None, sampler=work(), num_workers=workers,
            prefetch_factor=ahead, collate_fn=as_it_is, worker_init_fn=settle, multiprocessing_context=way,
            generator=torch.Generator(),
        )  # fmt: skip

    made = _started(loader)
    helpers = list(getattr(made, "_workers", []))
    try:
        while True:
            if (ready := _ready(made)) >= 0:
                feed.served.stood(ready)
            batch = _next(made, helpers, at)
            if batch is _DONE:
                return
            if isinstance(batch, Failed):
                failure = BadData(batch.line)
                failure.add_note(batch.trace)
                raise failure
            yield waiting.popleft(), batch
    finally:
        _ended(made, helpers)


def _ended(made: Any, helpers: list[Any]) -> None:
    """End the processes, and the threads that hand them their work: torch itself would take its time."""
    getattr(made, "_shutdown_workers", lambda: None)()
    for helper in helpers:
        if helper.is_alive():  # in the middle of something long: it hears no signal but this one
            helper.kill()
        helper.join()
    for thread in [getattr(queue, "_thread", None) for queue in getattr(made, "_index_queues", [])]:
        if thread is not None:
            thread.join(1.0)


_DONE = object()


def _ready(made: Any) -> int:
    """Batches that are made: those that overtook the one to come next, and those in the pipe; -1: cannot be counted."""
    try:
        return sum(len(about) == 2 for about in made._task_info.values()) + int(made._worker_result_queue.qsize())
    except (AttributeError, NotImplementedError, OSError):  # another torch, or a system that does not count
        return -1


def _next(made: Iterator[Any], helpers: list[Any], at: Any) -> Any:
    """The next batch, or one line about the process that died."""
    try:
        return next(made, _DONE)
    except (RuntimeError, OSError, EOFError) as error:  # what it had made and not handed over is gone with it
        for helper in helpers:
            helper.join(0.5 / len(helpers))
        dead = [(n, h.exitcode) for n, h in enumerate(helpers) if h.exitcode is not None]
        if not dead:
            raise
        number, code = dead[0]
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        sample = f" at sample {at[number]}" if at[number] >= 0 else ""
        advice = {
            -signal.SIGBUS: f"shared memory is full: {RAISE}",
            -signal.SIGKILL: "is the memory used up? take fewer workers, or fewer batches ahead",
        }.get(code, "fetch that sample without workers to see why")
        raise BadData(f"a loader process died ({cause}){sample}: {advice}") from error


def _started(loader: Callable[[], DataLoader[Any]]) -> Iterator[Any]:
    """The iterator with its processes; whatever torch changes in this process is put back."""
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    ours = threading.current_thread() is threading.main_thread()
    frozen = gc.get_freeze_count()
    if not frozen:
        gc.freeze()  # or the first collection in a process would copy every object of this one
    try:
        with warnings.catch_warnings(), _held_back():
            warnings.simplefilter("ignore")  # more workers than processors: the search measures whether it helps
            return iter(loader())
    except Exception as error:
        if type(error).__name__ not in ("PicklingError", "AttributeError", "TypeError", "ImportError"):
            raise
        raise BadData(
            f"the data set cannot be sent to loader processes ({error}): define its classes and functions at the "
            "top of a module, or use no workers"
        ) from error
    finally:
        if not frozen:
            gc.unfreeze()
        if ours and before is not None:  # torch's handler would raise anywhere in the loop, in a checkpoint too
            signal.signal(signal.SIGCHLD, before)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Inside, signals wait: a process that is just being started would die of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
