"""The pairs of workload and optimizer of `bench.rates`: small networks, short budgets, real data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch import nn

import halftime as ht
from halftime.data.images import Images
from halftime.methods import SGD, AdamW, Muon, OneCycle
from halftime.places import Method
from halftime.workloads import cifar10, fashion_mnist, get, shakespeare
from halftime.workloads.networks import GPT, SmallConv

JUDGED = 2000  # validation samples: enough to tell losses apart by one in a hundred
TRAINED = 12_000  # training images, where there are more


@dataclasses.dataclass(frozen=True)
class Pair:
    """One question: which rate for this optimizer on this network?"""

    name: str
    workload: Callable[[], ht.Workload]
    optimizer: Method
    steps: int
    batch_size: int
    grid: tuple[float, float]  # ends of the grid of nine that is the judge

    @property
    def recipe(self) -> ht.Recipe:
        return ht.Recipe([self.optimizer, OneCycle()], steps=self.steps, batch_size=self.batch_size)


def mlp(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10))


@functools.cache
def _digits(network: str) -> ht.Workload:
    models = {"mlp": lambda: mlp(64, 128), "cnn": lambda: SmallConv(1, 10, (8, 16, 16), (1, 1, 2))}
    return dataclasses.replace(get("digits"), name=f"digits {network}", model=models[network])


@functools.cache
def _images(source: str, network: str) -> ht.Workload:
    room = {"fashion_mnist": fashion_mnist, "cifar10": cifar10}[source]
    (x, y), (vx, vy) = room.images()
    channels, side = x.shape[1], x.shape[2]
    models = {
        "mlp": lambda: mlp(channels * side * side, 64),
        "cnn": lambda: SmallConv(channels, 10, (8, 16, 24), (2, 2, 2)),
    }
    return ht.Workload(
        name=f"{source} {network}",
        model=models[network],
        train=Images(x[:TRAINED], y[:TRAINED], room.MEAN, room.STD, flip=True),
        valid=Images(vx[:JUDGED], vy[:JUDGED], room.MEAN, room.STD),
        loss=nn.functional.cross_entropy,
        score=ht.accuracy,
        evaluations=1,
    )


@functools.cache
def _shakespeare() -> ht.Workload:
    tokens, vocabulary = shakespeare.characters()
    cut = int(len(tokens) * 0.9)
    return ht.Workload(
        name="shakespeare gpt",
        model=lambda: GPT(vocabulary, 32, layers=1, width=48, heads=4),
        train=shakespeare.Windows(tokens[:cut], 32, jitter=True),
        valid=shakespeare.Windows(tokens[cut : cut + 32 * 1000 + 1], 32),
        loss=nn.functional.cross_entropy,
        score=shakespeare.nats,
        better="lower",
        evaluations=1,
    )


def _pairs() -> dict[str, Pair]:
    sources: dict[str, tuple[Callable[[], ht.Workload], int, int]] = {
        "digits-mlp": (lambda: _digits("mlp"), 600, 32),
        "digits-cnn": (lambda: _digits("cnn"), 400, 32),
        "fashion-mlp": (lambda: _images("fashion_mnist", "mlp"), 600, 32),
        "fashion-cnn": (lambda: _images("fashion_mnist", "cnn"), 400, 32),
        "cifar-cnn": (lambda: _images("cifar10", "cnn"), 400, 32),
        "shakespeare-gpt": (_shakespeare, 400, 16),
    }
    optimizers: tuple[tuple[str, Method, tuple[float, float]], ...] = (
        ("sgd", SGD(), (3e-4, 3.0)), ("adamw", AdamW(), (3e-5, 0.3)), ("muon", Muon(), (3e-4, 3.0)),
    )  # fmt: skip
    return {
        f"{name}-{short}": Pair(f"{name}-{short}", make, optimizer, steps, batch, grid)
        for name, (make, steps, batch) in sources.items()
        for short, optimizer, grid in optimizers
    }


PAIRS = _pairs()
SEEN = ("digits-mlp-sgd", "digits-mlp-adamw", "digits-cnn-sgd", "fashion-mlp-adamw")  # the constants were set on these
torch.set_num_threads(1)
