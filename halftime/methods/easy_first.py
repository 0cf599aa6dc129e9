"""Easy samples first, the hard ones as the training goes on.

What: before the first step, a short-trained copy of the network scores every sample; the training begins on the easiest
share of them, and more take part epoch by epoch, until all do.
Paper: Bengio et al. 2009, "Curriculum Learning"; Hacohen & Weinshall 2019, "On The Power of Curriculum Learning".
Costs: the training of the copy and, but for forgetting, one more look at all samples, inside the clock; helpers that
load ahead start anew in each epoch.
Fails when: data are clean and the training is long enough: any order then ends up alike (Wu et al. 2021).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.feed import Feed
from halftime.data.order import Order, Subset
from halftime.data.proxy import scores_of
from halftime.data.steered import Steered, by_epoch
from halftime.notes import Beforehand
from halftime.places import Method, Places
from halftime.settings import setting


def share_at(progress: float, first: float = 0.3, until: float = 0.5) -> float:
    """Which share of the samples takes part.

    Args:
        progress: share of the training done, 0 to 1.
        first: the share at the start.
        until: the progress from which all samples take part.

    Returns:
        From `first` to 1.

    Example:
        >>> [share_at(p, 0.5, 0.5) for p in (0, 0.25, 0.5, 1)]
        [0.5, 0.75, 1.0, 1.0]
    """
    return 1.0 if progress >= until else first + (1.0 - first) * progress / until


def easiest(scores: Tensor, share: float) -> Tensor:
    """The samples with the lowest scores; of equal ones, those that stand first.

    Args:
        scores: the higher, the harder, [N].
        share: how many, above 0 and at most 1; at least one.

    Returns:
        Ids, int64 [M].

    Example:
        >>> easiest(Tensor([3, 1, 2, 1]), 0.5).tolist()
        [1, 3]
    """
    return scores.argsort(stable=True)[: max(1, round(share * len(scores)))]


def easy_first(feed: Feed, scores: Tensor, first: float = 0.3, until: float = 0.5) -> tuple[Feed, Steered]:
    """The same feed that begins with easy samples, and the order that must hear how far the training is.

    Args:
        feed: samples and their order.
        scores: the higher, the harder, [N]; others may follow: `order.told(scores=...)`.
        first: the share at the start.
        until: the progress from which all samples take part.

    Returns:
        (feed, order): call `order.told(progress=...)` each step.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed, order = easy_first(Feed(Tensors(Tensor(4)), 1, seed=0), Tensor([3, 1, 2, 1]), first=0.5)
        >>> sorted(feed.indices(epoch=0).tolist()), order.told(progress=0.9), sorted(feed.indices(epoch=1).tolist())
        ([1, 3], None, [0, 1, 2, 3])
    """

    def decide(_seed: int, _epoch: int, _samples: int, now: dict[str, Any]) -> Order:
        return Subset(feed.order, easiest(now["scores"], share_at(now["progress"], first, until)))

    order = Steered(decide, scores=scores)
    return by_epoch(feed, order), order


@dataclasses.dataclass(frozen=True)
class EasyFirst(Method):
    """Easy samples first, the hard ones as the training goes on.

    Args:
        first: the share of the samples at the start.
        until: the progress from which all samples take part.
        score: what tells the easy ones: "margin", "el2n", "forgetting", or "random".
        proxy_epochs: epochs for which a copy of the network is trained to score them.
        proxy_lr: its learning rate.
    """

    first: float = setting(0.3, above=0, high=1)
    until: float = setting(0.5, low=0, high=1)
    score: str = setting("margin", among=("margin", "el2n", "forgetting", "random"))
    proxy_epochs: int = setting(2, low=1)
    proxy_lr: float = setting(1e-3, above=0)

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage", "loader")
    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    choices: ClassVar = {"first": (0.1, 0.3, 0.5), "until": (0.25, 0.5, 0.75)}

    def data(self, data: Feed) -> Feed:
        zeros = Tensor(len(data.dataset)).zero_()
        return easy_first(data, zeros, self.first, self.until)[0]

    def control(self) -> Self:
        """What evidence compares with: as many samples at each time, drawn by lot and without a proxy."""
        return dataclasses.replace(self, score="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        order = feed.order
        assert isinstance(order, Steered)

        def find() -> Tensor:
            return scores_of(feed, model, self.score, self.proxy_epochs, self.proxy_lr)

        return _Leading(find, order, self.score)


class _Leading(Beforehand):
    def __init__(self, find: Any, order: Steered, score: str) -> None:
        self.order = order
        said = f"EasyFirst: samples ranked by {score} in {{:.3g}} s of the clock"
        super().__init__(find, lambda found: order.told(scores=found), said.format)

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.order.told(progress=progress)
        return inputs, targets

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"order": self.order.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.order.load_state_dict(state["order"])
