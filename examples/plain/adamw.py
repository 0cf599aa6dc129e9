"""Adam with decoupled weight decay on matrices and kernels only, in your own loop.

Run it: python examples/plain/adamw.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.sgd import decay_groups


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 3e-3,
    weight_decay: float = 0.01,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    # the method: torch has AdamW; what is added are groups that spare biases, norms and gains the decay
    groups = decay_groups(network, weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999))
    for images, labels in islice(Feed(Tensors(*data), batch_size, seed).batches(), steps):
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
    print(f"digits, AdamW: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
