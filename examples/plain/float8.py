"""Large products in 8 bits in your own loop, on a CUDA device that has float8.

Run it: python examples/plain/float8.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.float8 import float8_, missing_for


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
    smallest: int = 64,
    device: str = "cuda",
) -> nn.Module:
    if lacking := missing_for(torch.device(device)):
        raise RuntimeError(f"Float8 needs {lacking}")
    torch.manual_seed(seed)
    network = make_network().to(device)
    float8_(network, smallest)  # the method
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    for images, labels in islice(Feed(Tensors(*(t.to(device) for t in data)), batch_size, seed).batches(), steps):
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.cpu()


def wide_network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    try:
        train_plain(wide_network, (images[:1500], labels[:1500]), steps=400)
        print("digits, trained in 8 bits")
    except RuntimeError as reason:
        print(f"digits, not trained: {reason}")


if __name__ == "__main__":
    main()
