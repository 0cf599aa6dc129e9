"""Small images first.

What: images start at a share of their size and grow to full size, in steps, before the training ends.
Paper: Howard 2018, in the fast.ai entry to DAWNBench; Tan & Le 2021, "EfficientNetV2".
Costs: one interpolation a batch. Saves: the early steps cost the square of their size.
Fails when: the network is not fully convolutional, or the details that small images lose are what tells classes apart.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import Tensor, nn

from halftime.data.batch import mapped
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
    needs: ClassVar[frozenset[str]] = frozenset({"images"})
    choices: ClassVar = {"smallest": (0.5, 0.7), "until": (0.5, 0.7, 0.9)}

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        def shrink(tensor: Tensor) -> Tensor:
            if tensor.ndim != 4 or not tensor.is_floating_point():
                return tensor
            height, width = (size_at(progress, n, self.smallest, self.until, self.multiple) for n in tensor.shape[-2:])
            return resized(tensor, height, width)

        return mapped(inputs, shrink), targets
