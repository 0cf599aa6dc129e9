"""First a part of the data in your own loop: the feed begins with it, and goes on with all of it.

Run it: python examples/plain/subset_pretrain.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.subset_pretrain import part_first, part_of


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    share: float = 0.25,
    until: float = 0.3,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    feed = Feed(Tensors(*data), batch_size, seed)
    feed, order = part_first(feed, part_of(feed, share, "balanced"), until)  # the method
    for step, (images, labels) in enumerate(islice(feed.batches(), steps)):
        order.told(progress=step / steps)  # and hears how far the training is
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
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
    print(f"digits, a part of them first: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
