"""Boxes follow their image: they move, turn and are cut as it is.

Boxes are (left, top, right, bottom) in pixels, float32 [B, N, 4]; classes are int64 [B, N]. Images have different
numbers of boxes: rows that stand for no box are all 0 and have the class `NONE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

NONE = -1


def shifted_boxes(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes of images that moved by (down, right), int64 [B, 2]; not yet cut, see `visible`."""
    down, right = moves.to(boxes.device, boxes.dtype).unbind(1)
    return boxes + torch.stack([right, down, right, down], 1)[:, None]


def flipped_boxes(boxes: Tensor, flips: Tensor, width: int) -> Tensor:
    """Boxes of images of this width of which some, bool [B], were turned left to right.

    >>> flipped_boxes(torch.tensor([[[1.0, 2, 3, 4]]]), torch.tensor([True]), 10).tolist()
    [[[7.0, 2.0, 9.0, 4.0]]]
    """
    left, top, right, bottom = boxes.unbind(2)
    turned = torch.stack([width - right, top, width - left, bottom], 2)
    return torch.where(flips.to(boxes.device)[:, None, None], turned, boxes)


def cropped_boxes(boxes: Tensor, crops: Tensor, height: int, width: int) -> Tensor:
    """Boxes of parts (top, left, height, width), int64 [B, 4], brought to one size; not yet cut, see `visible`."""
    top, left, tall, wide = crops.to(boxes.device, boxes.dtype).unbind(1)
    origin = torch.stack([left, top, left, top], 1)[:, None]
    factor = torch.stack([width / wide, height / tall, width / wide, height / tall], 1)[:, None]
    return (boxes - origin) * factor


def visible(boxes: Tensor, classes: Tensor, height: int, width: int, least: float = 0.25) -> tuple[Tensor, Tensor]:
    """Boxes cut at the edge of the image; one of which too little is left becomes no box.

    Args:
        boxes: float32 [B, N, 4].
        classes: int64 [B, N].
        height: of the image.
        width: of the image.
        least: the smallest share of a box's area that must be left.

    Example:
        >>> boxes = torch.tensor([[[-2.0, 0, 2, 4], [-9, 0, 1, 4]]])
        >>> visible(boxes, torch.tensor([[5, 6]]), 8, 8)[1].tolist()
        [[5, -1]]
    """
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
    cut = torch.minimum(boxes.clamp(min=0), limits)
    before, after = _area(boxes), _area(cut)
    kept = (classes != NONE) & (after > 0) & (after >= least * before)
    return cut * kept[:, :, None], torch.where(kept, classes, torch.full_like(classes, NONE))


def followed(targets: Any, change: Callable[[Tensor], Tensor], height: int, width: int) -> Any:
    """The targets of images that were moved, turned or resized as a whole batch.

    Args:
        targets: boxes [B, N, 4] under "boxes" are changed where their "classes" [B, N] stand beside them.
        change: the boxes before -> those after, in pixels.
        height: of the images afterwards.
        width: of the images afterwards.

    Example:
        >>> targets = {"boxes": torch.tensor([[[2.0, 2, 4, 6]]]), "classes": torch.tensor([[1]])}
        >>> followed(targets, lambda boxes: boxes / 2, 4, 4)["boxes"].tolist()
        [[[1.0, 1.0, 2.0, 3.0]]]
    """
    if not has_boxes(targets):
        return targets
    boxes, classes = visible(change(targets["boxes"]), targets["classes"], height, width)
    return {**targets, "boxes": boxes, "classes": classes}


def has_boxes(targets: Any) -> bool:
    """Whether targets hold boxes in the form that everybody here knows: "boxes" [B, N, 4] beside "classes" [B, N]."""
    if not (isinstance(targets, Mapping) and {"boxes", "classes"} <= targets.keys()):
        return False
    boxes, classes = targets["boxes"], targets["classes"]
    return isinstance(boxes, Tensor) and isinstance(classes, Tensor) and boxes.shape == (*classes.shape, 4)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)
