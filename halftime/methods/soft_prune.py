"""Leave out some of what is learned already, and weigh the rest so that the sum of gradients stays what it was.

What: of the samples whose last loss is below the mean, a share is left out by lot in each epoch; those of them that
stay count more, by as much as keeps the expected gradient. No epoch that reaches into the last part leaves any out.
Paper: Qin et al. 2024, "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning".
Costs: the loss is computed for each sample; helpers that load ahead start anew in each epoch.
Fails when: a training is a few epochs only, or the loss of a batch is not the mean over its samples.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import size
from halftime.data.feed import Feed
from halftime.data.keyed import uniform
from halftime.data.order import Order, Subset
from halftime.data.steered import Steered, by_epoch
from halftime.data.weights import Apart, tagged, weighed
from halftime.methods.repeat_factor import shuffled_scores
from halftime.places import Loss, Method, Places
from halftime.settings import setting


def prunable(scores: Tensor) -> Tensor:
    """Which samples may be left out: those whose last loss is below the mean of all that are known.

    Args:
        scores: the last loss of each sample, [N]; not a number where none is known.

    Returns:
        bool [N].

    Example:
        >>> prunable(torch.tensor([1.0, 5.0, float("nan")])).tolist()
        [True, False, False]
    """
    return scores < scores.nanmean()


def kept(easy: Tensor, draws: Tensor, share: float = 0.5) -> Tensor:
    """The samples of an epoch.

    Args:
        easy: which may be left out, bool [N].
        draws: a number in [0, 1) for each sample, [N].
        share: how likely one of them is left out.

    Returns:
        Ids, int64 [M].

    Example:
        >>> kept(torch.tensor([True, True, False]), torch.tensor([0.1, 0.9, 0.1])).tolist()
        [1, 2]
    """
    return (~easy | (draws >= share)).nonzero().flatten()


def weights_of(easy: Tensor, share: float = 0.5) -> Tensor:
    """What each sample counts when it is served: its chance to be served, times this, is one.

    Args:
        easy: which might have been left out, bool [B].
        share: how likely that was.

    Returns:
        float32 [B].

    Example:
        >>> weights_of(torch.tensor([True, False])).tolist()
        [2.0, 1.0]
    """
    return torch.where(easy, 1.0 / (1.0 - share), 1.0)


class Pruned(Steered):
    """An order that leaves out samples with small losses; needs to hear the losses.

    Args:
        order: of the samples that stay.
        samples: how many there are.
        share: see `kept`.
        until: the progress from which nothing is left out; nor is it in an epoch that would reach there.
        random: whether any samples, as many, may be left out instead of those with small losses.
        size: samples in a step.

    Example:
        >>> from halftime.data.order import shuffled
        >>> order = Pruned(shuffled, 4, share=0.999999)
        >>> order.length(0, 0, 4), order.hear(torch.arange(4), torch.tensor([0.1, 0.2, 3.0, 3.0]))
        (4, None)
        >>> sorted(order(0, 1, 4).tolist()), order.weights(torch.tensor([2, 3])).tolist()
        ([2, 3], [1.0, 1.0])
    """

    def __init__(
        self, order: Order, samples: int, share: float = 0.5, until: float = 0.875, random: bool = False, size: int = 1
    ) -> None:
        self.base, self.share, self.until, self.random, self.size = order, share, until, random, size
        super().__init__(self._decide, scores=torch.full((samples,), torch.nan), easy=torch.zeros(samples).bool())

    def _decide(self, seed: int, epoch: int, samples: int, now: dict[str, Any]) -> Order:
        scores = now["scores"].to("cpu")
        easy = prunable(shuffled_scores(scores, seed, epoch) if self.random else scores)
        ids = kept(easy, uniform(torch.arange(samples), seed, epoch, 11), self.share)
        if now["progress"] + now["step"] * (len(ids) // self.size) > self.until - 1e-9:  # its last step lies beyond
            easy, ids = torch.zeros_like(easy), torch.arange(samples)
        now["easy"] = easy
        return Subset(self.base, ids) if len(ids) < samples else self.base

    def weights(self, ids: Tensor) -> Tensor:
        """What samples [B] of the epoch that runs count: float32 [B]."""
        return weights_of(self.then["easy"][ids], self.share)

    def hear(self, ids: Tensor, losses: Tensor) -> None:
        """The losses [B] of samples [B], wherever they lie."""
        self.now["scores"] = self.now["scores"].to(losses.device)  # itself where it lies there already
        self.now["scores"][ids.to(losses.device, non_blocking=True)] = losses


def softly_pruned(feed: Feed, share: float = 0.5, until: float = 0.875, random: bool = False) -> tuple[Feed, Pruned]:
    """The same feed with easy samples left out, and the order that must hear losses and progress.

    Args:
        feed: samples and their order.
        share: how likely a sample with a loss below the mean is left out of an epoch.
        until: the progress from which nothing is left out; nor is it in an epoch that would reach there.
        random: whether any samples, as many, may be left out instead.

    Returns:
        (feed, order): call `order.told(progress=...)` and `order.hear(ids, losses)` each step.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> sorted(softly_pruned(Feed(Tensors(torch.arange(4)), 2, seed=0))[0].indices(epoch=0).tolist())
        [0, 1, 2, 3]
    """
    order = Pruned(feed.order, len(feed.dataset), share, until, random, feed.batch_size)
    return by_epoch(feed, order), order


@dataclasses.dataclass(frozen=True)
class SoftPrune(Method):
    """Leave out some of the samples that are learned already, and weigh those like them that stay.

    Args:
        share: how likely a sample with a loss below the mean is left out of an epoch.
        until: the progress from which the training is on everything.
        score: what decides: the last "loss" of a sample; "random" leaves out as many by lot.
    """

    share: float = setting(0.5, above=0, below=1)
    until: float = setting(0.875, low=0, high=1)
    score: str = setting("loss", among=("loss", "random"))

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage", "loader", "prior", "targets", "mixing", "hiding", "size", "tasks")
    needs: ClassVar[frozenset[str]] = frozenset({"mean"})
    choices: ClassVar = {"share": (0.3, 0.5, 0.7), "until": (0.75, 0.875)}

    def data(self, data: Feed) -> Feed:
        return softly_pruned(data, self.share, self.until, self.score == "random")[0]

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return partial(weighed, Apart(loss))

    def control(self) -> Self:
        """What evidence compares with: as many samples left out, by lot."""
        return dataclasses.replace(self, score="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        assert isinstance(feed.order, Pruned)
        return _Pruning(feed, feed.order)


class _Pruning(Places):
    def __init__(self, feed: Feed, order: Pruned) -> None:
        self.feed, self.order, self.tag = feed, order, dict[str, Any]()

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.order.told(progress=progress)
        ids = self.feed.served.ids
        weights = self.order.weights(ids).repeat_interleave(size(inputs) // len(ids))
        self.tag = tagged(targets, weights.to(self.feed.device, non_blocking=True))
        return inputs, self.tag

    def after_step(self, progress: float) -> None:
        self.order.hear(self.feed.served.ids, self.tag["losses"].view(len(self.feed.served.ids), -1).mean(1))

    def state_dict(self) -> dict[str, Any]:
        return self.order.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order.load_state_dict(state)
