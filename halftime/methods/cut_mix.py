"""Train on images with a piece of another image pasted in, and on both classes by their shares of the area.

What: a box of each image is filled from the one before it in the batch; the loss blends both targets by area.
Paper: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".
Costs: a copy of the images and one more loss; the training loss no longer tells how well the network does.
Fails when: the training is too short to overfit, or a class shows in one small place that the box hides or misses.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import mapped, tensors
from halftime.data.order import key
from halftime.methods.mix_up import pair_loss, paired
from halftime.places import Loss, Method, Places
from halftime.settings import setting

Box = tuple[int, int, int, int]  # top, bottom, left, right in pixels; the ends are not in it


def box_at(seed: int, step: int, alpha: float, height: int, width: int) -> Box:
    """A box whose share of the image is drawn from Beta(alpha, alpha) and whose centre lies anywhere; cut at the edges.

    Args:
        seed: of the training.
        step: batches served so far.
        alpha: one draws every share alike, small values little or nearly all.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        Top, bottom, left and right in pixels; the ends are not in it. It depends on the arguments alone.

    Example:
        >>> top, bottom, left, right = box_at(0, 1, 1.0, 32, 32)
        >>> 0 <= top <= bottom <= 32 and 0 <= left <= right <= 32
        True
    """
    source = random.Random(key(seed, step, -2))  # no sample has a position below zero
    side = source.betavariate(alpha, alpha) ** 0.5
    ends: list[int] = []
    for length in (height, width):
        centre, half = source.random() * length, side * length / 2
        ends += [max(0, round(centre - half)), min(length, round(centre + half))]
    return ends[0], ends[1], ends[2], ends[3]


def pasting(seed: int, step: int, often: float) -> bool:
    """Whether the batch of a step is changed; a function of its arguments alone.

    Args:
        seed: of the training.
        step: batches served so far.
        often: the share of batches that are.

    Returns:
        True or False.

    Example:
        >>> pasting(0, 1, often=1.0)
        True
    """
    return random.Random(key(seed, step, -3)).random() < often


def pasted(images: Tensor, box: Box) -> Tensor:
    """Each image with the box of the one before it; the first with that of the last.

    Args:
        images: [B, C, H, W].
        box: top, bottom, left and right in pixels.

    Returns:
        New images [B, C, H, W].

    Example:
        >>> import torch
        >>> pasted(torch.tensor([[[[1, 1]]], [[[2, 2]]]]), (0, 1, 0, 1)).flatten().tolist()
        [2, 1, 1, 2]
    """
    top, bottom, left, right = box
    result = images.clone()
    result[..., top:bottom, left:right] = images[..., top:bottom, left:right].roll(1, 0)
    return result


def kept_share(box: Box, height: int, width: int) -> float:
    """How much of an image lies outside a box.

    Args:
        box: top, bottom, left and right in pixels.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        From 0 to 1.

    Example:
        >>> kept_share((0, 2, 0, 4), 4, 4)
        0.5
    """
    top, bottom, left, right = box
    return 1.0 - (bottom - top) * (right - left) / (height * width)


@dataclasses.dataclass(frozen=True)
class CutMix(Method):
    """Train on images with a piece of another pasted in, and on both classes by area.

    Args:
        alpha: the share of the piece is drawn from Beta(alpha, alpha): one draws every share alike.
        often: the share of batches that are changed.
    """

    alpha: float = setting(1.0, above=0)
    often: float = setting(0.5, above=0, high=1)

    slot: ClassVar[str] = "mixing"
    # a bad sample is left out before it gets into another; the loss of a prior takes the two targets one by one
    after: ClassVar[tuple[str, ...]] = ("guard", "prior")
    needs: ClassVar[frozenset[str]] = frozenset({"images", "classes", "movable"})
    choices: ClassVar = {"alpha": (0.5, 1.0), "often": (0.25, 0.5, 1.0)}

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return lambda outputs, targets: pair_loss(loss, outputs, targets)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Pasting(feed, self.alpha, self.often)


class _Pasting(Places):
    def __init__(self, feed: Any, alpha: float, often: float) -> None:
        self.feed, self.alpha, self.often = feed, alpha, often

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        seed, step = self.feed.seed, self.feed.served.step
        if not pasting(seed, step, self.often):
            return inputs, paired(targets, 1.0)
        height, width = next(t.shape[-2:] for t in tensors(inputs) if _images(t))
        box = box_at(seed, step, self.alpha, height, width)
        changed = mapped(inputs, lambda t: pasted(t, box) if _images(t) else t)
        return changed, paired(targets, kept_share(box, height, width))


def _images(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_floating_point()
