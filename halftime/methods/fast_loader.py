"""Batches made ahead of the step.

What: helpers make the next batches while the step runs: threads where the data set gives whole batches, else processes.
Paper: none for the loader; randomness by counter, on which equal results rest, is in Salmon et al. 2011.
Costs: memory for the batches that wait, and processor time that the step may need for itself.
Fails when: making a batch is cheaper than handing it over, or the step needs every core.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from halftime.data.feed import Feed, in_turn
from halftime.data.workers import Ahead
from halftime.errors import BadValue
from halftime.places import Method, Places
from halftime.settings import setting


def loaded_ahead(feed: Feed, workers: int = 2, ahead: int = 2) -> Feed:
    """The same feed, served by helpers that work ahead; the batches are the same, bit for bit.

    Args:
        feed: samples and their order.
        workers: how many helpers; 0 for none.
        ahead: batches that each of them may have ready.

    Returns:
        A feed; close what its `batches()` returns to end the helpers.

    Raises:
        BadValue: the feed is served by something else already, such as a part of each batch to each rank.

    Example:
        >>> import torch
        >>> from halftime.data.feed import Tensors
        >>> feed = Feed(Tensors(torch.arange(10)), batch_size=5, seed=0)
        >>> batches = loaded_ahead(feed, workers=1).batches()
        >>> torch.equal(next(batches), next(feed.batches()))
        True
        >>> batches.close()
    """
    if feed.serve is not in_turn:
        raise BadValue("loaded_ahead comes first: what shares or prunes a feed is laid around it, and would be lost")
    return dataclasses.replace(feed, serve=Ahead(workers, ahead))


@dataclasses.dataclass(frozen=True)
class FastLoader(Method):
    """Batches made ahead of the step.

    Args:
        workers: how many helpers; 0 for none.
        ahead: batches that each of them may have ready.
    """

    workers: int = setting(2, low=0, high=256)
    ahead: int = setting(2, low=1, high=64)

    slot: ClassVar[str] = "loader"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    exact: ClassVar[bool] = True
    choices: ClassVar = {"workers": (1, 2, 4, 8), "ahead": (1, 2, 4)}

    def data(self, data: Feed) -> Feed:
        return loaded_ahead(data, self.workers, self.ahead)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        told = getattr(feed.serve, "told", None)  # also through what another method has laid around it
        return self if told is None else _Telling(told)


class _Telling(Places):
    def __init__(self, told: list[str]) -> None:
        self.told = told

    def events(self) -> list[Any]:
        told = list(self.told)
        self.told.clear()
        return told
