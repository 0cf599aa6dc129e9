"""Easy samples first in your own loop: a copy of the network ranks the samples, the order lets in more of them.

Run it: python examples/plain/easy_first.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.easy_first import easy_first, scores_of


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    first: float = 0.3,
    proxy_epochs: int = 2,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    feed = Feed(Tensors(*data), batch_size, seed)
    ranks = scores_of(feed, network, "margin", proxy_epochs)
    feed, order = easy_first(feed, ranks, first)  # the method
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
    print(f"digits, easy ones first: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
