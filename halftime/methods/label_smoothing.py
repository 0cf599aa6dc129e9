"""Soft targets: a little of the probability goes to every class.

What: (1 - s) times the loss plus s times the mean negative log-probability over all classes.
Paper: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision".
Costs: one more pass over the outputs.
Fails when: the training is too short to overfit, calibrated probabilities are wanted, or the loss ignores or weighs
classes (the soft part counts all alike).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from halftime.places import Loss, Method
from halftime.settings import setting


def smoothed(loss: Tensor, outputs: Tensor, smoothing: float = 0.1) -> Tensor:
    """Mix a cross-entropy with the one against the uniform distribution.

    Args:
        loss: the mean cross-entropy of a batch, a scalar.
        outputs: logits, [B, C, ...].
        smoothing: the share of the uniform part, 0 to 1.

    Returns:
        A scalar: (1 - smoothing) times the loss, plus smoothing times the mean negative log-probability.

    Example:
        >>> logits, classes = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> ours = smoothed(nn.functional.cross_entropy(logits, classes), logits, 0.2)
        >>> torch.allclose(ours, nn.functional.cross_entropy(logits, classes, label_smoothing=0.2))
        True
    """
    return (1.0 - smoothing) * loss - smoothing * torch.log_softmax(outputs, dim=1).mean()


@dataclasses.dataclass(frozen=True)
class LabelSmoothing(Method):
    """Soft targets for classification by cross-entropy.

    Args:
        smoothing: the share of the probability that is spread over all classes.
    """

    smoothing: float = setting(0.1, low=0, below=1)

    slot: ClassVar[str] = "targets"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    choices: ClassVar = {"smoothing": (0.05, 0.1, 0.2)}

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return lambda outputs, targets: smoothed(loss(outputs, targets), outputs, self.smoothing)
