"""Train on the useful part of the data.

What: before the first step, a copy of the network is trained for a short while and scores every sample; the training is
on the share of samples that are hardest by that score.
Paper: Paul et al. 2021, "Deep Learning on a Data Diet"; Toneva et al. 2019, "An Empirical Study of Example Forgetting".
Costs: the training of the copy and, but for forgetting, one more look at all samples; both inside the clock.
Fails when: labels are often wrong (they look hard), data are few, or so little is kept that easy samples are missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.feed import CPU, Feed
from halftime.data.order import Order, Subset
from halftime.data.proxy import scores_of
from halftime.data.steered import Scored
from halftime.notes import Beforehand
from halftime.places import Method, Places
from halftime.settings import setting


def hardest(scores: Tensor, keep: float) -> Tensor:
    """The samples with the highest scores; of equal ones, those that stand first.

    Args:
        scores: [N].
        keep: which share of them, above 0 and at most 1; at least one sample is kept.

    Returns:
        Ids in their own order, int64 [M].

    Example:
        >>> hardest(torch.tensor([1.0, 3.0, 2.0, 3.0]), keep=0.5).tolist()
        [1, 3]
    """
    count = max(1, round(keep * len(scores)))
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def useful(
    model: nn.Module,
    feed: Feed,
    score: str = "el2n",
    keep: float = 0.7,
    proxy_epochs: int = 2,
    proxy_lr: float = 1e-3,
    device: torch.device = CPU,
) -> Feed:
    """The same feed with the useful samples only.

    Args:
        model: as it is before the training; it stays so.
        feed: samples and their order.
        score: "el2n", "forgetting", "margin", "loss" or "random".
        keep: which share of the samples.
        proxy_epochs: epochs for which a copy of the model is trained.
        proxy_lr: its learning rate.
        device: where the model lies.

    Returns:
        A feed with shorter epochs.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> data = Tensors(torch.randn(8, 4), torch.arange(8) % 2)
        >>> len(useful(nn.Linear(4, 2), Feed(data, 2, seed=0), keep=0.5).indices(0))
        4
    """
    found = scores_of(dataclasses.replace(feed, device=device), model, score, proxy_epochs, proxy_lr)
    return dataclasses.replace(feed, order=Subset(feed.order, hardest(found, keep)))


def scored_order(feed: Feed, make: Callable[[Tensor], Order]) -> Feed:
    """The same feed in an order made of scores that come later.

    Args:
        feed: samples.
        make: scores [N] -> an order; it is called with zeros at first.

    Returns:
        A feed whose order has `settle(scores)`.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed = Feed(Tensors(torch.arange(4)), 2, seed=0)
        >>> late = scored_order(feed, lambda scores: Subset(feed.order, hardest(scores, 0.5)))
        >>> late.order.settle(torch.tensor([0.0, 2.0, 1.0, 2.0]))
        >>> sorted(late.indices(0).tolist())
        [1, 3]
    """
    return dataclasses.replace(feed, order=Scored(len(feed.dataset), make))


@dataclasses.dataclass(frozen=True)
class UsefulData(Method):
    """Train on the useful part of the data.

    Args:
        score: what tells the useful ones: "el2n", "forgetting", "margin", or "random".
        keep: the share of the samples that is trained on.
        proxy_epochs: epochs for which a copy of the network is trained to score them.
        proxy_lr: its learning rate.
    """

    score: str = setting("el2n", among=("el2n", "forgetting", "margin", "random"))
    keep: float = setting(0.7, above=0, high=1)
    proxy_epochs: int = setting(2, low=1)
    proxy_lr: float = setting(1e-3, above=0)

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage",)
    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    choices: ClassVar = {"keep": (0.5, 0.7, 0.9), "score": ("el2n", "forgetting", "margin")}

    def data(self, data: Feed) -> Feed:
        before = data.order
        return scored_order(data, lambda scores: Subset(before, hardest(scores, self.keep)))

    def control(self) -> Self:
        """What evidence compares with: as many samples, drawn by lot and without a proxy."""
        return dataclasses.replace(self, score="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        order = feed.order
        assert isinstance(order, Scored)

        def find() -> Tensor:
            return scores_of(feed, model, self.score, self.proxy_epochs, self.proxy_lr)

        kept = f"UsefulData: {self.keep:.3g} of the samples kept, by {self.score}"
        return Beforehand(find, order.settle, lambda seconds: f"{kept}; scored in {seconds:.3g} s of the clock")
