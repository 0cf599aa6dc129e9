"""Weights of two losses in your own loop: weigh the losses, and tell the rule of each step.

Run it: python examples/plain/task_weights.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.task_weights import Uncertainty


def digit_losses(outputs: Tensor, digits: Tensor) -> dict[str, Tensor]:  # the last layer holds both heads
    return {"digit": cross_entropy(outputs[:, :10], digits), "odd": cross_entropy(outputs[:, 10:], digits % 2)}


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    losses: Callable[..., dict[str, Tensor]] = digit_losses,
    rule: Callable[[nn.Module], Uncertainty] = lambda _: Uncertainty(["digit", "odd"]),
    rate: float = 0.025,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    if isinstance(weights := rule(network), Uncertainty):  # its weights are learned
        optimizer.add_param_group({"params": weights.logs, "lr": rate})
    for images, wanted in islice(Feed(Tensors(*data), batch_size, seed).batches(), steps):
        optimizer.zero_grad()
        sum(weights.weighed(losses(network(images), wanted)).values()).backward()  # the method: before the step
        optimizer.step()
        weights.step()  # and after it
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 12))


def main() -> None:
    data = load_digits()
    images, digits = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    network = train_plain(small_network, (images[:1500], digits[:1500]), steps=400)
    right = (network(images[1500:])[:, :10].argmax(1) == digits[1500:]).float().mean()
    print(f"digits, two losses weighed: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
