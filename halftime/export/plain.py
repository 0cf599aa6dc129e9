"""What an exported script has in the place of halftime's own machinery: the same numbers from fewer lines.

Nothing here is called by halftime. The exporter cuts these definitions out and carries them into the script.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from halftime.data.batch import mapped, size
from halftime.data.order import key

FILES = {  # the names of each data set's files, one pattern for each group of them; any of the forms will do
    "fashion_mnist": [
        [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    ],
    "cifar10": [["cifar-10-binary.tar.gz"], ["train-*.parquet", "test-*.parquet"]],
    "bccd": [["ImageSets/Main/train.txt", "ImageSets/Main/val.txt"]],
    "tinyshakespeare": [["input.txt"]],
}


def cache() -> Path:
    """Where downloaded and decoded data lie."""
    home = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "halftime"


def files(name: str) -> list[list[Path]]:
    """The files of a data set: in the folder that HALFTIME_DATA names, or in the cache."""
    for folder in (Path(os.environ.get("HALFTIME_DATA", cache())) / name, cache() / name):
        for form in FILES[name]:
            if all(found := [sorted(folder.glob(pattern)) for pattern in form]):
                return found
    raise FileNotFoundError(f"put {' or '.join(map(str, FILES[name]))} into {cache() / name}, or set HALFTIME_DATA")


def shuffled(seed: int, epoch: int, samples: int) -> Tensor:
    """The order of an epoch: a permutation that depends on seed and epoch alone."""
    return torch.randperm(samples, generator=torch.Generator().manual_seed(key(seed, epoch, 0)))


class Tensors:
    """Samples that are rows of tensors in memory."""

    def __init__(self, *columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def batch(self, ids: Tensor, generator: Any = None) -> Any:
        """Rows of every column; nothing is left to chance."""
        rows = tuple(column[ids.to(column.device)] for column in self.columns)
        return rows if len(rows) > 1 else rows[0]

    def with_columns(self, columns: tuple[Tensor, ...]) -> Tensors:
        """The same rows, which lie elsewhere."""
        return Tensors(*columns)


def as_dataset(source: Any) -> Any:
    """A data set from tensors; anything else is one already."""
    if isinstance(source, TensorDataset):
        source = source.tensors
    if isinstance(source, Tensor):
        source = (source,)
    return Tensors(*source) if isinstance(source, (tuple, list)) else source


def fetch_rows(dataset: Any, ids: Tensor, seed: int, epoch: int, position: int) -> Any:
    """A batch of samples that leave nothing to chance."""
    return dataset.batch(ids)


def fetch_batch(dataset: Any, ids: Tensor, seed: int, epoch: int, position: int) -> Any:
    """A batch whose chance comes from its place in the training: the position of its first sample in an epoch."""
    return dataset.batch(ids, torch.Generator().manual_seed(key(seed, epoch, position)))


def fetch_served(dataset: Any, ids: Tensor, seed: int, epoch: int, position: int) -> Any:
    """A batch whose chance comes from the ids of its samples."""
    return dataset.served(ids, seed, epoch)


def fetch_samples(dataset: Any, ids: Tensor, seed: int, epoch: int, position: int) -> Any:
    """A batch of samples read one by one; the chance of each comes from its position in an epoch."""
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    samples = []
    for offset, index in enumerate(ids.tolist()):
        bits = key(seed, epoch, position + offset)
        torch.default_generator.manual_seed(bits)
        random.seed(bits)
        np.random.seed(bits % 2**32)
        samples.append(dataset[index])
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    np.random.set_state(state[2])
    return default_collate(samples)


fetch = fetch_batch  # the exporter takes the one that fits the data


def batches(dataset: Any, batch_size: int, seed: int) -> Iterator[Any]:
    """Batches without end; order and chance depend on seed, epoch and position alone."""
    for epoch in itertools.count():
        order = shuffled(seed, epoch, len(dataset))
        whole = max(1, len(order) // batch_size) * batch_size  # what does not fill the last batch is left out
        for position in range(0, min(whole, len(order)), batch_size):
            yield fetch(dataset, order[position : min(whole, position + batch_size)], seed, epoch, position)


def in_turn(feed: Feed, tickets: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Make each batch when it is asked for."""
    for ticket in tickets:
        yield ticket, fetch(feed.dataset, ticket.ids, feed.seed, ticket.epoch, ticket.position)


@dataclasses.dataclass(frozen=True)
class Feed:
    """Training batches without end; order and chance depend on seed, epoch and position alone."""

    dataset: Any
    batch_size: int
    seed: int
    device: torch.device
    order: Any = shuffled
    serve: Any = in_turn
    growth: Any = None
    served: SimpleNamespace = dataclasses.field(default_factory=lambda: SimpleNamespace(step=0, epoch=0, ids=None))

    def indices(self, epoch: int) -> Tensor:
        """The samples of an epoch, cut to whole batches."""
        order: Tensor = self.order(self.seed, epoch, len(self.dataset))
        size = self.step_size(epoch)
        return order[: max(1, len(order) // size) * size]

    def step_size(self, epoch: int) -> int:
        """Samples in a step of an epoch."""
        return self.batch_size * (self.growth.times(epoch) if self.growth else 1)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in what counts as an epoch: the first one, unless the order says otherwise."""
        samples = len(self.dataset)
        usual = (
            self.order.usual(self.seed, samples)
            if hasattr(self.order, "usual")
            else len(self.order(self.seed, 0, samples))
        )
        return max(1, usual // self.batch_size)

    def tickets(self, step: int = 0) -> Iterator[Any]:
        """Which samples each batch has, from a step on."""
        numbers = itertools.count()
        for epoch in itertools.count():
            ids, size = self.indices(epoch), self.step_size(epoch)
            for position in range(0, len(ids), size):
                number = next(numbers)
                if number >= step:
                    some = ids[position : position + size]
                    yield SimpleNamespace(step=number, epoch=epoch, position=position, ids=some)

    def look(self, step: int = 0) -> Any:
        """The batch of one step, not counted as served; what waits stays as it is."""
        order, growth = (one.glance if hasattr(one, "glance") else one for one in (self.order, self.growth))
        seen = dataclasses.replace(self, order=order, growth=growth)
        return next(iter(in_turn(seen, seen.tickets(step))))[1]

    def batches(self) -> Iterator[Any]:
        """The batches; `served` tells about the last one."""
        for ticket, batch in self.serve(self, self.tickets()):
            self.served.step, self.served.epoch, self.served.ids = ticket.step + 1, ticket.epoch, ticket.ids
            yield batch


def micro_batches(inputs: Any, targets: Any, at_most: int) -> Iterator[tuple[Any, Any, float]]:
    """(inputs, targets, share of the batch) in pieces of `at_most` samples."""
    samples = size(inputs)
    for first in range(0, samples, at_most):
        cut = itemgetter(slice(first, first + at_most))
        yield mapped(inputs, cut), mapped(targets, cut), (min(first + at_most, samples) - first) / samples


def to_device(dataset: Any, device: torch.device) -> Any:
    """The data set over columns that lie on a device."""
    return dataset.with_columns(tuple(column.to(device) for column in dataset.columns))


def packed(dataset: Any, where: str, device: torch.device) -> Any:
    """The data set over columns in flat files, which each run writes into a temporary folder."""
    if not hasattr(dataset, "columns"):  # samples that are read one by one: read them once
        dataset = as_dataset(default_collate([dataset[i] for i in range(len(dataset))]))
    place = tempfile.TemporaryDirectory()
    mapped = []
    for number, column in enumerate(dataset.columns):
        path = Path(place.name) / f"{number}.npy"
        np.save(path, column.numpy(), allow_pickle=False)
        mapped.append(torch.from_numpy(np.load(path, mmap_mode=None if where == "memory" else "c")))
    served = dataset.with_columns(tuple(column.to(device) if where == "device" else column for column in mapped))
    served.place = place  # the files are needed as long as the data set
    return served


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Makes batches ahead of the step."""

    workers: int
    ahead: int

    def __call__(self, feed: Feed, tickets: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        return made_ahead(feed, tickets, self.workers, self.ahead) if self.workers else in_turn(feed, tickets)


def by_threads(feed: Feed, tickets: Iterator[Any], workers: int, ahead: int) -> Iterator[tuple[Any, Any]]:
    """Batches ahead of the step, where the data set gives whole ones."""
    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for ticket in tickets:
            waiting.append(pool.submit(lambda t: (t, next(in_turn(feed, iter([t])))[1]), ticket))
            if len(waiting) > workers * ahead:
                yield waiting.popleft().result()


def by_processes(feed: Feed, tickets: Iterator[Any], workers: int, ahead: int) -> Iterator[tuple[Any, Any]]:
    """Batches ahead of the step, where samples are read one by one."""
    asked, paired = itertools.tee(tickets)
    options: Any = {"num_workers": workers, "prefetch_factor": ahead}
    # a generator of its own: the loader's draws must not move the training's
    made: Any = DataLoader(Making(feed), sampler=asked, batch_size=None, generator=torch.Generator(), **options)  # type: ignore[arg-type]
    yield from zip(paired, made, strict=False)


made_ahead = by_threads  # the exporter takes the one that fits the data


class Making:
    """Makes the batch of a ticket, in another process."""

    def __init__(self, feed: Feed) -> None:
        self.feed = dataclasses.replace(feed, serve=None, served=SimpleNamespace())

    def __getitem__(self, ticket: Any) -> Any:
        return next(in_turn(self.feed, iter([ticket])))[1]
