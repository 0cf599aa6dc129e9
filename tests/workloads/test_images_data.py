"""Digits, Fashion-MNIST and CIFAR-10 as they are served: sizes, splits and the written means and deviations."""

from __future__ import annotations

import pytest
import torch

from halftime.workloads import cifar10, digits, fashion_mnist


def constants(images: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, from how often each of the 256 values occurs."""
    values = torch.arange(256, dtype=torch.float64) / 255.0
    shares = [torch.bincount(images[:, c].flatten(), minlength=256).double() for c in range(images.shape[1])]
    means = [float((values * s).sum() / s.sum()) for s in shares]
    squares = [float((values.square() * s).sum() / s.sum()) for s in shares]
    return means, [(q - m * m) ** 0.5 for q, m in zip(squares, means, strict=True)]


def test_digits_split_by_form():
    pixels, labels = digits.images()
    assert pixels.shape == (1797, 1, 8, 8)
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    made = digits.digits()
    assert (len(made.train), len(made.valid)) == (906, 891)
    assert torch.equal(torch.cat([made.train.columns[1], made.valid.columns[1]]), labels)
    assert labels[digits.OTHERS : digits.OTHERS + 9].tolist() == list(range(1, 10))  # a form begins by counting
    mean, std = constants(made.train.columns[0])
    assert mean == pytest.approx(digits.MEAN, abs=6e-5)
    assert std == pytest.approx(digits.STD, abs=6e-5)


@pytest.mark.parametrize(
    ("module", "name", "shape", "counts"),
    [
        (fashion_mnist, "fashion_mnist", (1, 28, 28), (60_000, 10_000)),
        (cifar10, "cifar10", (3, 32, 32), (50_000, 10_000)),
    ],
)
def test_images_and_constants(module, name, shape, counts, real):
    real(name)
    for (images, labels), count in zip(module.images(), counts, strict=True):
        assert images.shape == (count, *shape)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert torch.bincount(labels).tolist() == [count // 10] * 10  # both are balanced
    mean, std = constants(module.images()[0][0])
    assert mean == pytest.approx(module.MEAN, abs=6e-5)
    assert std == pytest.approx(module.STD, abs=6e-5)
