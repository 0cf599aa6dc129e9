"""Several devices in your own loop: a part of each batch a rank, gradients averaged, the rate scaled by a rule.

Run it: python examples/plain/multi_device.py
On two devices: torchrun --nproc-per-node 2 examples/plain/multi_device.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.multi_device import meet, part_of, scaled_rate, together_


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
    rates: str = "linear",
    base: int = 64,
    warmup: float = 0.05,
) -> nn.Module:
    device = meet()  # the method: the processes that torchrun started, or this one alone
    torch.manual_seed(seed)  # the same weights on every rank
    network = make_network().to(device)
    loss_of = together_(network, cross_entropy)  # the method: gradients and batch normalisation over all ranks
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    batches = part_of(Feed(Tensors(*data), batch_size, seed)).batches()  # the method: a part of the global batch
    for step, batch in enumerate(islice(batches, steps)):
        images, labels = (t.to(device) for t in batch)
        optimizer.param_groups[0]["lr"] = lr * scaled_rate(step / steps, batch_size / base, rates, warmup)
        optimizer.zero_grad()
        loss_of(network(images), labels).backward()
        optimizer.step()
    return network.cpu()


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    network = train_plain(small_network, (images[:1500], labels[:1500]), steps=400).eval()
    right = (network(images[1500:]).argmax(1) == labels[1500:]).float().mean()
    print(f"digits, several devices: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
