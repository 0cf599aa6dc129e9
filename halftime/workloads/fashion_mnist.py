"""Fashion-MNIST: 28x28 grey pictures of ten kinds of clothes (Xiao et al. 2017); 60,000 to train, 10,000 to judge."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from halftime.data import sources
from halftime.data.images import Images
from halftime.data.readers import checked, read_idx
from halftime.measure.score import accuracy
from halftime.workload import Workload
from halftime.workloads.networks import ResNet18, SmallConv

MEAN, STD = (0.2860,), (0.3530,)


def fashion_mnist() -> Workload:
    """TODO."""
    return _workload("fashion_mnist", lambda: SmallConv(1, 10, (16, 32, 64, 64), (1, 2, 2, 1)), target=0.915)


def fashion_mnist_resnet18() -> Workload:
    """TODO."""
    return _workload("fashion_mnist_resnet18", lambda: ResNet18(1, 10), target=0.94)


def images() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images uint8 [N, 1, 28, 28], labels int64 [N]) for training and for validation."""
    paths = [group[0] for group in sources.files("fashion_mnist")]
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    return (
        checked(train_images[:, None], train_labels.long(), paths[0], 60_000, 10),
        checked(test_images[:, None], test_labels.long(), paths[2], 10_000, 10),
    )


def _workload(name: str, model: Callable[[], nn.Module], target: float) -> Workload:
    train, valid = images()
    return Workload(
        name=name,
        model=model,
        train=Images(*train, MEAN, STD, flip=True),
        valid=Images(*valid, MEAN, STD),
        loss=nn.functional.cross_entropy,
        score=accuracy,
        target=target,
    )
