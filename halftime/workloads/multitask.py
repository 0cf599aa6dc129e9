"""CIFAR-10 for three heads on one trunk: which of ten kinds, animal or machine, and how far the photograph is turned.

The third is made by ourselves: each photograph is turned by none to three quarters, drawn anew whenever it is served in
training and once for all in validation (Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image
Rotations"). All three heads look at the same turned photograph.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from halftime.data.turned import TurnedImages
from halftime.workload import Workload
from halftime.workloads.cifar10 import MEAN, STD, images
from halftime.workloads.networks import Headed

ANIMALS = (2, 3, 4, 5, 6, 7)  # bird, cat, deer, dog, frog, horse; the others are machines
HEADS = {"class": 10, "animal": 2, "rotation": 4}  # and how many answers each has


class HeadAccuracy:
    """The mean accuracy of several heads, each counting the same, with the accuracy of each as `scores`.

    Args:
        heads: their names.

    Example:
        >>> score, right = HeadAccuracy(["a", "b"]), torch.eye(2)
        >>> score.update({"a": right, "b": right}, {"a": torch.tensor([0, 1]), "b": torch.tensor([0, 0])})
        >>> score.compute(), score.scores
        (0.75, {'a': 1.0, 'b': 0.5})
    """

    range = (0.0, 1.0)

    def __init__(self, heads: tuple[str, ...] | list[str]) -> None:
        self.heads, self.scores = tuple(heads), dict[str, float]()
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.right, self.count = dict.fromkeys(self.heads, 0), 0

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Take in a batch: logits [B, answers] and answers [B] of each head."""
        for name in self.heads:
            self.right[name] += int((outputs[name].argmax(1) == targets[name]).sum())
        self.count += len(targets[self.heads[0]])

    def compute(self) -> float:
        """The mean over the heads; `scores` has each."""
        self.scores = {name: right / self.count for name, right in self.right.items()}
        return sum(self.scores.values()) / len(self.scores)


def head_losses(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The cross-entropy of each head."""
    return {name: cross_entropy(logits, targets[name]) for name, logits in outputs.items()}


def multitask() -> Workload:
    """Three tasks on CIFAR-10 to a mean accuracy of 0.66 with three convolutions: a minute or less on two CPU cores.

    The score is the mean of the three accuracies, each counting the same; a run keeps each of them as well. Why 0.66:
    who always gives the commonest answer has 0.317 (0.1, 0.6 and 0.25). The margin of 0.01 is about twice
    the standard error of such a mean over 10,000 photographs.
    """
    (train, labels), (valid, truth) = images()
    return on("multitask", (train, labels), (valid, truth), (24, 48, 64), target=0.66, margin=0.01, shift=2)


def on(
    name: str,
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    widths: tuple[int, int, int],
    target: float,
    margin: float,
    shift: int = 0,
) -> Workload:
    """The three tasks on given photographs: (uint8 [N, 3, 32, 32], labels int64 [N]) to train and to judge."""
    turns = torch.randint(4, (len(valid[0]),), generator=torch.Generator().manual_seed(0))
    return Workload(
        name=name,
        model=lambda: Headed(3, widths, (2, 2, 1), HEADS),
        train=TurnedImages(*train, ANIMALS, MEAN, STD, shift=shift, flip=True),
        valid=TurnedImages(*valid, ANIMALS, MEAN, STD, turns=turns),
        loss=head_losses,
        score=HeadAccuracy(tuple(HEADS)),
        target=target,
        margin=margin,
    )
