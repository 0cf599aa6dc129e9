"""Photographs with boxes in memory: they stay bytes, and boxes follow their photograph in every augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halftime.data.augment import moved
from halftime.data.boxes import flipped_boxes, shifted_boxes, visible
from halftime.data.images import Images, draw


class BoxedImages(Images):
    """Photographs, their boxes and the classes of these; `batch` normalises and augments.

    A sample is (image float32 [C, H, W], {"boxes": float32 [N, 4], "classes": int64 [N]}), boxes as in
    `halftime.data.boxes`: pixels of the image, rows that stand for no box have the class -1.

    Args:
        images: uint8, [S, C, H, W].
        boxes: float32 [S, N, 4], in pixels of these images.
        classes: int64 [S, N].
        mean: of each channel, where 0 is black and 1 is white.
        std: of each channel, likewise.
        shift: in training, each image is moved by up to this many pixels along each axis and mirrored in at the edge.
        flip: in training, every second image is turned left to right.

    Example:
        >>> boxes, classes = torch.tensor([[[0.0, 1, 2, 3]]]), torch.tensor([[1]])
        >>> data = BoxedImages(torch.zeros(1, 1, 4, 8, dtype=torch.uint8), boxes, classes, [0.5], [0.25], flip=True)
        >>> _, targets = data.batch(torch.zeros(9, dtype=torch.long), torch.Generator().manual_seed(0))
        >>> sorted(set(targets["boxes"][:, 0, 0].tolist()))
        [0.0, 6.0]
    """

    def __init__(
        self,
        images: Tensor,
        boxes: Tensor,
        classes: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(images, classes, mean, std, shift=shift, flip=flip)
        self.columns = (images, boxes, classes)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        image, targets = self.laid(tuple(column[index] for column in self.columns))
        return self.normalised(image[None])[0], targets

    @staticmethod
    def laid(columns: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """How rows of the columns make samples: boxes and classes stand beside the images by name."""
        images, boxes, classes = columns
        return images, {"boxes": boxes, "classes": classes}

    def batch(  # type: ignore[override]
        self, indices: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Images `indices` [B] as float32 [B, C, H, W] with their targets; chance comes from `generator` alone."""
        images, boxes, classes = (column[indices.to(column.device)] for column in self.columns)
        if self.shift or self.flip:
            height, width = images.shape[-2:]
            moves, flips = draw(len(indices), self.shift, self.flip, generator)
            images = moved(images, moves, flips)
            boxes = flipped_boxes(shifted_boxes(boxes, moves), flips, width)
            boxes, classes = visible(boxes, classes, height, width)
        return self.normalised(images), {"boxes": boxes, "classes": classes}
