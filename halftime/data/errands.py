"""What goes to a worker and what is counted there: indices that start its clock, a collate function that stops it."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from halftime.errors import BadData, shorten

DONE, WORK, CPU, COLLATE, SLOWEST = range(5)  # what a worker counts: batches, seconds of work, of them CPU and collate
LIMITS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # on processes, on memory, on open files
_arrived = [0.0, 0.0]  # in a worker: when it took up its batch, by the clock and in CPU seconds


class Errand:
    """The indices of one batch on their way to a worker, which starts its clock when they arrive."""

    def __init__(self, indices: Any) -> None:
        self.indices = indices

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return _taken_up, (self.indices,)


def _taken_up(indices: Any) -> Any:
    _arrived[:] = time.perf_counter(), _processor()
    return indices


@functools.cache
def _schedule() -> int | None:
    """The kernel's account of this process, open; only ever asked for in a worker, by its one thread."""
    try:
        return os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _processor() -> float:
    """Seconds this process had the processor or stood in line for it: both are want of a processor."""
    account = _schedule()
    if account is None:
        return time.process_time()
    had, stood = os.pread(account, 64, 0).split()[:2]
    return (int(had) + int(stood)) / 1e9


class Counted:
    """The user's collate function; after each batch it writes into the worker's row of counters, in shared memory."""

    def __init__(self, collate: Callable[[Any], Any], row: Tensor) -> None:
        self.collate, self.row = collate, row

    def __call__(self, samples: Any) -> Any:
        started = time.perf_counter()
        batch = self.collate(samples)
        now, row = time.perf_counter(), self.row
        row[WORK] += now - _arrived[0]
        row[CPU] += _processor() - _arrived[1]
        row[COLLATE] += now - started
        row[SLOWEST] = max(float(row[SLOWEST]), now - _arrived[0])
        row[DONE] += 1
        return batch


def introduced(number: int, init: Callable[[int], None] | None, _worker: int) -> None:
    """A worker learns its number in the pool; in its own lane it is number 0."""
    info = get_worker_info()
    if info is not None:
        object.__setattr__(info, "id", number)
        object.__setattr__(info, "num_workers", max(number + 1, info.num_workers))
    if init is not None:
        init(number)


@contextlib.contextmanager
def sendable(loader: DataLoader[Any]) -> Iterator[None]:
    """What cannot be sent to a worker, and a system that allows no more processes, is one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own lines on it are three
            yield
    except (TypeError, AttributeError, ValueError) as error:
        raise _unsendable(loader, error) from error
    except OSError as error:
        if error.errno not in LIMITS:
            raise
        raise BadData(
            f"no worker process can be started ({error.strerror}): allow more processes (docker run --pids-limit, "
            "ulimit -u), or use fewer workers"
        ) from error
    except Exception as error:
        if type(error).__name__ == "PicklingError":
            raise _unsendable(loader, error) from error
        raise


def _unsendable(loader: DataLoader[Any], error: Exception) -> BadData:
    what = type(loader.dataset).__name__
    return BadData(
        f"the data set ({what}), its collate function or its transform cannot be sent to a worker process "
        f"({shorten(str(error), 90)}): define them at the top of a module, without lambdas and open files, or "
        "use no workers"
    )
