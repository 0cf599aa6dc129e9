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

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def cifar10() -> Workload:
    """TODO."""
    return _workload("cifar10", lambda: SmallConv(3, 10, (32, 64, 96, 128), (1, 2, 2, 1)), target=0.72)


def cifar10_resnet18() -> Workload:
    """TODO."""
    return _workload("cifar10_resnet18", lambda: ResNet18(3, 10), target=0.94)


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


def _workload(name: str, model: Callable[[], nn.Module], target: float) -> Workload:
    train, valid = images()
    return Workload(
        name=name,
        model=model,
        train=Images(*train, MEAN, STD, shift=4, flip=True),
        valid=Images(*valid, MEAN, STD),
        loss=nn.functional.cross_entropy,
        score=accuracy,
        target=target,
    )
