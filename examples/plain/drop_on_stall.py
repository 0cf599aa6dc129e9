"""A rate that drops when validation stalls, in your own loop: tell the watch each score, use its rate.

Run it: python examples/plain/drop_on_stall.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.drop_on_stall import StallWatch

Pair = tuple[Tensor, Tensor]
Maker = Callable[[], nn.Module]


def train_plain(
    make_network: Maker, data: Pair, valid: Pair, steps: int, batch_size: int = 64, seed: int = 0, patience: int = 2
) -> nn.Module:
    torch.manual_seed(seed)
    network, watch = make_network(), StallWatch(patience)  # the method
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step, (images, labels) in enumerate(islice(Feed(Tensors(*data), batch_size, seed).batches(), steps)):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * watch.rate  # the method, each step
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
        if (step + 1) % (steps // 10) == 0:
            watch.see(accuracy(network, valid))  # the method, after each evaluation; higher is better
    return network


@torch.no_grad()
def accuracy(network: nn.Module, valid: Pair) -> float:
    right = network.eval()(valid[0]).argmax(1) == valid[1]
    network.train()
    return float(right.float().mean())


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, valid = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    network = train_plain(small_network, train, valid, steps=400)
    print(f"digits, a rate that drops on stall: {accuracy(network, valid):.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
