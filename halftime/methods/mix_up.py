"""Train on blends of two samples, and on their two targets in the same shares.

What: each sample is blended with the one before it in the batch, and so are the losses of the two targets.
Paper: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
Costs: one pass over the inputs and one more loss; the training loss no longer tells how well the network does.
Fails when: the training is too short to overfit, or a blend of two inputs means nothing (tokens, boxes).
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import mapped
from halftime.data.order import key
from halftime.places import Loss, Method, Places
from halftime.settings import setting


def beta_share(seed: int, step: int, alpha: float) -> float:
    """The share of the first sample in a blend: drawn from Beta(alpha, alpha), a function of its arguments alone.

    Args:
        seed: of the training.
        step: batches served so far.
        alpha: small values draw near 0 and 1, one draws evenly, large ones near a half.

    Returns:
        A number from 0 to 1.

    Example:
        >>> beta_share(0, 1, 0.2) == beta_share(0, 1, 0.2) != beta_share(0, 2, 0.2)
        True
    """
    return random.Random(key(seed, step, -1)).betavariate(alpha, alpha)  # no sample has a position below zero


def blended(inputs: Any, share: float) -> Any:
    """Each sample blended with the one before it; the first with the last.

    Args:
        inputs: a tensor [B, ...] or a nest of them; whole numbers are left alone.
        share: of the sample itself, 0 to 1.

    Returns:
        The same nest of new tensors; the very same one where the share is 1.

    Example:
        >>> blended(torch.tensor([0.0, 1.0, 2.0]), 0.75)
        tensor([0.5000, 0.7500, 1.7500])
    """

    def blend(tensor: Tensor) -> Tensor:
        return torch.lerp(tensor.roll(1, 0), tensor, share) if tensor.is_floating_point() else tensor

    return inputs if share == 1.0 else mapped(inputs, blend)


def paired(targets: Any, share: float) -> dict[str, Any]:
    """The targets of each sample and of the one before it, with the share of its own.

    Args:
        targets: a tensor [B, ...] or a nest of them.
        share: of the sample itself, 0 to 1.

    Returns:
        A dict of "first" and "second", shaped like the targets, and "share".

    Example:
        >>> paired(torch.tensor([3, 4, 5]), 0.75)
        {'first': tensor([3, 4, 5]), 'second': tensor([5, 3, 4]), 'share': 0.75}
    """
    return {"first": targets, "second": mapped(targets, lambda t: t.roll(1, 0)), "share": share}


def pair_loss(loss: Loss, outputs: Any, targets: dict[str, Any]) -> Tensor:
    """The loss of both targets, each by its share.

    For a cross-entropy, this is the one against the blended probabilities.

    Args:
        loss: (outputs, targets) -> a scalar.
        outputs: of the network on blended inputs.
        targets: what `paired` returned.

    Returns:
        A scalar.

    Example:
        >>> apart = lambda outputs, targets: (outputs - targets).abs().mean()
        >>> both = {"first": torch.tensor([3.0]), "second": torch.tensor([8.0]), "share": 0.5}
        >>> pair_loss(apart, torch.tensor([4.0]), both)
        tensor(2.5000)
    """
    share = targets["share"]
    own: Tensor = loss(outputs, targets["first"])
    return own if share == 1.0 else share * own + (1.0 - share) * loss(outputs, targets["second"])


@dataclasses.dataclass(frozen=True)
class MixUp(Method):
    """Train on blends of two images, and on their two classes in the same shares.

    Args:
        alpha: shares are drawn from Beta(alpha, alpha): small values blend little, large ones half and half.
    """

    alpha: float = setting(0.2, above=0)

    slot: ClassVar[str] = "mixing"
    # a bad sample is left out before it gets into another; the loss of a prior takes the two targets one by one
    after: ClassVar[tuple[str, ...]] = ("guard", "prior")
    needs: ClassVar[frozenset[str]] = frozenset({"images", "classes"})
    choices: ClassVar = {"alpha": (0.1, 0.2, 0.4)}

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return lambda outputs, targets: pair_loss(loss, outputs, targets)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Blending(feed, self.alpha)


class _Blending(Places):
    def __init__(self, feed: Any, alpha: float) -> None:
        self.feed, self.alpha = feed, alpha

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        share = beta_share(self.feed.seed, self.feed.served.step, self.alpha)
        return blended(inputs, share), paired(targets, share)
