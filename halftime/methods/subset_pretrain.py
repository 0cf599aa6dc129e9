"""First on a part of the data, then on all of it.

What: until some progress the training is on a part of its own data set, the same share of each class or the samples
that are cheapest to train on, and from then on everything.
Paper: none for this form; training that begins with a part of the data is in Bengio et al. 2009, "Curriculum Learning".
Costs: a look at all targets, or at the size of each sample, before training.
Fails when: the part is so small that it is learned by heart, or everything fits in the time anyway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.feed import Feed
from halftime.data.keyed import uniform
from halftime.data.labels import label_sets
from halftime.data.order import Order, Subset
from halftime.data.sizes import sample_sizes
from halftime.data.steered import Steered, by_epoch
from halftime.places import Method, Places
from halftime.settings import setting


def balanced_part(labels: Sequence[Collection[int]], share: float, draws: Tensor) -> Tensor:
    """The same share of the samples of each class, rounded up; a sample of several counts for its smallest class.

    Args:
        labels: the classes of each sample.
        share: of the samples, above 0 and at most 1.
        draws: a number for each sample, [N]; of each class, those with the lowest are taken.

    Returns:
        Ids, rising, int64 [M].

    Example:
        >>> balanced_part([[0], [0], [1], [0], [0]], share=0.5, draws=Tensor([5, 1, 9, 2, 3])).tolist()
        [1, 2, 3]
    """
    groups: dict[int, list[int]] = {}
    for index, kinds in enumerate(labels):
        groups.setdefault(min(kinds, default=-1), []).append(index)
    taken = []
    for members in groups.values():
        ids = torch.tensor(members)
        taken.append(ids[draws[ids].argsort(stable=True)][: -int(-share * len(ids) // 1)])
    return torch.cat(taken).sort().values


def cheapest_part(sizes: Tensor, share: float, draws: Tensor) -> Tensor:
    """The smallest samples; of those of equal size, the ones with the lowest draws.

    Args:
        sizes: of the samples, in any unit, [N].
        share: of the samples, above 0 and at most 1; at least one is taken.
        draws: a number for each sample, [N].

    Returns:
        Ids, rising, int64 [M].

    Example:
        >>> cheapest_part(Tensor([4, 2, 2, 9]), share=0.5, draws=Tensor([1, 2, 3, 4])).tolist()
        [1, 2]
    """
    mixed = draws.argsort(stable=True)
    ranked = mixed[sizes[mixed].argsort(stable=True)]
    return ranked[: max(1, round(share * len(sizes)))].sort().values


def part_of(feed: Feed, share: float, part: str) -> Tensor:
    """The samples that a training begins with.

    Args:
        feed: gives the samples and the seed.
        share: of the samples.
        part: "balanced" (as `balanced_part`, or "random" where targets name no classes), "cheapest" or "random".

    Returns:
        Ids, int64 [M].

    Example:
        >>> from halftime.data.feed import Tensors
        >>> len(part_of(Feed(Tensors(torch.zeros(8, 2), torch.arange(8) % 2), 2, seed=0), 0.5, "balanced"))
        4
    """
    draws = uniform(torch.arange(len(feed.dataset)), feed.seed, -1, 13)
    if part == "balanced" and (labels := label_sets(feed.dataset)) is not None:
        return balanced_part(labels, share, draws)
    sizes = sample_sizes(feed.dataset) if part == "cheapest" else torch.zeros(len(feed.dataset))
    return cheapest_part(sizes, share, draws)


def part_first(feed: Feed, ids: Tensor, until: float = 0.3) -> tuple[Feed, Steered]:
    """The same feed that begins with a part, and the order that must hear how far the training is.

    Args:
        feed: samples and their order.
        ids: of the part, int64 [M].
        until: the progress from which an epoch is of all samples.

    Returns:
        (feed, order): call `order.told(progress=...)` each step.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed, order = part_first(Feed(Tensors(torch.arange(4)), 1, seed=0), torch.tensor([2, 3]))
        >>> sorted(feed.indices(epoch=0).tolist()), order.told(progress=0.9), sorted(feed.indices(epoch=1).tolist())
        ([2, 3], None, [0, 1, 2, 3])
    """

    def decide(_seed: int, _epoch: int, _samples: int, now: dict[str, Any]) -> Order:
        return feed.order if now["progress"] >= until else Subset(feed.order, ids)

    order = Steered(decide)
    return by_epoch(feed, order), order


@dataclasses.dataclass(frozen=True)
class SubsetPretrain(Method):
    """First on a part of the data, then on all of it.

    Args:
        share: of the samples, in the part.
        until: the progress from which an epoch is of all samples.
        part: the same share of each class ("balanced"), the smallest samples ("cheapest"), or any ("random").
    """

    share: float = setting(0.25, above=0, high=1)
    until: float = setting(0.3, low=0, high=1)
    part: str = setting("balanced", among=("balanced", "cheapest", "random"))

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage", "loader")
    choices: ClassVar = {"share": (0.1, 0.25, 0.5), "until": (0.2, 0.3, 0.5)}

    def data(self, data: Feed) -> Feed:
        return part_first(data, part_of(data, self.share, self.part), self.until)[0]

    def control(self) -> Self:
        """What evidence compares with: a part of the same size, drawn by lot."""
        return dataclasses.replace(self, part="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        assert isinstance(feed.order, Steered)
        return _Leading(feed.order)


class _Leading(Places):
    def __init__(self, order: Steered) -> None:
        self.order = order

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.order.told(progress=progress)
        return inputs, targets

    def state_dict(self) -> dict[str, Any]:
        return self.order.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order.load_state_dict(state)
