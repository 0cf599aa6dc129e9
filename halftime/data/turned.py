"""Labelled images that are turned by quarters, and targets for several heads: kind, group of kinds, and turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from halftime.data.augment import moved
from halftime.data.images import Images, draw


class TurnedImages(Images):
    """Images, each turned by none to three quarters, with their class, group and turn; `batch` normalises and augments.

    A sample is (image float32 [C, H, W], {"class", "animal", "rotation"}: int64). How far an image is turned is drawn
    anew whenever it is served; with `turns`, it is given once for all.

    Args:
        images: uint8, [N, C, H, W], as high as wide.
        labels: int64, [N].
        animals: the classes that are animals.
        mean: of each channel, where 0 is black and 1 is white.
        std: of each channel, likewise.
        turns: int64 [N], quarters by which each image is turned; drawn if None.
        shift: in training, each image is moved by up to this many pixels along each axis and mirrored in at the edge.
        flip: in training, every second image is turned left to right; before it is turned by quarters.

    Example:
        >>> data = TurnedImages(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4), (2, 3), [0.5], [0.25])
        >>> _, targets = data.batch(torch.tensor([1, 3]), torch.Generator().manual_seed(0))
        >>> targets["class"].tolist(), targets["animal"].tolist(), targets["rotation"].shape
        ([1, 3], [0, 1], torch.Size([2]))
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        animals: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        turns: Tensor | None = None,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(images, labels, mean, std, shift=shift, flip=flip)
        group = torch.isin(labels, torch.tensor(list(animals))).long()
        self.columns = (images, labels, group) if turns is None else (images, labels, group, turns)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        inputs, targets = self.batch(torch.tensor([index]), torch.Generator().manual_seed(index))
        return inputs[0], {name: target[0] for name, target in targets.items()}

    def batch(  # type: ignore[override]
        self, indices: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Images `indices` [B] as float32 [B, C, H, W] with their targets; chance comes from `generator` alone."""
        images, labels, group, *given = (column[indices.to(column.device)] for column in self.columns)
        if self.shift or self.flip:
            images = moved(images, *draw(len(indices), self.shift, self.flip, generator))
        turns = given[0] if given else torch.randint(4, (len(indices),), generator=generator, device=generator.device)
        turns = turns.to(images.device)
        return self.normalised(turned(images, turns)), {"class": labels, "animal": group, "rotation": turns}


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Each image turned counter-clockwise by its own number of quarters.

    Args:
        images: [B, C, H, W], as high as wide.
        turns: 0 to 3 for each, [B].

    Example:
        >>> turned(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([1]))
        tensor([[[[2, 4],
                  [1, 3]]]])
    """
    result = torch.empty_like(images)
    for quarters in range(4):
        chosen = turns == quarters
        result[chosen] = torch.rot90(images[chosen], quarters, (2, 3))
    return result
