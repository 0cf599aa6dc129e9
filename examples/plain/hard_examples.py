"""Hard samples more often in your own loop: a copy of the network finds them, and each counts less for it.

Run it: python examples/plain/hard_examples.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.hard_examples import often, scores_of


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    strength: float = 0.5,
    proxy_epochs: int = 2,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    feed = Feed(Tensors(*data), batch_size, seed)
    errors = scores_of(feed, network, "el2n", proxy_epochs)
    feed, weights = often(feed, errors, strength)  # the method: how often each sample, and what it counts then
    for images, labels in islice(feed.batches(), steps):
        losses = cross_entropy(network(images), labels, reduction="none")
        optimizer.zero_grad()
        (losses * weights[feed.served.ids]).mean().backward()
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
    print(f"digits, hard ones more often: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
