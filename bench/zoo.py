"""A zoo of small networks of different kinds, each with data of its own, on which switches are timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import halftime as ht
from halftime.workloads.networks import GPT, SmallConv, Textbook

CLASSES, SIDE, SAMPLES, BATCH = 10, 16, 512, 32


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    options.setdefault("padding", kernel // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def classifier(*layers: nn.Module, width: int) -> nn.Sequential:
    """Layers of features, then the mean over positions and a linear layer."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


class Plus(nn.Module):
    """A residual connection around layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Turned(nn.Module):
    """A layer along another dimension."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


class Patches(nn.Module):
    """Images cut into patches: [B, positions, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(x).flatten(2).transpose(1, 2)


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Recurrent(nn.Module):
    """A recurrent network over the rows of an image."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cells, self.head = kind(SIDE * 3, 48, batch_first=True), nn.Linear(48, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x.transpose(1, 2).flatten(2))[0][:, -1])  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Down, up, and a bridge; its output is pooled so that all networks have one task."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.up = conv(3, 12), conv(12, 24, stride=2), nn.ConvTranspose2d(24, 12, 2, 2)
        self.out = classifier(conv(24, 12), width=12)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        return self.out(torch.cat([fine, self.up(self.deep(fine))], 1))  # type: ignore[no-any-return]


def next_like(width: int = 24) -> nn.Module:
    """Large depthwise kernels and a wide middle, as ConvNeXt has."""
    block = Plus(
        nn.Conv2d(width, width, 7, padding=3, groups=width), nn.GroupNorm(1, width), nn.Conv2d(width, 4 * width, 1),
        nn.GELU(), nn.Conv2d(4 * width, width, 1),
    )  # fmt: skip
    return classifier(nn.Conv2d(3, width, 2, 2), block, width=width)


def mobile(width: int = 24) -> nn.Module:
    """Depthwise and pointwise convolutions in turn."""
    return classifier(conv(3, width), conv(width, width, groups=width), conv(width, 2 * width, 1), width=2 * width)


def vision_transformer(width: int = 48) -> nn.Module:
    """Attention over patches."""
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
    return nn.Sequential(Patches(width), layer, Mean(), nn.Linear(width, CLASSES))


def mixer(width: int = 48) -> nn.Module:
    """Linear layers along positions and along channels in turn."""
    places = (SIDE // 4) ** 2
    along = Plus(nn.LayerNorm(width), Turned(nn.Sequential(nn.Linear(places, 32), nn.GELU(), nn.Linear(32, places))))
    across = Plus(nn.LayerNorm(width), nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width))
    return nn.Sequential(Patches(width), along, across, Mean(), nn.Linear(width, CLASSES))


def _layers(*widths: int) -> list[nn.Module]:
    """Linear layers with a ReLU behind each."""
    return [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]


IMAGES: dict[str, Callable[[], nn.Module]] = {
    "MLP": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
    "deep MLP": lambda: nn.Sequential(nn.Flatten(), *_layers(3 * SIDE**2, *[64] * 6), nn.Linear(64, CLASSES)),
    "CNN without norm": lambda: Textbook(3, CLASSES, SIDE),
    "CNN with BatchNorm": lambda: SmallConv(3, CLASSES, (16, 32, 32), (1, 2, 2)),
    "CNN with GroupNorm": lambda: classifier(
        nn.Conv2d(3, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), width=24
    ),
    "ResNet": lambda: classifier(conv(3, 24), Plus(conv(24, 24), conv(24, 24)), conv(24, 48, stride=2), width=48),
    "grouped convolutions": lambda: classifier(conv(3, 32), conv(32, 32, groups=8), conv(32, 32, groups=8), width=32),
    "depthwise separable": mobile,
    "ConvNeXt-like": next_like,
    "U-Net-like": UNet,
    "ViT": vision_transformer,
    "MLP-Mixer": mixer,
    "LSTM": lambda: Recurrent(nn.LSTM),
    "GRU": lambda: Recurrent(nn.GRU),
}


def zoo() -> dict[str, ht.Workload]:
    """Every network with data of its own, from chance: nothing but seconds is looked at."""
    source = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLES, 3, SIDE, SIDE, generator=source), torch.randint(CLASSES, (SAMPLES,), generator=source)
    tokens = torch.randint(32, (SAMPLES, 2, 33), generator=source)
    text = tokens[:, 0, :-1], tokens[:, 0, 1:]
    found = {name: workload(name, make, images) for name, make in IMAGES.items()}
    return {**found, "GPT": workload("GPT", lambda: GPT(32, 32, layers=2, width=48, heads=4), text)}


def workload(name: str, make: Callable[[], nn.Module], data: tuple[Tensor, Tensor]) -> ht.Workload:
    """A network and data as a workload."""
    return ht.Workload(name=name, model=make, train=data, valid=tuple(part[:64] for part in data),
                       loss=nn.functional.cross_entropy, score=ht.accuracy, target=0.9)  # fmt: skip
