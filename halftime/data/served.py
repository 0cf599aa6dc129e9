"""What a feed hands out: the ticket of each batch, and an account of those that were served."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

MANY = 64  # batches whose ids wait to be hashed
KEPT = 20_000  # notes of batches that stood made, at most


class Ticket(NamedTuple):
    """One batch to be served: which step it is for, and the samples `ids` [B] from `position` on in an epoch."""

    step: int
    epoch: int
    position: int
    ids: Tensor


class Served:
    """What was handed out last: `step` batches so far, its `epoch` and sample `ids`, and the receipt of all before.

    The ids [B] are those of the rows in the batch: whoever leaves some rows out of it sets the ids that stay.
    `depths` holds (step, how many batches stood made when one was asked for), of whoever serves ahead.

    The receipt is a running hash of the sample ids of every batch: equal receipts mean that the same samples were
    consumed in the same order, over any number of stops.
    """

    def __init__(self) -> None:
        self.step, self.epoch, self.ids = 0, 0, torch.empty(0, dtype=torch.int64)
        self.part = 0, 1  # which of how many equal parts of a batch is served here
        self.depths = list[tuple[int, int]]()
        self._hash, self._waiting = b"", list[Tensor]()  # hashed when asked for, in bulk: it costs the loop less

    def begin(self, step: int, receipt: str) -> None:
        """Go on from a step, with the receipt of the steps before it."""
        self.step, self._hash, self._waiting = step, bytes.fromhex(receipt), []

    def stood(self, batches: int) -> None:
        """Note that so many stand made as the next one is asked for; the oldest notes go where nobody reads them."""
        if len(self.depths) >= KEPT:
            del self.depths[: KEPT // 2]
        self.depths.append((self.step + 1, batches))

    def take(self, ticket: Ticket) -> None:
        """Note that a batch is handed out."""
        self.step, self.epoch, self.ids = ticket.step + 1, ticket.epoch, ticket.ids
        if self.part[1] > 1:
            number, parts = self.part
            size = len(ticket.ids) // parts
            self.ids = ticket.ids[number * size : (number + 1) * size]
        self._waiting.append(ticket.ids)
        if len(self._waiting) == MANY:
            self._add()

    @property
    def receipt(self) -> str:
        """32 characters, or none before the first batch."""
        self._add()
        return self._hash.hex()

    def _add(self) -> None:
        for ids in self._waiting:
            self._hash = hashlib.blake2b(ids.numpy().data, key=self._hash, digest_size=16).digest()
        self._waiting.clear()


class Early(Iterator[Ticket]):
    """Tickets for whoever works ahead of the step; where the order fails, it is not told before the step gets there.

    Args:
        tickets: what is to be served.
    """

    def __init__(self, tickets: Iterator[Ticket]) -> None:
        self.tickets = tickets
        self.failed: Exception | None = None

    def __next__(self) -> Ticket:
        if self.failed is not None:
            raise StopIteration
        try:
            return next(self.tickets)
        except StopIteration:
            raise
        except Exception as error:
            self.failed = error
            raise StopIteration from None

    def served(self, batches: Generator[tuple[Ticket, Any]]) -> Generator[tuple[Ticket, Any]]:
        """The batches of these tickets, and then what the order failed of."""
        yield from batches
        if self.failed is not None:
            raise self.failed
