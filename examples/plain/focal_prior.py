"""Class frequencies and the focal loss in your own loop: one call before training, and another loss.

Run it: python examples/plain/focal_prior.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from halftime.data.feed import Feed, Tensors
from halftime.methods.focal_prior import focal_loss, served_targets, set_prior_


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
    gamma: float = 2.0,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    feed = Feed(Tensors(*data), batch_size, seed)
    set_prior_(network, served_targets(feed))  # the method: the last bias, and
    for images, labels in islice(feed.batches(), steps):
        optimizer.zero_grad()
        focal_loss(network(images), labels, gamma).backward()  # the loss; in validation keep the plain one
        optimizer.step()
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, valid = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    network = train_plain(small_network, train, steps=400)
    right = (network(valid[0]).argmax(1) == valid[1]).float().mean()
    print(f"digits, class frequencies and the focal loss: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
