"""What training is fed: a data set and an order that is a pure function of (seed, epoch, position).

Because the order and every sample's randomness are functions and not streams, going on in the middle of an epoch
needs three integers and no state.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import random
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from halftime.data import order as ordering
from halftime.data.batch import split, tensors
from halftime.data.kinds import by_batch, columns_of
from halftime.data.order import Order, key, shuffled
from halftime.data.served import Served, Ticket
from halftime.errors import BadData, shorten

CPU = torch.device("cpu")
NO_CHANCE = object()  # in place of a generator that was not seeded: whoever draws from it is told
Serve = Callable[["Feed", Iterator[Ticket]], Generator[tuple[Ticket, Any]]]


class Dataset(Protocol):
    """Map-style samples. One that also has `batch(indices, generator)` is asked for whole batches at once."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int, /) -> Any:
        """One sample."""


class Growth(Protocol):
    """How many times its batch size a feed serves in a step; decided for each epoch."""

    def times(self, epoch: int, /) -> int:
        """1 or more."""


class Tensors:
    """Samples that are rows of tensors in memory; batches are cut out at once.

    Args:
        columns: tensors of equal length, [N, ...] each: (inputs, targets), or one alone.
    """

    draws = False  # nothing in `batch` is left to chance, so no generator need be seeded

    def __init_subclass__(cls) -> None:
        if "batch" in vars(cls) and "draws" not in vars(cls):  # it may well draw: to be safe, unless it says otherwise
            cls.draws = True

    def __init__(self, *columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Any:
        row = tuple(c[index] for c in self.columns)
        return row if len(row) > 1 else row[0]

    def batch(self, indices: Tensor, generator: Any) -> Any:
        """Rows `indices` [B] of every column."""
        if indices.device != self.columns[0].device:
            indices = indices.to(self.columns[0].device)
        rows = tuple(c[indices] for c in self.columns)
        return rows if len(rows) > 1 else rows[0]

    def with_columns(self, columns: tuple[Tensor, ...]) -> Self:
        """The same data set over the same rows that lie elsewhere: on a device, or in a mapped file."""
        twin = copy.copy(self)
        twin.columns = columns
        return twin


def as_dataset(source: Any, where: str) -> Dataset:
    """A data set from what a user has; refuses what is empty, unlabelled or of unequal length.

    Args:
        source: a map-style data set, a tuple of tensors, or a tensor.
        where: what to call it in messages.
    """
    if isinstance(source, TensorDataset):
        source = source.tensors
    if isinstance(source, Tensor):
        source = (source,)
    if isinstance(source, (tuple, list)) and source and all(isinstance(c, Tensor) for c in source):
        if any(c.ndim == 0 for c in source):
            raise BadData(f"{where}: needs rows of samples [N, ...], not a single number")
        lengths = {len(c) for c in source}
        if len(lengths) > 1:
            raise BadData(f"{where}: inputs and targets differ in length: {sorted(lengths)}")
        source = Tensors(*source)
    if isinstance(source, DataLoader):
        raise BadData(f"{where}: give the DataLoader's data set, not the loader: halftime makes the batches")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise BadData(f"{where}: needs samples by index and a length (a map-style data set), not {shorten(source)}")
    if len(source) == 0:
        raise BadData(f"{where}: the data set is empty")
    try:
        with random_kept():
            split(source[0])
    except BadData as error:
        raise BadData(f"{where}: {error}") from None
    return source  # type: ignore[no-any-return]


def in_turn(feed: Feed, tickets: Iterator[Ticket]) -> Generator[tuple[Ticket, Any]]:
    """Serve each batch when it is asked for, in this thread."""
    generator = torch.Generator()  # made once, seeded anew for each batch: making one costs more than a small batch
    for ticket in tickets:
        yield ticket, fetch(feed.dataset, ticket.ids, (feed.seed, ticket.epoch, ticket.position), generator)


@dataclasses.dataclass(frozen=True)
class Feed:
    """Training samples in the order in which they are served.

    An epoch drops the samples that do not fill its last batch; the next epoch leaves out others. Epochs may differ in
    length.

    Args:
        dataset: the samples.
        batch_size: samples in a step.
        seed: of order and augmentation.
        order: (seed, epoch, samples) -> indices of one epoch; see `halftime.data.order`.
        serve: makes batches of tickets: in this thread, or by helpers that work ahead.
        growth: by how many times more samples a step of an epoch serves; see `halftime.data.steered`.
        device: where the training runs.
        served: what was handed out last.
    """

    dataset: Dataset
    batch_size: int
    seed: int
    order: Order = shuffled
    serve: Serve = in_turn
    growth: Growth | None = None
    device: torch.device = CPU
    served: Served = dataclasses.field(default_factory=Served, compare=False)

    def indices(self, epoch: int) -> Tensor:
        """Indices of one epoch, cut to whole batches."""
        order, size = self.order(self.seed, epoch, len(self.dataset)), self.step_size(epoch)
        return order[: max(1, len(order) // size) * size]

    def step_size(self, epoch: int) -> int:
        """Samples in a step of an epoch."""
        return self.batch_size if self.growth is None else self.batch_size * self.growth.times(epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in what a budget counts as an epoch: the first one, unless the order says otherwise."""
        return max(1, ordering.usual(self.order, self.seed, len(self.dataset)) // self.batch_size)

    def tickets(self, step: int = 0) -> Iterator[Ticket]:
        """What is to be served, without end, from a step on; the step counts from the start of the training."""
        return map(Ticket._make, ordering.batches(self.order, self.seed, len(self.dataset), self.step_size, step))

    def look(self, step: int = 0) -> Any:
        """The batch of one step, fetched in this thread and not counted as served; what is steered stays as it is."""
        order, growth = getattr(self.order, "glance", self.order), getattr(self.growth, "glance", self.growth)
        seen = dataclasses.replace(self, order=order, growth=growth)
        return next(in_turn(seen, seen.tickets(step)))[1]

    def batches(self, step: int = 0, receipt: str = "") -> Generator[Any]:
        """Batches without end, from a step on; closing it ends what serves ahead.

        Args:
            step: the first to be served.
            receipt: of the steps before it.
        """
        self.served.begin(step, receipt)
        serving = self.serve(self, self.tickets(step))
        with contextlib.closing(serving):
            for ticket, batch in serving:
                self.served.take(ticket)
                yield batch


def fetch(dataset: Any, indices: Tensor, at: tuple[int, int, int], generator: torch.Generator | None = None) -> Any:
    """The samples of a data set as one batch.

    Args:
        dataset: map-style, or with `batch(indices, generator)`, or with `served(ids, seed, epoch)`, which is asked
            first: its chance is keyed by sample and not by place in the epoch.
        indices: [B].
        at: (seed, epoch, position) of the first sample: all randomness comes from these three.
        generator: one to use again; its state does not matter.
    """
    if hasattr(dataset, "served"):
        return dataset.served(indices, at[0], at[1])
    if not getattr(dataset, "draws", True):
        return dataset.batch(indices, NO_CHANCE)
    if by_batch(dataset):
        return dataset.batch(indices, (generator or torch.Generator()).manual_seed(key(*at)))
    seed, epoch, position = at
    samples = []
    with random_kept():
        for offset, index in enumerate(indices.tolist()):
            bits = key(seed, epoch, position + offset)
            torch.default_generator.manual_seed(bits)
            random.seed(bits)
            np.random.seed(bits % 2**32)
            samples.append(dataset[index])
    return default_collate(samples)


@contextlib.contextmanager
def random_kept() -> Iterator[None]:
    """Afterwards, the random states of torch, Python and NumPy are as they were."""
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(state[0])
        random.setstate(state[1])
        np.random.set_state(state[2])


def slices(dataset: Dataset, batch_size: int) -> Iterator[Any]:
    """The whole data set once, in its own order."""
    for first in range(0, len(dataset), batch_size):
        yield fetch(dataset, torch.arange(first, min(first + batch_size, len(dataset))), (0, 0, first))


_DIGESTS: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = (
    weakref.WeakKeyDictionary()
)  # reading the same data twice tells nothing new


def digest(dataset: Dataset) -> str:
    """Sixteen characters that change with the data: of every byte in memory, or else of 64 samples and the length."""
    columns = columns_of(dataset)
    state = [(t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors(columns)]  # grows with each change
    with contextlib.suppress(TypeError):  # a data class that can be compared has no hash
        if dataset in _DIGESTS and _DIGESTS[dataset][0] == state:
            return _DIGESTS[dataset][1]
    total = hashlib.sha256(str(len(dataset)).encode())
    step = max(1, len(dataset) // 64)
    some = range(0, len(dataset), step)  # with randomness of their own, so that augmented samples are the same ones
    samples = [columns] if columns is not None else [fetch(dataset, torch.tensor([i]), (0, 0, i)) for i in some]
    for tensor in tensors(samples):
        total.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    with contextlib.suppress(TypeError):  # a list cannot be referred to weakly
        _DIGESTS[dataset] = state, total.hexdigest()[:16]
    return total.hexdigest()[:16]
