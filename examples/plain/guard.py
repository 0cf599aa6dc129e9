"""A guard in your own loop: it does the step, or leaves a bad batch out and says so.

Run it: python examples/plain/guard.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.guard import StepGuard


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
    every: int = 25,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    guard = StepGuard(network, optimizer, every=every)  # the method: keeps snapshots and watches each step
    for images, labels in islice(Feed(Tensors(*data), batch_size, seed).batches(), steps):

        def compute_loss(backward: Callable[[Tensor], None], images: Tensor = images, labels: Tensor = labels) -> None:
            backward(cross_entropy(network(images), labels))

        for group in optimizer.param_groups:
            group["lr"] = lr * guard.rate  # halved each time that it went back to a snapshot
        guard.step(compute_loss)  # the method, in place of zero_grad, backward and step
    print(*guard.told, sep="\n", end="")
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, valid = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    network = train_plain(small_network, train, steps=400)
    right = (network(valid[0]).argmax(1) == valid[1]).float().mean()
    print(f"digits, under guard: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
