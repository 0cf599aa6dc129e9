"""16 bits in your own loop: autocast around network and loss, and loss scaling where float16 needs it.

Run it: python examples/plain/mixed_precision.py
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data.feed import Feed, Tensors
from halftime.methods.mixed_precision import DTYPES, scaled_update


def train_plain(
    make_network: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    lr: float = 0.1,
    dtype: str = "bf16",
) -> nn.Module:
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == "fp16")  # bfloat16 has the range of 32 bits

    def compute_loss(backward: Callable[[Tensor], None]) -> None:
        with torch.autocast("cpu", DTYPES[dtype]):  # the method: the backward pass stays outside
            loss = cross_entropy(network(images), labels)
        backward(loss)

    for batch in islice(Feed(Tensors(*data), batch_size, seed).batches(), steps):
        images, labels = batch
        scaled_update(compute_loss, optimizer, scaler)  # the method: one step, skipped on overflow
    return network


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, valid = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    network = train_plain(small_network, train, steps=400)
    right = (network(valid[0]).argmax(1) == valid[1]).float().mean()
    print(f"digits, bfloat16: {right:.1%} of the unseen ones right")


if __name__ == "__main__":
    main()
