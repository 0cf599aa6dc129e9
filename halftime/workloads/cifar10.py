"""CIFAR-10: 32x32 colour photographs of ten kinds (Krizhevsky 2009); 50,000 to train, 10,000 to judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from halftime.data import sources
from halftime.data.images import Images
from halftime.data.readers import kept, labelled, read_cifar_parquet, read_cifar_tar
from halftime.measure.score import accuracy
from halftime.workload import Workload
from halftime.workloads.networks import ResNet18, SmallConv

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images, red green blue


def cifar10() -> Workload:
    """CIFAR-10 to 75 % with four convolutions and 242,000 weights: under a minute on two CPU cores.

    Why 0.75: a linear classifier reaches 0.411 and the nearest neighbour 0.354 (measured here, pixels normalised); a
    minute of two cores buys some 5 epochs of this network, and 0.75 takes a good learning rate and batch size.
    The margin is 1 %: about twice the standard error of such an accuracy over 10,000 images.
    """
    return _workload("cifar10", lambda: SmallConv(3, 10, (32, 64, 128, 128), (2, 2, 2, 1)), 0.75, 0.01, shift=2)


def cifar10_resnet18() -> Workload:
    """CIFAR-10 to 94 % with ResNet-18, 11.2 million weights; for a GPU.

    Why 0.94: the customary mark of contests in training speed since DAWNBench (Coleman et al. 2017), and about what
    people reach who label the images by hand. The margin is the standard error of such an accuracy over 10,000 images.
    """
    return _workload("cifar10_resnet18", lambda: ResNet18(3, 10), 0.94, 0.0025, shift=4)


def images() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images uint8 [N, 3, 32, 32], labels int64 [N]) for training and for validation."""
    groups = sources.files("cifar10")
    return _split("train", groups[0], 50_000), _split("test", groups[-1], 10_000)


def _split(split: str, paths: list[Path], count: int) -> tuple[Tensor, Tensor]:
    parquet = paths[0].suffix == ".parquet"
    records = kept(
        f"cifar10-{split}", paths, lambda: read_cifar_parquet(paths) if parquet else read_cifar_tar(paths[0], split)
    )
    return labelled(records, paths[0], count)


def _workload(name: str, model: Callable[[], nn.Module], target: float, margin: float, shift: int) -> Workload:
    train, valid = images()
    return Workload(
        name=name,
        model=model,
        train=Images(*train, MEAN, STD, shift=shift, flip=True),
        valid=Images(*valid, MEAN, STD),
        loss=nn.functional.cross_entropy,
        score=accuracy,
        target=target,
        margin=margin,
    )
