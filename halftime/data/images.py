"""Labelled images in memory: they stay bytes, a batch is normalised and augmented in a few whole-batch steps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from halftime.data.augment import moved


class Images:
    """Images and their classes; `batch` normalises and augments, a single sample is normalised only.

    Args:
        images: uint8, [N, C, H, W].
        labels: int64, [N].
        mean: of each channel, where 0 is black and 1 is white.
        std: of each channel, likewise.
        shift: in training, each image is moved by up to this many pixels along each axis and mirrored in at the edge
            (the same as padding by reflection and cropping); smaller than the image's sides.
        flip: in training, every second image is turned left to right.

    Example:
        >>> images = Images(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.arange(8), [0.5], [0.25], shift=1)
        >>> batch, classes = images.batch(torch.tensor([3, 5]), torch.Generator().manual_seed(0))
        >>> batch.shape, classes.tolist(), float(batch[0, 0, 0, 0])
        (torch.Size([2, 1, 4, 4]), [3, 5], -2.0)
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        self.columns: tuple[Tensor, ...] = (images, labels)
        self.scale = 1.0 / (255.0 * torch.tensor(std, device=images.device).view(1, -1, 1, 1))
        self.offset = -torch.tensor(mean, device=images.device).view(1, -1, 1, 1) * self.scale * 255.0
        self.shift, self.flip = shift, flip

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.columns[0][index], self.columns[1][index]
        return self.normalised(image[None])[0], label

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images `indices` [B] as float32 [B, C, H, W] and their classes [B]; chance comes from `generator` alone."""
        images, labels = self.columns
        indices = indices.to(images.device)
        chosen = images[indices]
        if self.shift or self.flip:
            chosen = moved(chosen, *draw(len(indices), self.shift, self.flip, generator))
        return self.normalised(chosen), labels[indices]

    def with_columns(self, columns: tuple[Tensor, ...]) -> Self:
        """The same data set over the same rows that lie elsewhere: on a device, or in a mapped file."""
        twin = copy.copy(self)
        twin.columns = tuple(columns)
        twin.scale, twin.offset = self.scale.to(columns[0].device), self.offset.to(columns[0].device)
        return twin

    def normalised(self, images: Tensor) -> Tensor:
        """Bytes [B, C, H, W] as float32 with a mean of 0 and a deviation of 1 over the whole data set."""
        return images.to(torch.float32).mul_(self.scale).add_(self.offset)


def draw(count: int, shift: int, flip: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """By how much to move each image, int64 [count, 2] (down, right), and whether to flip it, bool [count]."""
    device = generator.device
    moves = torch.randint(-shift, shift + 1, (count, 2), generator=generator, device=device)
    if not flip:
        return moves, torch.zeros(count, dtype=torch.bool, device=device)
    return moves, torch.randint(0, 2, (count,), generator=generator, device=device).bool()
