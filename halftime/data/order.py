"""In which order samples come: functions of (seed, epoch, position), so that going on anywhere needs no state.

An order is any function (seed, epoch, samples) -> ids of one epoch. One that also has `length(seed, epoch, samples)`
is not asked for the ids of epochs that are only passed by; one that also has `at(seed, epoch, positions, samples)` is
asked for a few positions at a time, so that an epoch of any size costs no more memory than a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from halftime.errors import BadData, BadValue, shorten

PIECE = 1 << 16  # positions asked for at once: enough that a batch pays nothing, few enough to start at once
ROUNDS = 8
FEW = 512  # so few are sorted by a hash: halves of a few bits mix badly
QUANTA = 1 << 24  # factors are counted in whole parts of this size, so that sums are exact


class Order(Protocol):
    """What every order is; `length` and `at` may be missing."""

    def __call__(self, seed: int, epoch: int, samples: int, /) -> Tensor:
        """The ids of one epoch of a data set with so many samples: int64 [length]."""


def key(seed: int, epoch: int, position: int) -> int:
    """63 well-mixed bits from three integers (the finaliser of SplitMix64; Steele et al. 2014)."""
    bits = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB + 1) % 2**64
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) % 2**64
    return (bits ^ (bits >> 31)) >> 1


class _Drawn:
    """A permutation that depends on (seed, epoch) alone, drawn for a whole epoch at once."""

    def length(self, seed: int, epoch: int, samples: int) -> int:
        return samples

    def __call__(self, seed: int, epoch: int, samples: int) -> Tensor:
        return torch.randperm(samples, generator=torch.Generator().manual_seed(key(seed, epoch, 0)))


shuffled = _Drawn()


def permuted(positions: Tensor, samples: int, secret: int) -> Tensor:
    """Where a keyed permutation of 0 .. samples - 1 sends some positions, without making the rest of it.

    A Feistel network over the next power of two, walked until the value is inside (Luby and Rackoff 1988; Black and
    Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). A few samples are sorted by a hash instead.

    Args:
        positions: int64 [B], each from 0 to samples - 1.
        samples: how many there are, at most 2 to the power of 62.
        secret: names the permutation.

    Returns:
        int64 [B]: no value twice, unless a position was given twice.

    Example:
        >>> sorted(permuted(torch.arange(5), samples=5, secret=1).tolist())
        [0, 1, 2, 3, 4]
    """
    bits, keys = (samples - 1).bit_length(), [np.uint32(key(secret, turn, 0) >> 31) for turn in range(ROUNDS)]
    if samples <= FEW:
        ranks = np.argsort(_hashed(_hashed(np.arange(samples, dtype=np.uint32), keys[0]), keys[1]), kind="stable")
        return torch.from_numpy(ranks)[positions]
    found = _network(positions.numpy(), bits, keys)
    outside = np.flatnonzero(found >= samples)
    while outside.size:
        found[outside] = _network(found[outside], bits, keys)
        outside = outside[found[outside] >= samples]
    return torch.from_numpy(found)


def _network(values: Any, bits: int, keys: Sequence[Any]) -> Any:
    """A bijection of all numbers of so many bits: each half is changed by a hash of the other, in turns."""
    low_bits = bits // 2
    low_mask, high_mask = np.uint32((1 << low_bits) - 1), np.uint32((1 << (bits - low_bits)) - 1)
    high, low = (values >> low_bits).astype(np.uint32), (values & int(low_mask)).astype(np.uint32)
    for turn in range(0, ROUNDS, 2):
        high ^= _hashed(low, keys[turn]) & high_mask
        low ^= _hashed(high, keys[turn + 1]) & low_mask
    return (high.astype(np.int64) << low_bits) | low


def _hashed(half: Any, secret: Any) -> Any:
    """32 well-mixed bits (a finaliser of the family of MurmurHash3; constants by Wellons 2018)."""
    bits = half + secret
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> np.uint32(16)
    return bits


class Permuted:
    """A new permutation in each epoch whose value at any position is computed alone: nothing is drawn in advance.

    Example:
        >>> order = Permuted()
        >>> whole = order(seed=0, epoch=3, samples=1000)
        >>> torch.equal(order.at(0, 3, torch.tensor([7, 500]), 1000), whole[[7, 500]])
        True
    """

    def length(self, seed: int, epoch: int, samples: int) -> int:
        """How many positions an epoch has."""
        return samples

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        """Ids at some positions [B] of an epoch: int64 [B]."""
        return permuted(positions, samples, key(seed, epoch, 1))

    def __call__(self, seed: int, epoch: int, samples: int) -> Tensor:
        """The ids of a whole epoch: int64 [length]."""
        return self.at(seed, epoch, torch.arange(self.length(seed, epoch, samples)), samples)


class Subset(Permuted):
    """Some samples only, in an order of their own.

    Args:
        order: of the positions in `ids`.
        ids: int64 [M], the samples that are served; one may stand there several times.

    Example:
        >>> sorted(Subset(shuffled, torch.tensor([2, 5, 7]))(seed=0, epoch=0, samples=10).tolist())
        [2, 5, 7]
    """

    def __init__(self, order: Order, ids: Tensor) -> None:
        if ids.ndim != 1 or ids.is_floating_point() or len(ids) == 0:
            raise BadValue(f"a subset needs a list of one or more sample ids, not {shorten(ids)}")
        self.order, self.ids = order, ids.to(torch.int64)
        self._bounds = int(ids.min()), int(ids.max())

    def length(self, seed: int, epoch: int, samples: int) -> int:
        if self._bounds[0] < 0 or self._bounds[1] >= samples:
            wrong = self._bounds[0] if self._bounds[0] < 0 else self._bounds[1]
            raise BadValue(f"a subset asks for sample {wrong}; there are the samples 0 to {samples - 1}")
        return length(self.order, seed, epoch, len(self.ids))

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        return self.ids[at(self.order, seed, epoch, positions, len(self.ids))]


class Repeated(Permuted):
    """Each sample so often as its factor says: rare ones several times an epoch, easy ones only in some epochs.

    A factor of 2.3 is two times in each epoch and a third time in three of ten; which epochs these are is a function
    of (seed, epoch). Factors under 1 are soft pruning. Rounding is systematic, so that epochs differ by at most one
    sample in length (repeat factors: Gupta et al. 2019, "LVIS"; soft pruning: Qin et al. 2024, "InfoBatch").

    Args:
        order: of the samples of an epoch once they are counted out.
        factors: [N], 0 or more each, one for each sample of the data set.

    Example:
        >>> order = Repeated(shuffled, torch.tensor([2.0, 1.0, 0.0]))
        >>> sorted(order(seed=0, epoch=0, samples=3).tolist())
        [0, 0, 1]
    """

    def __init__(self, order: Order, factors: Tensor) -> None:
        wide = factors.to(torch.float64)
        if wide.ndim != 1 or not bool((wide >= 0).all()) or not bool(wide.isfinite().all()):
            raise BadValue(f"factors must be a list of finite numbers of at least 0, not {shorten(factors)}")
        self.order, self._quanta = order, (wide * QUANTA).round().to(torch.int64)
        self._total = int(self._quanta.sum())
        self._counted = functools.lru_cache(maxsize=2)(self._count)

    def length(self, seed: int, epoch: int, samples: int) -> int:
        if samples != len(self._quanta):
            raise BadValue(f"there are {len(self._quanta)} factors for {samples} samples: give one for each")
        return length(self.order, seed, epoch, self._copies(seed, epoch))

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        ids = self._counted(seed, epoch)
        return ids[at(self.order, seed, epoch, positions, len(ids))]

    def _copies(self, seed: int, epoch: int) -> int:
        return (self._total + key(seed, epoch, 2) % QUANTA) // QUANTA

    def _count(self, seed: int, epoch: int) -> Tensor:
        """The ids of an epoch before they are shuffled; who is rounded up is decided in a new order each time."""
        line = Permuted()(key(seed, epoch, 3), epoch, len(self._quanta))
        ends = (self._quanta[line].cumsum(0) + key(seed, epoch, 2) % QUANTA) // QUANTA
        return torch.repeat_interleave(line, torch.diff(ends, prepend=torch.zeros(1, dtype=torch.int64)))


class Curriculum(Permuted):
    """The first samples of a ranking, more of them as epochs go by.

    Args:
        order: of the samples that take part.
        ranking: int64 [N], sample ids from the easiest to the hardest.
        share: epoch -> share of the ranking that takes part, above 0 and at most 1.

    Example:
        >>> order = Curriculum(shuffled, torch.tensor([3, 1, 0, 2]), share=lambda epoch: min(1.0, 0.5 + 0.25 * epoch))
        >>> [sorted(order(seed=0, epoch=e, samples=4).tolist()) for e in (0, 1, 2)]
        [[1, 3], [0, 1, 3], [0, 1, 2, 3]]
    """

    def __init__(self, order: Order, ranking: Tensor, share: Callable[[int], float]) -> None:
        self._all, self.share = Subset(order, ranking), share

    def _part(self, epoch: int) -> int:
        share = self.share(epoch)
        if not 0 < share <= 1:
            raise BadValue(f"the share of a curriculum must be above 0 and at most 1, not {share} in epoch {epoch}")
        return max(1, round(share * len(self._all.ids)))

    def length(self, seed: int, epoch: int, samples: int) -> int:
        self._all.length(seed, epoch, samples)  # are the ids those of this data set?
        return length(self._all.order, seed, epoch, self._part(epoch))

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        return self._all.ids[at(self._all.order, seed, epoch, positions, self._part(epoch))]


def length(order: Order, seed: int, epoch: int, samples: int) -> int:
    """How many ids an epoch of any order has."""
    known = getattr(order, "length", None)
    return int(known(seed, epoch, samples)) if known else len(order(seed, epoch, samples))


def usual(order: Order, seed: int, samples: int) -> int:
    """How many samples a budget in epochs counts as one: what the order says, or those of its first epoch."""
    known = getattr(order, "usual", None)
    return int(known(seed, samples)) if known else length(order, seed, 0, samples)


def at(order: Order, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
    """Ids at some positions of an epoch of any order."""
    alone = getattr(order, "at", None)
    return alone(seed, epoch, positions, samples) if alone else order(seed, epoch, samples)[positions]


def batches(
    order: Order, seed: int, samples: int, sizes: Callable[[int], int], step: int = 0
) -> Iterator[tuple[int, int, int, Tensor]]:
    """(step, epoch, position, ids) of each batch from a step on, without end.

    Args:
        order: any.
        seed: of the order.
        samples: of the data set.
        sizes: epoch -> samples in a batch of it; an epoch that is shorter is one short batch.
        step: the first, counted from the start of the training.
    """
    first = epoch = 0  # `first`: the step at which the epoch begins
    while True:
        where = (seed, epoch, samples)
        drawn = None if hasattr(order, "length") else order(*where)
        there = length(order, *where) if drawn is None else len(drawn)
        if there == 0:
            raise BadData(f"the order leaves no sample in epoch {epoch}")
        size = sizes(epoch)
        steps = max(1, there // size)
        if step < first + steps:
            span = max(0, step - first) * size, min(there, steps * size)
            for position, ids in _cut(_reader(order, where, drawn), *span, size):
                yield first + position // size, epoch, position, ids
        first, epoch = first + steps, epoch + 1


def _reader(order: Order, where: tuple[int, int, int], drawn: Tensor | None) -> Callable[[int, int], Tensor]:
    """What gives the ids of an epoch between two positions."""
    alone = getattr(order, "at", None)
    if drawn is None and alone is not None:
        seed, epoch, samples = where
        return lambda begin, end: alone(seed, epoch, torch.arange(begin, end), samples)
    whole = order(*where) if drawn is None else drawn
    return lambda begin, end: whole[begin:end].clone()  # or a ticket that waits would keep the whole epoch in memory


def _cut(between: Callable[[int, int], Tensor], begin: int, end: int, size: int) -> Iterator[tuple[int, Tensor]]:
    """(position, ids) of the batches of an epoch between two positions, a piece at a time."""
    many = max(1, PIECE // size) * size
    for piece in range(begin, end, many):
        last = min(end, piece + many)
        yield from zip(range(piece, last, size), torch.split(between(piece, last), size), strict=True)
