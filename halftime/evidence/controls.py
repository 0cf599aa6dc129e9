"""Random controls: whoever chooses among samples is also measured against as many that were drawn at random.

A data method gains twice: because it serves fewer samples, and because of which ones it serves. Only the second is its
own merit. A method that changes the order in which samples come is found by that; its control is itself with the names
of the samples drawn at random: just as many of them, repeated and left out just as often, in the same epochs. A method
that chooses elsewhere, such as inside a batch, or knows a fairer control, has a function `control()` that returns the
method, or the list of methods, that its control trains with in its place.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from torch import Tensor

from halftime.data.feed import Feed
from halftime.data.order import Order, permuted
from halftime.places import Method, overrides

CHOOSERS = ("EasyFirst", "HardExamples", "RepeatFactor", "SoftPrune", "SubsetPretrain", "UsefulData")


class Renamed:
    """An order whose samples have changed names: which ones is drawn from the seed, once for all epochs.

    Args:
        order: says how many come, how often and when.

    Example:
        >>> from halftime.data.order import shuffled
        >>> sorted(Renamed(shuffled)(0, 0, 5).tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(self, order: Order) -> None:
        self.order = order

    def __call__(self, seed: int, epoch: int, samples: int) -> Tensor:
        """The ids of one epoch."""
        return permuted(self.order(seed, epoch, samples), samples, seed)


@dataclasses.dataclass(frozen=True)
class AtRandom(Method):
    """Samples drawn at random in the place of those that another method of the recipe chose. No speed-up: a control."""

    after: ClassVar[tuple[str, ...]] = CHOOSERS

    def data(self, feed: Feed) -> Feed:
        """Draw which sample stands for which."""
        return dataclasses.replace(feed, order=Renamed(feed.order))


def control_of(method: Method, feed: Feed) -> tuple[Method, ...] | None:
    """What trains in a method's place as its random control, or None where it chooses no samples.

    Args:
        method: as it is measured.
        feed: of the workload, to see whether the method changes the order of it.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> import torch
        >>> from halftime.methods import EMA
        >>> control_of(EMA(), Feed(Tensors(torch.zeros(8)), 4, 0)) is None
        True
    """
    own = getattr(method, "control", None)
    if own is not None:
        found = own()
        return (found,) if isinstance(found, Method) else tuple(found)
    if method.exact or not overrides(method, "data") or method.data(feed).order is feed.order:
        return None
    return (method, AtRandom())
