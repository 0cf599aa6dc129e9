"""Handwritten digits, 8x8: scikit-learn's copy of the UCI "optical recognition of handwritten digits"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from halftime.data.images import Images
from halftime.measure.score import accuracy
from halftime.workload import Workload
from halftime.workloads.networks import ResNet18, SmallConv

MEAN, STD = (0.3066,), (0.3781,)  # of the first 898 images, where 1 is the darkest ink


def digits() -> Workload:
    """TODO."""
    return _workload("digits", lambda: SmallConv(1, 10, (32, 64, 64), (1, 1, 2)), target=0.97)


def digits_resnet18() -> Workload:
    """TODO."""
    return _workload("digits_resnet18", lambda: ResNet18(1, 10), target=0.97)


def images() -> tuple[Tensor, Tensor]:
    """All 1,797 images, uint8 [N, 1, 8, 8] from 0 to 255, and their labels [N], in the published order."""
    from sklearn.datasets import load_digits  # late: it takes a while to import

    found = load_digits()
    inks = torch.from_numpy(found.images)  # 0 to 16
    return (inks * (255.0 / 16.0)).round().to(torch.uint8)[:, None], torch.from_numpy(found.target).long()


def _workload(name: str, model: Callable[[], nn.Module], target: float) -> Workload:
    pixels, labels = images()
    half = (len(pixels) + 1) // 2
    return Workload(
        name=name,
        model=model,
        train=Images(pixels[:half], labels[:half], MEAN, STD, shift=1),
        valid=Images(pixels[half:], labels[half:], MEAN, STD),
        loss=nn.functional.cross_entropy,
        score=accuracy,
        target=target,
    )
