"""Hide a square of each training image.

What: a square at a random place of each image, which may lie over the edge, is set to zero.
Paper: DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout".
Costs: one pass over the images.
Fails when: the training is too short to overfit, the square hides what tells the classes apart, or zero is far from
the mean.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import mapped
from halftime.data.order import key
from halftime.places import Method, Places
from halftime.settings import setting


def centres(seed: int, step: int, images: Tensor) -> Tensor:
    """Where the squares lie: a place in each image, any pixel alike; a function of seed and step.

    Args:
        seed: of the training.
        step: batches served so far.
        images: [B, C, H, W]; only its shape and device count.

    Returns:
        Rows and columns in pixels, [2, B], on the device of the images.

    Example:
        >>> centres(0, 1, torch.zeros(3, 1, 8, 8)).shape
        torch.Size([2, 3])
    """
    source = torch.Generator().manual_seed(key(seed, step, -4))  # no sample has a position below zero
    batch, _, height, width = images.shape
    drawn = torch.rand(2, batch, generator=source) * torch.tensor([[height], [width]])
    return drawn.long().to(images.device, non_blocking=True)


def cut_out(images: Tensor, at: Tensor, side: int) -> Tensor:
    """Images with a square of zeros.

    Args:
        images: [B, C, H, W].
        at: row and column of each square's middle in pixels, [2, B].
        side: of the squares, in pixels; the part over the edge is lost.

    Returns:
        New images [B, C, H, W].

    Example:
        >>> cut_out(torch.ones(1, 1, 3, 3), torch.tensor([[0], [1]]), 1)[0, 0].tolist()
        [[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    inside = []
    for middles, length in zip(at, images.shape[-2:], strict=True):
        offset = torch.arange(length, device=images.device) - (middles - side // 2)[:, None]
        inside.append((offset >= 0) & (offset < side))
    rows, columns = inside
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


@dataclasses.dataclass(frozen=True)
class Cutout(Method):
    """Hide a square of each training image.

    Args:
        share: side of the square as a share of the image's shorter side.
    """

    share: float = setting(0.25, above=0, high=1)

    slot: ClassVar[str] = "hiding"
    after: ClassVar[tuple[str, ...]] = ("mixing",)
    needs: ClassVar[frozenset[str]] = frozenset({"images"})
    choices: ClassVar = {"share": (0.25, 0.375, 0.5)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Hiding(feed, self.share)


class _Hiding(Places):
    def __init__(self, feed: Any, share: float) -> None:
        self.feed, self.share = feed, share

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        def hide(tensor: Tensor) -> Tensor:
            if tensor.ndim != 4 or not tensor.is_floating_point():
                return tensor
            side = max(1, round(self.share * min(tensor.shape[-2:])))
            return cut_out(tensor, centres(self.feed.seed, self.feed.served.step, tensor), side)

        return mapped(inputs, hide), targets
