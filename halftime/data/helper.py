"""What happens inside a process that makes batches."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, get_worker_info

from halftime.data.feed import fetch

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def settle(_: int) -> None:
    """First thing in a process: signals are for the main one, which decides when all of them end."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def as_it_is(batch: Any) -> Any:
    """No collating: a batch is whole when it comes."""
    return batch


class Failed(NamedTuple):
    """What a process sends instead of a batch."""

    line: str
    trace: str


class Maker(Dataset[Any]):
    """Makes batches in a process, and notes which sample it is at."""

    def __init__(self, dataset: Any, seed: int, at: Any) -> None:
        self.dataset, self.seed, self.at, self.number = dataset, seed, at, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, work: tuple[int, int, Any]) -> Any:
        epoch, position, ids = work
        info = get_worker_info()
        self.number = info.id if info is not None else 0
        try:
            whole = hasattr(self.dataset, "served")  # asked for the batch as it is elsewhere, not for samples
            batch = fetch(self.dataset if whole else _Noting(self), torch.from_numpy(ids), (self.seed, epoch, position))
            _check(batch)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(frame.filename)}, line {frame.lineno}"  # noqa: PTH119 - not a path, a name
            where = f"sample {self.at[self.number]}" if self.at[self.number] >= 0 else "collating a batch"
            return Failed(f"{where}: {type(error).__name__}: {error} ({place})", traceback.format_exc())
        return batch


class _Noting:
    """A data set that leaves word of the sample it is asked for."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def __getitem__(self, index: int) -> Any:
        maker = self.maker
        maker.at[maker.number] = index
        sample = maker.dataset[index]
        maker.at[maker.number] = -1
        return sample


def _check(batch: Any) -> None:
    """What cannot go from one process to another is refused here; it would be lost without a word otherwise."""
    for leaf in _leaves(batch):
        if not isinstance(leaf, (torch.Tensor, int, float, complex, str, bytes, type(None))):
            ForkingPickler.dumps(leaf)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _leaves(part)
    else:
        yield tree
