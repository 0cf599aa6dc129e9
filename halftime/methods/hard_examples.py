"""Serve hard samples more often, and let each count less for it.

What: before the first step, a short-trained copy of the network scores every sample; the higher the error, the more
often a sample is served, and its loss is divided by how often, so that the expected gradient stays that of all data.
Paper: Katharopoulos & Fleuret 2018, "Not All Samples Are Created Equal: Deep Learning with Importance Sampling".
Costs: the training of the copy and one more look at all samples, inside the clock; the loss is computed by sample.
Fails when: what is hard changes during a training, labels are often wrong, or batches are large: little noise is left
that a better choice of samples could remove.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import size
from halftime.data.feed import Feed
from halftime.data.order import Repeated
from halftime.data.proxy import scores_of
from halftime.data.steered import Scored
from halftime.data.weights import Apart, tagged, weighed
from halftime.methods.repeat_factor import shuffled_scores
from halftime.methods.useful_data import scored_order
from halftime.notes import Beforehand
from halftime.places import Loss, Method, Places
from halftime.settings import setting


def importance(scores: Tensor, strength: float = 0.5) -> Tensor:
    """How many times an epoch each sample is served on average, in proportion to its score.

    Args:
        scores: errors of at least 0, [N].
        strength: 0 serves all alike, 1 in proportion to the score; what is between is a mixture of both.

    Returns:
        Factors of mean 1, each at least 1 - strength, float64 [N].

    Example:
        >>> importance(torch.tensor([0.0, 1.0, 3.0, 0.0]), strength=0.5).tolist()
        [0.5, 1.0, 2.0, 0.5]
    """
    wide = scores.double()
    mean = wide.mean()
    shares = wide / mean if bool(mean > 0) else torch.ones_like(wide)
    return 1.0 - strength + strength * shares


def balancing(factors: Tensor, honest: float = 1.0) -> Tensor:
    """What each sample counts when it is served.

    Args:
        factors: how often it is served, see `importance`.
        honest: 1 makes up for all of it, so that no sample counts more than another; 0 for none of it.

    Returns:
        float32 [N].

    Example:
        >>> balancing(torch.tensor([0.5, 1.0, 2.0])).tolist()
        [2.0, 1.0, 0.5]
    """
    return (factors**-honest).float()


def often(feed: Feed, scores: Tensor, strength: float = 0.5, honest: float = 1.0) -> tuple[Feed, Tensor]:
    """The same feed with hard samples more often, and what each sample counts.

    Args:
        feed: samples and their order.
        scores: errors of at least 0, [N].
        strength: see `importance`.
        honest: see `balancing`.

    Returns:
        (feed, weights): the loss of a sample of the batch is multiplied by `weights[feed.served.ids]`.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed, weights = often(Feed(Tensors(torch.arange(4)), 2, seed=0), torch.tensor([0.0, 0.0, 0.0, 6.0]))
        >>> int((feed.indices(0) == 3).sum()), weights.tolist()
        (2, [2.0, 2.0, 2.0, 0.4000000059604645])
    """
    factors = importance(scores, strength)
    return dataclasses.replace(feed, order=Repeated(feed.order, factors)), balancing(factors, honest)


@dataclasses.dataclass(frozen=True)
class HardExamples(Method):
    """Serve hard samples more often, and let each count less for it.

    Args:
        strength: 0 serves all alike, just below 1 in proportion to their errors.
        honest: 1 keeps the expected gradient that of all data; less lets hard samples count more.
        proxy_epochs: epochs for which a copy of the network is trained to score the samples.
        proxy_lr: its learning rate.
        score: what tells the hard ones: "el2n" or "loss"; "random" gives the same scores to samples by lot.
    """

    strength: float = setting(0.5, low=0, below=1)
    honest: float = setting(1.0, low=0, high=1)
    proxy_epochs: int = setting(2, low=1)
    proxy_lr: float = setting(1e-3, above=0)
    score: str = setting("el2n", among=("el2n", "loss", "random"))

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage", "prior", "targets", "mixing", "hiding", "size", "tasks")
    needs: ClassVar[frozenset[str]] = frozenset({"classes", "mean"})
    choices: ClassVar = {"strength": (0.3, 0.5, 0.7), "honest": (0.5, 1.0)}

    def data(self, data: Feed) -> Feed:
        before = data.order
        return scored_order(data, lambda found: Repeated(before, importance(found, self.strength)))

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return partial(weighed, Apart(loss))

    def control(self) -> Self:
        """What evidence compares with: the same scores, so the same repeats, given to samples by lot."""
        return dataclasses.replace(self, score="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        def find() -> Tensor:
            lot = self.score == "random"  # the spread of errors, but not whose they are
            kind = "el2n" if lot else self.score
            found = scores_of(feed, model, kind, self.proxy_epochs, self.proxy_lr)
            return shuffled_scores(found, feed.seed) if lot else found

        return _Balancing(find, feed, self)


class _Balancing(Beforehand):
    def __init__(self, find: Callable[[], Tensor], feed: Feed, method: HardExamples) -> None:
        self.feed, self.method = feed, method
        super().__init__(find, self._use, self._said)

    def _use(self, found: Tensor) -> None:
        assert isinstance(self.feed.order, Scored)
        self.feed.order.settle(found)
        self.factors = importance(found, self.method.strength)
        self.weights = balancing(self.factors, self.method.honest)

    def _said(self, seconds: float) -> str:
        low, high = self.factors.aminmax()
        return f"HardExamples: served {low:.3g} to {high:.3g} times an epoch, scored in {seconds:.3g} s of the clock"

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        ids = self.feed.served.ids
        weights = self.weights[ids].repeat_interleave(size(inputs) // len(ids))
        return inputs, tagged(targets, weights.to(self.feed.device, non_blocking=True))
