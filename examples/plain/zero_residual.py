"""Blocks that start as the identity in your own loop: one call before the optimizer is made.

Run it: python examples/plain/zero_residual.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.zero_residual import zero_residual_


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    feed = Feed(Tensors(*data), batch_size, seed)
    zero_residual_(network, feed.look()[0])  # the method: a batch shows it where branches end
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    for images, labels in islice(feed.batches(), steps):
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network


class Block(nn.Sequential):
    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + super().forward(features))


def small_network() -> nn.Module:
    block = Block(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
    return nn.Sequential(nn.Conv2d(1, 16, 3), block, nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, valid = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    network = train_plain(small_network, train, steps=400)
    right = (network(valid[0]).argmax(1) == valid[1]).float().mean()
    print(f"digits, blocks that start as the identity: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
