"""Several processes that train together: who they are, what they agree on, and which part of a batch each one serves.

`torchrun` starts them and says in the environment how many there are. Each has one device and the whole program; they
meet once, and from then on every rank does the same steps on its own part of one global batch.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import datetime as dt
import os
from collections import deque
from collections.abc import Generator, Iterator
from signal import Signals
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from halftime.data.batch import mapped
from halftime.data.feed import Feed, Serve
from halftime.data.kinds import by_batch
from halftime.data.limits import cores
from halftime.data.served import Ticket
from halftime.errors import BadRecipe, BadValue, Lost

LONGEST = 4096  # bytes of a text that is told
PATIENCE = dt.timedelta(minutes=10)  # for a rank that does not come
LOST = ("connection", "gloo", "nccl", "peer", "socket", "store")  # words of an error that another rank caused


@dataclasses.dataclass
class Team:
    """The processes that train together; one alone unless `join` has met others.

    Args:
        rank: this one's number, from 0; rank 0 writes.
        world: how many there are.
        local: this one's number on its machine.
        neighbours: how many there are on this machine.

    Example:
        >>> Team().agree(None, False, True, 1.5)
        (None, False, True, 1.5)
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    neighbours: int = 1
    control: Any = None  # the group in which the hosts talk, apart from what the devices send
    alone: bool = False  # for now, do not talk to the others

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def device(self, name: str | None) -> str | None:
        """The device of this rank, where `name` is what the user asked for; with it, the ranks meet.

        Raises:
            BadValue: there are more ranks on this machine than devices.
        """
        if self.world == 1:
            return name
        cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if name == "cpu" or (name is None and not cards):
            there, what = (
                int(cores()),
                "processor core" + "s" * (int(cores()) > 1) + " and no CUDA device" * (not cards),
            )
        elif name in (None, "cuda", "cuda:0"):  # the last is what the record of rank 0 says
            there, what = cards, "CUDA device" + "s" * (cards != 1)
        else:
            raise BadValue(f"{self.world} ranks cannot train on {name!r}: give 'cuda' (a device each) or 'cpu'")
        if self.neighbours > there:
            instead = f"start {there}" if there else "give --device cpu"
            raise BadValue(
                f"{self.neighbours} ranks were started on this machine, and it has {there} {what}: {instead}"
            )
        cuda = bool(cards) and name != "cpu"
        if cuda:
            torch.cuda.set_device(self.local)
        if not dist.is_initialized():  # the group lasts as long as the process
            dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
            atexit.register(_leave)
        self.control = self.control or dist.new_group(backend="gloo", timeout=PATIENCE)
        return f"cuda:{self.local}" if cuda else "cpu"

    def agree(self, signal: Any, saving: bool, due: bool, seconds: float) -> tuple[Any, bool, bool, float]:
        """What rank 0 says of the last three, and a signal if any rank had one: the same on every rank."""
        if self.world == 1:
            return signal, saving, due, seconds
        mine = (float(saving), float(due), seconds) if self.first else (0.0, 0.0, 0.0)
        said = torch.tensor([float(signal or 0), *mine], dtype=torch.float64)
        dist.all_reduce(said, dist.ReduceOp.MAX, group=self.control)
        number, saving, due, seconds = said.tolist()
        return Signals(int(number)) if number else None, bool(saving), bool(due), seconds

    def told(self, text: str) -> str:
        """Rank 0's text, on every rank, once all have asked for it."""
        if self.world == 1:
            return text
        data = torch.zeros(LONGEST, dtype=torch.int32)
        for place, byte in enumerate(text.encode() if self.first else b""):
            data[place] = byte
        dist.all_reduce(data, group=self.control)  # and not a broadcast, after which rank 0 would not wait
        return bytes(data.tolist()).rstrip(b"\0").decode()

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            dist.all_reduce(torch.zeros(1), group=self.control)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the ranks, a new tensor; the same bits on each of them."""
        if self.world == 1 or self.alone:
            return tensor
        whole = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole / self.world

    def turns(self, count: int) -> range:
        """Which of `count` things this rank does; all ranks take equally many turns, some of them beyond the end."""
        return range(self.rank, -(-count // self.world) * self.world, self.world)

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        if self.world > 1:
            dist.all_reduce(numbers, group=self.control)
        return numbers

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside, a rank that is gone ends this one too, with one line."""
        try:
            yield
        except RuntimeError as error:
            words = str(error).lower()
            if self.world == 1 or not (isinstance(error, dist.DistError) or any(word in words for word in LOST)):
                raise
            what = "lost another rank, so all end: go on from the last checkpoint with --resume"
            raise Lost(f"rank {self.rank} of {self.world} {what}") from error


ALONE = Team()
_HERE = [ALONE]  # the team of this process


def here() -> Team:
    """The team that this process is in."""
    return _HERE[0]


def join(wanted: bool) -> Team:
    """The team that `torchrun` started, or this process alone.

    Args:
        wanted: whether the recipe is for several devices.

    Raises:
        BadRecipe: several were started, and the recipe would train each of them by itself.
    """
    if dist.is_initialized():  # by the user's own script
        rank, world = dist.get_rank(), dist.get_world_size()
    else:
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local, near = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if world > 1 and not wanted:
        raise BadRecipe(f"{world} ranks were started, and the recipe is for one: add MultiDevice() to it, or start one")
    if here().world != world:
        _HERE[0] = Team(rank, world, local, near) if world > 1 else ALONE
    return here()


def _leave() -> None:
    here().control = None  # a group that is held until the interpreter is gone may abort a rank that is done
    if dist.is_initialized():
        dist.destroy_process_group()


def share(ticket: Ticket, rank: int, world: int) -> Ticket:
    """One rank's part of a global batch."""
    size = len(ticket.ids) // world
    if size * world != len(ticket.ids):
        raise BadValue(f"a batch of {len(ticket.ids)} cannot be shared by {world} processes equally")
    first = rank * size
    return ticket._replace(position=ticket.position + first, ids=ticket.ids[first : first + size])


def sliced(serve: Serve, rank: int, world: int) -> Serve:
    """Serve one rank's part of each global batch: any world that divides it sees the same samples at the same steps.

    The tickets that come out are those of the whole batch, so that receipts do not depend on the world. A data set
    that draws for a whole batch at once is asked for the whole of it.
    """

    def part(feed: Feed, tickets: Iterator[Ticket]) -> Generator[tuple[Ticket, Any]]:
        whole: deque[Ticket] = deque()
        data: Any = feed.dataset
        feed.served.part = rank, world
        whole_draw = by_batch(data) and getattr(data, "draws", True)
        together = getattr(data, "together", False) if hasattr(data, "served") else whole_draw

        def mine() -> Iterator[Ticket]:
            for ticket in tickets:
                whole.append(ticket)
                yield ticket if together else share(ticket, rank, world)

        with contextlib.closing(serve(feed, mine())) as serving:
            for _, batch in serving:
                ticket = whole.popleft()
                size = len(ticket.ids) // world
                piece = slice(rank * size, (rank + 1) * size)
                yield ticket, mapped(batch, lambda t, piece=piece: t[piece]) if together else batch

    return part
