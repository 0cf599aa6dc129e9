"""Small images first.

What: images start at a share of their size and grow to full size, in steps, before the training ends.
Paper: Howard 2018, in the fast.ai entry to DAWNBench; Tan & Le 2021, "EfficientNetV2".
Costs: one interpolation a batch. Saves: the early steps cost the square of their size.
Fails when: the network is not fully convolutional, or the details that small images lose are what tells classes apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from halftime.data.batch import mapped, tensors
from halftime.data.boxes import followed
from halftime.places import Method
from halftime.settings import setting


def size_at(progress: float, full: int, smallest: float = 0.5, until: float = 0.7, multiple: int = 4) -> int:
    """The side of the images in pixels.

    Args:
        progress: share of the training done, 0 to 1.
        full: the full side.
        smallest: the first side as a share of the full one.
        until: the progress from which images have their full size.
        multiple: sides are rounded to multiples of this many pixels, so that few sizes occur.

    Returns:
        Pixels: a multiple of `multiple`, or `full`.

    Example:
        >>> [size_at(p, 32) for p in (0, 0.35, 0.7, 1)]
        [16, 24, 32, 32]
    """
    if progress >= until:
        return full
    side = full * (smallest + (1.0 - smallest) * progress / until)
    return min(full, max(multiple, round(side / multiple) * multiple))


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Images at another size, bilinear and antialiased.

    Args:
        images: floating-point, [B, C, H, W].
        height: in pixels.
        width: in pixels.

    Returns:
        [B, C, height, width]; the very same tensor where the size is right.

    Example:
        >>> tuple(resized(Tensor(2, 3, 8, 8), 4, 6).shape)
        (2, 3, 4, 6)
    """
    if images.shape[-2:] == (height, width):
        return images
    return nn.functional.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


def resized_boxes(boxes: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """The boxes of images that were brought to another size.

    Args:
        boxes: left, top, right and bottom in pixels, [..., 4].
        before: height and width of the images, in pixels.
        after: likewise.

    Returns:
        [..., 4], in pixels of the images as they are now.

    Example:
        >>> resized_boxes(Tensor([8, 8, 16, 16]), (32, 64), (16, 16)).tolist()
        [2.0, 4.0, 4.0, 8.0]
    """
    (old_height, old_width), (height, width) = before, after
    return boxes * boxes.new_tensor([width / old_width, height / old_height]).repeat(2)


@dataclasses.dataclass(frozen=True)
class ProgressiveResize(Method):
    """Small images first.

    Args:
        smallest: the first side as a share of the full one.
        until: the progress from which images have their full size.
        multiple: sides are rounded to multiples of this, in pixels.
    """

    smallest: float = setting(0.5, above=0, high=1)
    until: float = setting(0.7, low=0, high=1)
    multiple: int = setting(4, low=1)

    slot: ClassVar[str] = "size"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    needs: ClassVar[frozenset[str]] = frozenset({"images", "movable"})
    choices: ClassVar = {"smallest": (0.5, 0.7), "until": (0.5, 0.7, 0.9)}

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        full = next((t.shape[-2:] for t in tensors(inputs) if _is_image(t)), None)
        if full is None or progress >= self.until:
            return inputs, targets

        def shrink(tensor: Tensor) -> Tensor:
            sides = [size_at(progress, n, self.smallest, self.until, self.multiple) for n in tensor.shape[-2:]]
            return resized(tensor, *sides) if _is_image(tensor) else tensor

        small = mapped(inputs, shrink)
        height, width = next(t.shape[-2:] for t in tensors(small) if _is_image(t))
        return small, followed(targets, lambda boxes: resized_boxes(boxes, full, (height, width)), height, width)


def _is_image(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_floating_point()
