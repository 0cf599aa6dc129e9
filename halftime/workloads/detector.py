"""A small detector without anchors: a heat map for each class, and in each cell of it the box that is centred there.

After CenterNet (Zhou et al. 2019, "Objects as Points") and TTFNet (Liu et al. 2020, "Training-Time-Friendly Network for
Real-Time Object Detection"): the cells round a box's centre learn the box, too, which makes the training shorter.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, logsigmoid, max_pool2d, pad

from halftime.data.boxes import NONE
from halftime.workloads.networks import Residual, convolution

STRIDE = 8  # pixels of a cell's side
NARROW = 0.1  # a bump's deviation as a share of its box's sides
SURE = 0.3  # cells in which a bump is at least this high learn its box
MOST = 100  # boxes found in an image, at most


class Detector(nn.Module):
    """Three strided convolutions, a look at half the resolution for what is large, and two maps.

    Fully convolutional, so that images of other sizes work too.

    Args:
        classes: how many heat maps come out.
        width: channels of the features; the first two convolutions have a quarter and a half of them.

    Example:
        >>> maps = Detector(3, width=16)(torch.zeros(2, 3, 96, 128))
        >>> maps["classes"].shape, maps["boxes"].shape
        (torch.Size([2, 3, 12, 16]), torch.Size([2, 4, 12, 16]))
    """

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        widths = (3, width // 4, width // 2, width)
        self.stem = nn.Sequential(
            *(_block(a, b, stride=2) for a, b in itertools.pairwise(widths)), Residual(width, width)
        )
        self.wide = nn.Sequential(Residual(width, width, stride=2), Residual(width, width))
        self.both = _block(width, width)
        self.boxes = nn.Conv2d(width, 4, 1)
        self.classes = nn.Conv2d(width, classes, 1)  # last, where a prior is looked for

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps of images [B, 3, H, W]: logits "classes" [B, C, h, w] and "boxes" [B, 4, h, w], h = H / 8 rounded up.

        A box is (right, down) from the cell's middle to its own in cells, then the logarithms of width and height in
        cells.
        """
        near = self.stem(images)
        features = self.both(near + interpolate(self.wide(near), near.shape[-2:], mode="nearest"))
        return {"boxes": self.boxes(features), "classes": self.classes(features)}


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


@dataclasses.dataclass(frozen=True)
class DetectionLoss:
    """The focal loss of the heat maps, and one minus the generalised overlap of the boxes (Rezatofighi et al. 2019).

    Targets are {"boxes": [B, N, 4] in pixels of the images, "classes": [B, N], -1 for no box}.

    Args:
        gamma: of the focal loss (Lin et al. 2017); zero makes easy cells count as much as hard ones.
        weight: of the boxes beside the heat maps.
    """

    gamma: float = 2.0
    weight: float = 2.0

    def __call__(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both parts of a batch's loss: the heat maps' by the number of boxes, and the boxes' by their weights."""
        logits, maps = outputs["classes"].float(), outputs["boxes"].float()
        aims = heat_maps(targets, logits.shape[1], *logits.shape[-2:])
        count = (targets["classes"] != NONE).sum().clamp(min=1)
        overlaps = generalised_overlap(placed(maps), aims.boxes)
        boxes = (aims.weights * (1.0 - overlaps)).sum() / aims.weights.sum().clamp(min=1e-6)
        return {"heat": heat_loss(logits, aims.heat, self.gamma).sum() / count, "boxes": self.weight * boxes}

    def refocused(self, gamma: float) -> DetectionLoss:
        """This loss with another gamma; how `FocalPrior` sets it."""
        return dataclasses.replace(self, gamma=gamma)


def heat_loss(logits: Tensor, heat: Tensor, gamma: float) -> Tensor:
    """The focal loss of each cell; beside a centre, a cell counts by the fourth power of what its heat lacks to one."""
    chance = logits.sigmoid()
    yes = -((1.0 - chance).clamp(min=1e-6) ** gamma) * logsigmoid(logits)
    no = -((1.0 - heat) ** 4) * chance.clamp(min=1e-6) ** gamma * logsigmoid(-logits)
    return torch.where(heat == 1.0, yes, no)


@dataclasses.dataclass(frozen=True)
class Aims:
    """What the maps of a batch should be.

    Args:
        heat: [B, C, h, w], one in the cell of each centre, and falling off round it.
        boxes: [B, 4, h, w] in pixels, the box that each cell should find.
        weights: [B, h, w], how much it counts there; 0 where there is none.
    """

    heat: Tensor
    boxes: Tensor
    weights: Tensor


def heat_maps(targets: Mapping[str, Tensor], classes: int, height: int, width: int) -> Aims:
    """The aims of targets, with a bump for each box.

    Args:
        targets: "boxes" [B, N, 4] in pixels and "classes" [B, N].
        classes: C.
        height: of the maps, in cells.
        width: of the maps, in cells.
    """
    boxes, kinds = pad(targets["boxes"], (0, 0, 0, 1)), pad(targets["classes"], (0, 1), value=NONE)  # never no row
    sides = (boxes[..., 2:] - boxes[..., :2]) / STRIDE
    middles = (boxes[..., :2] + boxes[..., 2:]) / (2 * STRIDE)
    limits = torch.tensor([width - 1, height - 1], device=boxes.device)
    cells = torch.minimum(middles.floor().clamp(min=0), limits)
    across, down = (
        ((torch.arange(n, device=boxes.device) - cells[..., i, None]) / (NARROW * sides[..., i, None]).clamp(min=1e-3))
        for i, n in enumerate((width, height))
    )
    bumps = torch.exp(-0.5 * (across[:, :, None, :] ** 2 + down[:, :, :, None] ** 2)) * (kinds != NONE)[..., None, None]
    heat = torch.stack([(bumps * (kinds == kind)[..., None, None]).amax(1) for kind in range(classes)], 1)
    highest, owner = bumps.max(1)
    owned = boxes.gather(1, owner.flatten(1)[..., None].expand(-1, -1, 4)).mT.reshape(-1, 4, height, width)
    return Aims(heat, owned, highest * (highest >= SURE))


def placed(maps: Tensor) -> Tensor:
    """The boxes that maps [B, 4, h, w] mean, [B, 4, h, w] in pixels: left, top, right, bottom."""
    rows, columns = (torch.arange(n, device=maps.device, dtype=maps.dtype) + 0.5 for n in maps.shape[-2:])
    x, y = maps[:, 0] + columns, maps[:, 1] + rows[:, None]
    wide, tall = (0.5 * maps[:, i].clamp(-6.0, 6.0).exp() for i in (2, 3))
    return STRIDE * torch.stack([x - wide, y - tall, x + wide, y + tall], 1)


def generalised_overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, less the share of the smallest box round both that neither fills.

    >>> one, other = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2]])
    >>> generalised_overlap(one.T[None], other.T[None]).tolist()
    [[1.0, 0.0]]
    """
    corner, far = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    common = (far - corner).clamp(min=0).prod(1)
    union = _area(one) + _area(other) - common
    hull = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(1)
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


@torch.no_grad()
def found(outputs: Mapping[str, Tensor], overlap: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes that maps show, the surest first.

    Args:
        outputs: of a `Detector`.
        overlap: of two boxes of a class that overlap by more, the less sure one is left out: its score becomes 0.

    Returns:
        boxes [B, K, 4] in pixels, scores [B, K], classes [B, K].
    """
    heat = outputs["classes"].float().sigmoid().nan_to_num(0.0)
    peaks = torch.where(heat == max_pool2d(heat, 3, 1, padding=1), heat, torch.zeros_like(heat))
    scores, places = peaks.flatten(1).topk(min(MOST, peaks[0].numel()))
    kinds, cells = places // heat[0, 0].numel(), places % heat[0, 0].numel()
    boxes = placed(outputs["boxes"].float()).nan_to_num(0.0).flatten(2).mT
    boxes = boxes.gather(1, cells[..., None].expand(-1, -1, 4))
    return boxes, scores * suppressed(boxes, kinds, overlap), kinds


def suppressed(boxes: Tensor, kinds: Tensor, overlap: float) -> Tensor:
    """Which of boxes [B, K, 4], the surest first, are kept [B, K]: those that no kept one of their class hides."""
    corner = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    far = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    common, areas = (far - corner).clamp(min=0).prod(3), (boxes[..., 2:] - boxes[..., :2]).prod(2)
    hides = (common > overlap * (areas[:, :, None] + areas[:, None] - common)) & (kinds[:, :, None] == kinds[:, None])
    kept = torch.ones_like(kinds, dtype=torch.bool)
    for rank in range(1, kinds.shape[1]):
        kept[:, rank] = ~(hides[:, rank, :rank] & kept[:, :rank]).any(1)
    return kept
