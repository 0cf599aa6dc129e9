"""Small workloads on real data, on which a method is measured in a minute: parts of the built-in ones, and long tails.

A training takes a few seconds on two CPU cores and its target is met late in it. What they cannot show is what takes
size: a network that fills a device, data that do not fit the memory, a training of hours.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from halftime.data.images import Images
from halftime.measure.score import accuracy
from halftime.workload import Workload
from halftime.workloads import cifar10, digits, fashion_mnist, multitask, shakespeare
from halftime.workloads.networks import GPT, Residual, SmallConv, convolution

TAIL = 0.75  # each class of a long tail has so many times the samples of the class before


class SmallResidual(nn.Sequential):
    """A strided convolution and two residual blocks, then the mean over all places.

    Args:
        channels: of the images.
        classes: how many logits come out.
        width: channels of the first layer; the blocks have twice as many.

    Example:
        >>> SmallResidual(1, 10, width=4)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        stem = (convolution(channels, width, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        blocks = (Residual(width, 2 * width, stride=2), Residual(2 * width, 2 * width))
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))


def fashion_mnist_small() -> Workload:
    """A fifth of Fashion-MNIST with a small residual network; judged on 2,000 of the images nobody trains on.

    The target is met late in a training of seconds, and tells how soon, not how well: a linear classifier of the whole
    training set does better. The margin is 1 %: about the standard error of such an accuracy over 2,000 images.
    """
    train, valid = (_first(*part, count) for part, count in zip(fashion_mnist.images(), (12_000, 2_000), strict=True))
    return _images(
        "fashion_mnist_small", lambda: SmallResidual(1, 10, width=8), train, valid, fashion_mnist, 0.8, flip=True
    )


def cifar10_small() -> Workload:
    """A fifth of CIFAR-10 with three convolutions; judged on 2,000 of the images nobody trains on.

    Why 0.46: a linear classifier of the whole training set reaches 0.411. The margin is 1.5 %: somewhat more than
    the standard error of such an accuracy over 2,000 images.
    """
    train, valid = (_first(*part, count) for part, count in zip(cifar10.images(), (10_000, 2_000), strict=True))
    made = _images(
        "cifar10_small", lambda: SmallConv(3, 10, (16, 32, 32), (2, 2, 1)), train, valid, cifar10, 0.46, flip=True
    )
    return dataclasses.replace(made, margin=0.015)


def fashion_mnist_unflipped() -> Workload:
    """The small Fashion-MNIST without random flips: where a method may bring flips of its own."""
    return _unflipped("fashion_mnist_unflipped", fashion_mnist_small())


def cifar10_unflipped() -> Workload:
    """The small CIFAR-10 without random flips."""
    return _unflipped("cifar10_unflipped", cifar10_small())


def digits_dropout() -> Workload:
    """The digits with dropout before the last layer, as it is put into networks that are trained for long."""
    return _dropout("digits_dropout", digits.digits())


def fashion_mnist_dropout() -> Workload:
    """The small Fashion-MNIST with dropout before the last layer."""
    return _dropout("fashion_mnist_dropout", fashion_mnist_small())


def multitask_small() -> Workload:
    """A fifth of CIFAR-10 for three heads (its kind, animal or machine, and how far it is turned), as `multitask`.

    Who always gives the commonest answer has 0.317. The margin is 1 %: about the standard error over 2,000 images.
    """
    train, valid = (_first(*part, count) for part, count in zip(cifar10.images(), (10_000, 2_000), strict=True))
    return multitask.on("multitask_small", train, valid, (16, 32, 32), target=0.56, margin=0.01)


def shakespeare_small() -> Workload:
    """A third of the text with a GPT of two narrow layers, judged on 28,000 characters of its last tenth.

    Why 2.32: a table of pairs of characters, made from the whole training text, reaches 2.486, one of three 2.049.
    """
    tokens, vocabulary = shakespeare.characters()
    cut = int(len(tokens) * 0.9)
    return Workload(
        name="shakespeare_small",
        model=lambda: GPT(vocabulary, 32, layers=2, width=48, heads=2),
        train=shakespeare.Windows(tokens[: cut // 3], 32, jitter=True),
        valid=shakespeare.Windows(tokens[cut : cut + 28_000], 32),
        loss=nn.functional.cross_entropy,
        score=shakespeare.nats,
        better="lower",
        target=2.32,
        margin=0.02,
    )


def digits_tail() -> Workload:
    """The digits with a long tail in training: each class has three quarters of the samples of the one before.

    The validation data are balanced, so that a rare class counts as much as a common one.
    """
    whole = digits.digits()
    return dataclasses.replace(whole, name="digits_tail", train=_tailed(whole.train), target=0.9, margin=0.02)


def fashion_mnist_tail() -> Workload:
    """The small Fashion-MNIST with a long tail in training, as `digits_tail`."""
    whole = fashion_mnist_small()
    return dataclasses.replace(whole, name="fashion_mnist_tail", train=_tailed(whole.train), target=0.72, margin=0.015)


def tail(labels: Tensor, share: float = TAIL) -> Tensor:
    """Indices [M] of a part of some samples in which each class is rarer than the one before.

    Args:
        labels: classes, int64 [N].
        share: of the class before.

    Example:
        >>> tail(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.5)
        tensor([0, 1, 2, 3, 4, 5])
    """
    counts = torch.bincount(labels)
    keep = [max(1, int(counts.max() * share**kind)) for kind in range(len(counts))]
    return torch.cat([(labels == kind).nonzero()[:most, 0] for kind, most in enumerate(keep)]).sort().values


def _tailed(images: Images) -> Images:
    chosen = tail(images.columns[1])
    return images.with_columns((images.columns[0][chosen], images.columns[1][chosen]))


def _unflipped(name: str, whole: Workload) -> Workload:
    images = copy.copy(whole.train)
    images.flip = False
    return dataclasses.replace(whole, name=name, train=images)


def _dropout(name: str, whole: Workload, share: float = 0.3) -> Workload:
    def model() -> nn.Module:
        made = whole.model()
        at, last = [(at, part) for at, part in made.named_modules() if isinstance(part, nn.Linear)][-1]
        made.set_submodule(at, nn.Sequential(nn.Dropout(share), last))
        return made

    return dataclasses.replace(whole, name=name, model=model)


def _first(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return images[:count].clone(), labels[:count].clone()


def _images(name: str, model: Callable[[], nn.Module], train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor],
            of: Any, target: float, flip: bool) -> Workload:  # fmt: skip
    mean, std = of.MEAN, of.STD
    return Workload(
        name=name,
        model=model,
        train=Images(*train, mean, std, flip=flip),
        valid=Images(*valid, mean, std),
        loss=nn.functional.cross_entropy,
        score=accuracy,
        target=target,
        margin=0.01,
    )
