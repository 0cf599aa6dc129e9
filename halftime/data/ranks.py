"""Several processes that train together: each serves its part of the one global batch."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

from halftime.data.feed import Feed, Serve, Ticket
from halftime.errors import BadValue


def share(ticket: Ticket, rank: int, world: int) -> Ticket:
    """One rank's part of a global batch."""
    size = len(ticket.ids) // world
    if size * world != len(ticket.ids):
        raise BadValue(f"a batch of {len(ticket.ids)} cannot be shared by {world} processes equally")
    first = rank * size
    return ticket._replace(position=ticket.position + first, ids=ticket.ids[first : first + size])


def sliced(serve: Serve, rank: int, world: int) -> Serve:
    """Serve one rank's part of each global batch: any world that divides it sees the same samples at the same steps.

    The tickets that come out are those of the whole batch, so that receipts do not depend on the world.
    """

    def part(feed: Feed, tickets: Iterator[Ticket]) -> Generator[tuple[Ticket, Any]]:
        whole: deque[Ticket] = deque()

        def mine() -> Iterator[Ticket]:
            for ticket in tickets:
                whole.append(ticket)
                yield share(ticket, rank, world)

        with contextlib.closing(serve(feed, mine())) as serving:
            for _, batch in serving:
                yield whole.popleft(), batch

    return part
