"""Gradients of two heads in your own loop, combined so that none works against another.

Run it: python examples/plain/gradient_surgery.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.gradient_surgery import combined, head_gradients, set_gradients_


def digit_losses(outputs: Tensor, digits: Tensor) -> dict[str, Tensor]:  # the last layer holds both heads
    return {"digit": cross_entropy(outputs[:, :10], digits), "odd": cross_entropy(outputs[:, 10:], digits % 2)}


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    losses: Callable[..., dict[str, Tensor]] = digit_losses,
    aggregator: str = "UPGrad",
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    weights = [*network.parameters()]
    for images, wanted in islice(Feed(Tensors(*data), batch_size, seed).batches(), steps):
        rows = head_gradients(losses(network(images), wanted), weights, keep=False)  # the method: each head alone,
        set_gradients_(weights, rows, lambda matrix: combined(matrix, aggregator))  # and one gradient of them
        optimizer.step()
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 12))


def main() -> None:
    data = load_digits()
    images, digits = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    network = train_plain(small_network, (images[:1500], digits[:1500]), steps=400)
    right = (network(images[1500:])[:, :10].argmax(1) == digits[1500:]).float().mean()
    print(f"digits, no head against another: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
