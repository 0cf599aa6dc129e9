"""Serve samples of rare classes more often.

What: a sample is served once an epoch, or more often where it holds a class that few samples hold: the square root of
a threshold over the share of samples that hold it. Fractions are rounded at random, anew in each epoch.
Paper: Gupta et al. 2019, "LVIS: A Dataset for Large Vocabulary Instance Segmentation".
Costs: one look at all targets before training; epochs are longer by what is repeated.
Fails when: the score counts every sample alike and rare classes hardly matter, or a rare class is a few wrong labels.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.feed import Feed
from halftime.data.kinds import columns_of
from halftime.data.labels import label_sets
from halftime.data.order import Repeated, key, length
from halftime.notes import Notes
from halftime.places import Method, Places
from halftime.settings import setting


def class_frequencies(labels: Sequence[Collection[int]]) -> dict[int, float]:
    """The share of samples that hold each class.

    Args:
        labels: the classes of each sample; a class that stands there twice counts once.

    Returns:
        Class to share, above 0 and at most 1.

    Example:
        >>> class_frequencies([[0, 0], [0, 1], [], [0]])
        {0: 0.75, 1: 0.25}
    """
    counts = Counter(kind for kinds in labels for kind in set(kinds))
    return {kind: count / len(labels) for kind, count in sorted(counts.items())}


def repeat_factors(labels: Sequence[Collection[int]], threshold: float = 0.1) -> Tensor:
    """How many times an epoch each sample is served on average: that of its rarest class.

    Args:
        labels: the classes of each sample.
        threshold: t; a class that a share f of the samples holds has the factor max(1, sqrt(t / f)).

    Returns:
        Factors of at least 1, float64 [N]; 1 for a sample without a class.

    Example:
        >>> repeat_factors([[0], [0], [0, 1], []], threshold=1.0).tolist()
        [1.1547005383792515, 1.1547005383792515, 2.0, 1.0]
    """
    factors = {kind: max(1.0, (threshold / share) ** 0.5) for kind, share in class_frequencies(labels).items()}
    return torch.tensor([max((factors[k] for k in kinds), default=1.0) for kinds in labels], dtype=torch.float64)


def shuffled_scores(scores: Tensor, seed: int, epoch: int = 0) -> Tensor:
    """The same numbers, given to samples by lot: what a random control goes by.

    Args:
        scores: [N].
        seed: of the training.
        epoch: another one gives them to others.

    Returns:
        [N].

    Example:
        >>> shuffled_scores(torch.tensor([1.0, 2.0, 3.0]), seed=0).sum()
        tensor(6.)
    """
    return scores[torch.randperm(len(scores), generator=torch.Generator().manual_seed(key(seed, epoch, -5)))]


def repeated(feed: Feed, factors: Tensor) -> Feed:
    """The same feed, each sample as often as its factor says.

    Args:
        feed: samples and their order.
        factors: [N], see `repeat_factors`; a factor of 2.3 is two times in each epoch, a third time in three of ten.

    Returns:
        A feed whose epochs are longer; going on anywhere in one needs no state.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed = repeated(Feed(Tensors(torch.arange(3)), 1, seed=0), torch.tensor([2.0, 1.0, 1.0]))
        >>> sorted(feed.indices(epoch=0).tolist())
        [0, 0, 1, 2]
    """
    return dataclasses.replace(feed, order=Repeated(feed.order, factors))


@dataclasses.dataclass(frozen=True)
class RepeatFactor(Method):
    """Serve samples of rare classes more often.

    Args:
        threshold: classes that a smaller share of the samples holds are repeated.
        score: what decides: the "frequency" of classes; "random" gives the same factors to samples by lot.
    """

    threshold: float = setting(0.1, above=0, high=1)
    score: str = setting("frequency", among=("frequency", "random"))

    slot: ClassVar[str] = "order"
    after: ClassVar[tuple[str, ...]] = ("storage",)
    needs: ClassVar[frozenset[str]] = frozenset({"kinds"})
    choices: ClassVar = {"threshold": (0.01, 0.1, 0.5)}

    def data(self, data: Feed) -> Feed:
        labels = label_sets(data.dataset)
        if labels is None:  # refused by name, once a batch has been seen
            return data
        factors = repeat_factors(labels, self.threshold)
        if self.score == "random":
            factors = shuffled_scores(factors, data.seed)
        return repeated(data, factors)

    def idle(self, model: nn.Module, dataset: Any) -> str:
        """Why it would change nothing here: no class is rare, by labels that lie at hand; empty where it may."""
        labels = label_sets(dataset) if columns_of(dataset) else None
        if labels is None or bool((repeat_factors(labels, self.threshold) > 1).any()):
            return ""
        return f"no class is held by less than {100 * self.threshold:g} % of the samples"

    def control(self) -> Self:
        """What evidence compares with: as many repeats, of samples drawn by lot."""
        return dataclasses.replace(self, score="random")

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        longer = length(feed.order, feed.seed, 0, len(feed.dataset)) / len(feed.dataset)
        return Notes([f"RepeatFactor: {longer:.3f} samples served in an epoch for each that there is"])
