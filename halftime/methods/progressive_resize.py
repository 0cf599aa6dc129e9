"""Small images first.

What: images start at a share of their size and grow to full size, in steps, before the training ends. Paired with the
batch size, an epoch of small images serves as many more of them in a step as keep the device as full as large ones do.
Paper: Howard 2018, in the fast.ai entry to DAWNBench; Tan & Le 2021, "EfficientNetV2".
Costs: one interpolation a batch. Saves: the early steps cost the square of their size.
Fails when: the network is not fully convolutional, or the details that small images lose are what tells classes apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import mapped, tensors
from halftime.data.boxes import followed
from halftime.data.feed import Feed
from halftime.data.ranks import here
from halftime.data.steered import Growing, grown
from halftime.errors import BadRecipe
from halftime.places import Method, Places
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


def times_at(progress: float, smallest: float = 0.5, until: float = 0.7) -> int:
    """How many small images take the place of a full one: the whole part of one over the share of its area.

    Args:
        progress: share of the training done, 0 to 1.
        smallest: the first side as a share of the full one.
        until: the progress from which images have their full size.

    Returns:
        1 or more.

    Example:
        >>> [times_at(p) for p in (0, 0.1, 0.2, 0.3, 0.7)]
        [4, 3, 2, 1, 1]
    """
    share = 1.0 if progress >= until else smallest + (1.0 - smallest) * progress / until
    return max(1, int(share**-2 + 1e-9))


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


def _shrunk(inputs: Any, targets: Any, progress: float, sizes: tuple[float, float, int]) -> tuple[Any, Any]:
    """A batch at the size of its time, its boxes with it."""
    full = next((t.shape[-2:] for t in tensors(inputs) if _is_image(t)), None)
    if full is None or progress >= sizes[1]:
        return inputs, targets

    def shrink(tensor: Tensor) -> Tensor:
        sides = [size_at(progress, n, *sizes) for n in tensor.shape[-2:]]
        return resized(tensor, *sides) if _is_image(tensor) else tensor

    small = mapped(inputs, shrink)
    height, width = next(t.shape[-2:] for t in tensors(small) if _is_image(t))
    return small, followed(targets, lambda boxes: resized_boxes(boxes, full, (height, width)), height, width)


def _fuller(feed: Feed, smallest: float, until: float) -> Feed:
    """The same feed, with as many times its batch size in a step as small images take the place of a full one."""
    if here().world > 1:
        raise BadRecipe("ProgressiveResize(paired=True) is not proved on several devices: leave `paired` out")
    return grown(feed, partial(times_at, smallest=smallest, until=until))[0]


@dataclasses.dataclass(frozen=True)
class ProgressiveResize(Method):
    """Small images first.

    Args:
        smallest: the first side as a share of the full one.
        until: the progress from which images have their full size.
        multiple: sides are rounded to multiples of this, in pixels.
        paired: whether an epoch of small images serves more of them in a step, so that steps cost about the same;
            sizes then change between epochs only. A budget has as many steps as ever, and more samples are seen.
    """

    smallest: float = setting(0.5, above=0, high=1)
    until: float = setting(0.7, low=0, high=1)
    multiple: int = setting(4, low=1)
    paired: bool = False

    slot: ClassVar[str] = "size"
    after: ClassVar[tuple[str, ...]] = ("loader", "mixing")
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    needs: ClassVar[frozenset[str]] = frozenset({"images", "movable"})
    choices: ClassVar = {"smallest": (0.5, 0.7), "until": (0.5, 0.7, 0.9), "paired": (False, True)}

    def data(self, data: Feed) -> Feed:
        return _fuller(data, self.smallest, self.until) if self.paired else data

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        return _Paired(feed, self.smallest, self.until, self.multiple) if self.paired else self

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return _shrunk(inputs, targets, progress, (self.smallest, self.until, self.multiple))


class _Paired(Places):
    def __init__(self, feed: Feed, smallest: float, until: float, multiple: int) -> None:
        assert isinstance(feed.growth, Growing)
        self.growing, self.sizes = feed.growth, (smallest, until, multiple)

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.growing.progress = progress
        return _shrunk(
            inputs, targets, self.growing.at, self.sizes
        )  # within an epoch the size stays, as the number does

    def state_dict(self) -> dict[str, Any]:
        return self.growing.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.growing.load_state_dict(state)


def _is_image(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_floating_point()
