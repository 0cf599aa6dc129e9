"""The networks of the built-in workloads: a small convolutional one, ResNet-18 for small images, and a GPT."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class SmallConv(nn.Module):
    """Some 3x3 convolutions with BatchNorm, each as wide as `widths` says, then the mean over all places.

    Fully convolutional, so that smaller images work too.

    Args:
        channels: of the images.
        classes: how many logits come out.
        widths: channels after each convolution.
        strides: of each convolution; 2 halves the image's sides.

    Example:
        >>> SmallConv(1, 10, (8, 16), (1, 2))(torch.zeros(2, 1, 20, 20)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(convolution(a, b, stride), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
                for a, b, stride in zip(inputs, widths, strides, strict=True)
            )
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, channels, H, W]."""
        logits: Tensor = self.head(self.blocks(images).mean((2, 3)))
        return logits


class Headed(nn.Module):
    """The convolutions of `SmallConv` as a trunk, and a linear head for each of several tasks.

    Args:
        channels: of the images.
        widths: channels after each convolution.
        strides: of each convolution.
        heads: how many logits each head gives, by its name.

    Example:
        >>> outputs = Headed(3, (8, 16), (1, 2), {"class": 10, "animal": 2})(torch.zeros(2, 3, 20, 20))
        >>> {name: tuple(logits.shape) for name, logits in outputs.items()}
        {'class': (2, 10), 'animal': (2, 2)}
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...], strides: tuple[int, ...], heads: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.trunk = SmallConv(channels, 1, widths, strides).blocks
        self.heads = nn.ModuleDict({name: nn.Linear(widths[-1], answers) for name, answers in heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits [B, answers] of each head, of images [B, channels, H, W]."""
        features = self.trunk(images).mean((2, 3))
        return {name: head(features) for name, head in self.heads.items()}


class Textbook(nn.Sequential):
    """Two strided convolutions and two linear layers, with nothing to normalise (after LeCun et al. 1998).

    Args:
        channels: of the images.
        classes: how many logits come out.
        side: of the images, in pixels; the linear layers fix it.

    Example:
        >>> Textbook(1, 10, side=28)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, classes: int, side: int) -> None:
        last = (side + 3) // 4  # two strides of 2, each rounded up
        super().__init__(
            nn.Conv2d(channels, 16, 5, 2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * last * last, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016) with the stem for small images: one 3x3 convolution, no pooling before the stages.

    Args:
        channels: of the images.
        classes: how many logits come out.
        width: channels of the first of four stages; each later stage doubles them and halves the image's sides.

    Example:
        >>> ResNet18(3, 10, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        stages: list[nn.Module] = []
        for stage, (before, after) in enumerate(itertools.pairwise(widths)):
            stages += [Residual(before, after, stride=2 if stage else 1), Residual(after, after)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, channels, H, W]."""
        logits: Tensor = self.head(self.stages(self.stem(images)).mean((2, 3)))
        return logits


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, outputs, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, outputs, H / stride, W / stride] of features [B, inputs, H, W]."""
        return torch.relu(self.body(features) + self.shortcut(features))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the sides at stride 1; the BatchNorm after it makes a bias useless."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class GPT(nn.Module):
    """A decoder-only transformer (Radford et al. 2019): learned positions, norms before each part, GELU.

    Args:
        vocabulary: how many different tokens there are.
        context: the longest sequence.
        layers: how many blocks.
        width: size of a token's vector; a multiple of `heads`.
        heads: attention heads in each block.
        dropout: share of activations that are dropped in training.

    Example:
        >>> GPT(65, 16, layers=2, width=32, heads=4)(torch.zeros(2, 16, dtype=torch.long)).shape
        torch.Size([2, 65, 16])
    """

    def __init__(
        self, vocabulary: int, context: int, *, layers: int, width: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:  # what adds to the residual stream starts smaller, the more so the deeper
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5 if name.endswith("out.weight") else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, vocabulary, T] of what follows each of tokens [B, T]; classes second, as torch's losses want."""
        where = torch.arange(tokens.shape[1], device=tokens.device)
        features = self.dropout(self.tokens(tokens) + self.positions(where))
        logits: Tensor = self.head(self.norm(self.blocks(features)))
        return logits.transpose(1, 2)


class Block(nn.Module):
    """Causal self-attention, then two linear layers; each adds to what it was given."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout_p = heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width, bias=False)
        self.mlp_out = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, T, width] of the same shape."""
        features = features + self.dropout(self.attention_out(self._attend(self.attention_norm(features))))
        hidden = nn.functional.gelu(self.mlp_in(self.mlp_norm(features)))
        return features + self.dropout(self.mlp_out(hidden))  # type: ignore[no-any-return]

    def _attend(self, features: Tensor) -> Tensor:
        batch, length, width = features.shape
        split = self.attention_in(features).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout_p if self.training else 0.0, is_causal=True
        )
        return mixed.transpose(1, 2).reshape(batch, length, width)
