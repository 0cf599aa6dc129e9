"""Conflicts of two heads in your own loop: now and then, compare the gradients of their losses in the trunk.

Run it: python examples/plain/conflict_meter.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.conflict_meter import ConflictCounter


def digit_losses(outputs: Tensor, digits: Tensor) -> dict[str, Tensor]:  # the last layer holds both heads
    return {"digit": cross_entropy(outputs[:, :10], digits), "odd": cross_entropy(outputs[:, 10:], digits % 2)}


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    losses: Callable[..., dict[str, Tensor]] = digit_losses,
    every: int = 20,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    counter = ConflictCounter([*network.parameters()])
    for step, (images, wanted) in enumerate(islice(Feed(Tensors(*data), batch_size, seed).batches(), steps), start=1):
        optimizer.zero_grad()
        found = losses(network(images), wanted)
        if step % every == 0:
            counter.look(found)  # the method, which changes nothing
        sum(found.values()).backward()
        optimizer.step()
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 12))


def main() -> None:
    data = load_digits()
    images, digits = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    network = train_plain(small_network, (images[:1500], digits[:1500]), steps=400)
    right = (network(images[1500:])[:, :10].argmax(1) == digits[1500:]).float().mean()
    print(f"digits, watched for conflicts: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
