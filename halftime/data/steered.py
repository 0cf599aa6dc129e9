"""Orders, and sizes of batches, that wait: for scores of the samples, or for what the training has come to.

`Scored` is settled once, before the first step. `Steered` is decided anew when an epoch begins; what it was decided
from is stored, so that going on in the middle of an epoch meets the same samples.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import Any, Self

import torch
from torch import Tensor

from halftime.data.feed import Feed, Serve
from halftime.data.order import Order, Permuted, at, length
from halftime.data.served import Ticket


class Scored(Permuted):
    """An order made of scores that are not known yet when the feed is; zeros stand in for them.

    Args:
        samples: how many there are.
        make: scores [N] -> an order.

    Example:
        >>> from halftime.data.order import Subset, shuffled
        >>> order = Scored(4, lambda scores: Subset(shuffled, scores.topk(2).indices))
        >>> order.settle(torch.tensor([0.0, 3.0, 1.0, 2.0]))
        >>> sorted(order(seed=0, epoch=0, samples=4).tolist())
        [1, 3]
    """

    unsettled = True  # before the training nothing is known of whom it serves

    def __init__(self, samples: int, make: Callable[[Tensor], Order]) -> None:
        self.make = make
        self.settle(torch.zeros(samples))

    def settle(self, scores: Tensor) -> None:
        """From now on, go by these."""
        self.order = self.make(scores)

    def length(self, seed: int, epoch: int, samples: int) -> int:
        return length(self.order, seed, epoch, samples)

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        return at(self.order, seed, epoch, positions, samples)


class Steered(Permuted):
    """An order that is decided when an epoch begins, from what the training has come to by then.

    Args:
        decide: (seed, epoch, samples, now) -> the order of that epoch; `now` holds "progress", how far a "step" brings
            it, and whatever else `told` was given.
        now: what holds before the training.

    Example:
        >>> from halftime.data.order import Subset, shuffled
        >>> half = lambda seed, epoch, samples, now: (
        ...     Subset(shuffled, torch.arange(samples // 2)) if now["progress"] < 0.5 else shuffled
        ... )
        >>> order = Steered(half)
        >>> order.live = True  # as `by_epoch` does when the serving begins
        >>> order.length(0, 0, 8), order.told(progress=0.7), order.length(0, 0, 8), order.length(0, 1, 8)
        (4, None, 4, 8)
    """

    unsettled = True  # before the training nothing is known of whom it serves

    def __init__(self, decide: Callable[[int, int, int, dict[str, Any]], Order], **now: Any) -> None:
        self.decide = decide
        self.now: dict[str, Any] = {"progress": 0.0, "step": 0.0, **now}
        self.then = dict(self.now)  # the same when the epoch that runs began
        self.lengths: list[int] = []  # of the epochs that have begun
        self.live = False  # whether it is asked for what is served, and not for a look
        self._order: tuple[int, Order] | None = None

    @property
    def glance(self) -> Self:
        """The same order for a look: no epoch begins by it, and what is decided for it holds for nothing else."""
        seen = copy.copy(self)
        seen.live, seen.now, seen.then = False, dict(self.now), dict(self.then)
        return seen

    def told(self, **facts: Any) -> None:
        """Hear what the training has come to."""
        step = facts.get("progress", 0.0) - self.now["progress"]
        self.now |= {"step": step, **facts} if step > 0 else facts  # a batch that was not applied brings nothing

    def usual(self, seed: int, samples: int) -> int:
        """How many samples a budget counts as an epoch: all."""
        return samples

    def length(self, seed: int, epoch: int, samples: int) -> int:
        if epoch < len(self.lengths):
            return self.lengths[epoch]
        if not self.live:
            return length(self.decide(seed, epoch, samples, self.now), seed, epoch, samples)
        self.then = {name: v.clone() if isinstance(v, Tensor) else v for name, v in self.now.items()}
        self._order = epoch, self.decide(seed, epoch, samples, self.then)
        self.lengths.append(length(self._order[1], seed, epoch, samples))
        return self.lengths[-1]

    def at(self, seed: int, epoch: int, positions: Tensor, samples: int) -> Tensor:
        order = self.of(seed, epoch, samples)
        return at(order, seed, epoch, positions % length(order, seed, epoch, samples), samples)  # % for looks back

    def of(self, seed: int, epoch: int, samples: int) -> Order:
        """The order of an epoch; of one that is over, as near as is still known."""
        if not self.lengths:
            return self.decide(seed, epoch, samples, self.now)
        if self._order is None or self._order[0] != epoch:
            made = self.decide(seed, epoch, samples, self.then)
            if epoch != len(self.lengths) - 1:
                return made
            self._order = epoch, made
        return self._order[1]

    def state_dict(self) -> dict[str, Any]:
        """What going on needs."""
        return {"now": dict(self.now), "then": dict(self.then), "lengths": list(self.lengths)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take that back."""
        self.now, self.then, self.lengths = dict(state["now"]), dict(state["then"]), list(state["lengths"])
        self._order = None


class Growing:
    """How many batches a step serves, decided when an epoch begins from the progress by then.

    Args:
        of: progress -> 1 or more.

    Example:
        >>> growing = Growing(lambda progress: 4 if progress < 0.5 else 1)
        >>> growing.live = True  # as `grown` does when the serving begins
        >>> growing.times(0), setattr(growing, "progress", 0.7), growing.times(0), growing.times(1), growing.at
        (4, None, 4, 1, 0.7)
    """

    def __init__(self, of: Callable[[float], int]) -> None:
        self.of, self.progress, self.live = of, 0.0, False
        self.at = 0.0  # the progress when the epoch that runs began
        self.decided: list[int] = []  # of the epochs that have begun

    @property
    def glance(self) -> Self:
        """The same for a look: no epoch begins by it."""
        seen = copy.copy(self)
        seen.live = False
        return seen

    def times(self, epoch: int) -> int:
        """Of an epoch; it stays what it was decided to be."""
        if epoch < len(self.decided):
            return self.decided[epoch]
        times = self.of(self.progress)
        if self.live:
            self.decided.append(times)
            self.at = self.progress
        return times

    def state_dict(self) -> dict[str, Any]:
        """What going on needs."""
        return {"decided": list(self.decided), "progress": self.progress, "at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take that back."""
        self.decided, self.progress, self.at = list(state["decided"]), state["progress"], state["at"]


@dataclasses.dataclass(frozen=True)
class ByEpoch:
    """Serves one epoch after the other: no batch of the next is begun before the last step of this one is done.

    Args:
        serve: makes the batches of an epoch; helpers that work ahead start anew in each.
        waiting: what is decided when an epoch begins: the order of the feed that is served, or its growth.
    """

    serve: Serve
    waiting: Steered | Growing

    @property
    def told(self) -> list[str]:
        """What the helpers want the user to know."""
        return getattr(self.serve, "told", [])

    def __call__(self, feed: Feed, tickets: Iterator[Ticket]) -> Generator[tuple[Ticket, Any]]:
        """Make the batches of tickets."""
        self.waiting.live = True
        for first in tickets:
            yield from self.serve(feed, self._epoch(feed, first, tickets))

    def _epoch(self, feed: Feed, ticket: Ticket, tickets: Iterator[Ticket]) -> Iterator[Ticket]:
        """The tickets of the epoch that one begins."""
        size = feed.step_size(ticket.epoch)
        there = length(feed.order, feed.seed, ticket.epoch, len(feed.dataset)) // size * size
        yield ticket
        while ticket.position + size < there:
            ticket = next(tickets)
            yield ticket


def by_epoch(feed: Feed, order: Steered) -> Feed:
    """The same feed in a steered order, served epoch by epoch.

    Args:
        feed: samples, and who makes the batches.
        order: takes the place of the feed's own.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> from halftime.data.order import shuffled
        >>> feed = by_epoch(Feed(Tensors(torch.arange(4)), 2, seed=0), Steered(lambda *_: shuffled))
        >>> sorted(next(iter(feed.batches())).tolist() + feed.look(1).tolist())
        [0, 1, 2, 3]
    """
    return dataclasses.replace(feed, order=order, serve=ByEpoch(feed.serve, order))


def grown(feed: Feed, of: Callable[[float], int]) -> tuple[Feed, Growing]:
    """The same feed with so many times its batch size in a step, and what must hear the progress.

    Args:
        feed: samples, and who makes the batches.
        of: progress -> how many times the batch size.

    Returns:
        (feed, growing): set `growing.progress` in each step.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed, growing = grown(Feed(Tensors(torch.arange(8)), 2, seed=0), lambda progress: 2 - (progress > 0.5))
        >>> batches = feed.batches()
        >>> first = len(next(batches)), len(next(batches))
        >>> growing.progress = 0.6
        >>> first, len(next(batches))
        ((4, 4), 2)
    """
    growing = Growing(of)
    return dataclasses.replace(feed, growth=growing, serve=ByEpoch(feed.serve, growing)), growing
