"""Augmentation as a description, and a data set served through it: chance is keyed by (seed, epoch, sample)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from halftime.data import augment as how
from halftime.data.batch import MASKS, is_image, mapped, split
from halftime.data.boxes import cropped_boxes, flipped_boxes, shifted_boxes, visible
from halftime.data.crops import cropped, draw_crops
from halftime.data.pack import Pack
from halftime.errors import BadData, BadValue, shorten

CACHE = 2**20  # bytes of floats that are changed in one go


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to a batch, in this order; what is not given is not done.

    Args:
        resize: a random part of each image is brought to this (height, width) in pixels ...
        scale: ... with a share of the area between these ...
        ratio: ... and width over height between these.
        pad: each image moves by up to this many pixels along each axis ...
        edge: ... and the gap is its mirror image ("reflect") or "zero".
        flip: left to right: "random", or "alternating", which shows both sides in two epochs; "" for never.
        colour: how far brightness, contrast and saturation may be from 1.
        cutout: the side in pixels of a square that is painted over with 0.
        mean: of each channel, where 0 is black and 1 is white: uint8 images become float32 with mean 0 ...
        std: ... and deviation 1; both or none.
        mixup: alpha of mixup; targets become probabilities.
        classes: how many classes there are; needed for mixup.
        visible: boxes of which less than this share is left in the image are dropped.

    Raises:
        BadValue: a value that cannot be.

    Example:
        >>> augment = Augment(pad=1, flip="alternating")
        >>> images, labels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])
        >>> augment((images, labels), ids=torch.tensor([5, 9]), seed=0, epoch=3)[0].shape
        torch.Size([2, 3, 8, 8])
    """

    resize: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = 0
    edge: how.Edge = "reflect"
    flip: Literal["", "random", "alternating"] = ""
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cutout: int = 0
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    mixup: float = 0.0
    classes: int = 0
    visible: float = 0.25

    def __post_init__(self) -> None:
        for name, (fits, what) in FITS.items():
            if not fits(getattr(self, name)):
                raise BadValue(f"{name} must be {what}, not {shorten(getattr(self, name))}")
        if len(self.mean) != len(self.std):
            raise BadValue(f"mean has {len(self.mean)} channels and std {len(self.std)}: give both or none")
        if self.mixup and self.classes < 2:
            raise BadValue("mixup makes probabilities of class numbers: say how many classes there are")

    def __call__(self, batch: Any, ids: Tensor, seed: int, epoch: int) -> Any:
        """A batch changed.

        Args:
            batch: a tensor of images, a pair or a dict; boxes stand under "boxes" beside "classes", masks under "mask".
            ids: the samples' numbers in the data set, int64 [B].
            seed: of the run.
            epoch: counts from 0.
        """
        return self.done(batch, self.steps(_first_image(batch).shape[-2:], ids, seed, epoch), ids, seed, epoch)

    def steps(self, side: Sequence[int], ids: Tensor, seed: int, epoch: int) -> list[Step]:
        """What is done to images of this (height, width), with what is chance drawn."""
        return _steps(self, (side[0], side[1]), ids, seed, epoch)

    def done(self, batch: Any, steps: list[Step], ids: Tensor, seed: int, epoch: int) -> Any:
        """A batch after these steps and, if asked for, mixed."""
        batch = _followed(batch, steps, self.visible)
        if self.mixup:
            inputs, targets = split(batch)
            partners, shares = how.draw_mix(ids, seed, epoch, self.mixup)
            if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
                raise BadData("mixup needs one class number a sample as target")
            targets = how.mixed(one_hot(targets.long(), self.classes), partners, shares)
            return mapped(inputs, lambda t: how.mixed(t, partners, shares) if is_image(t) else t), targets
        return batch


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _whole(value: Any) -> bool:
    return _number(value) and isinstance(value, int)


def _many(values: Any, count: int, fits: Callable[[Any], bool] = _number) -> bool:
    return isinstance(values, (tuple, list)) and len(values) == count and all(map(fits, values))


def _rising(values: Any) -> bool:
    return _many(values, 2) and 0 < values[0] <= values[1]


def _channels(values: Any) -> bool:
    return hasattr(values, "__len__") and all(isinstance(v, Real) and math.isfinite(v) for v in values)


FITS: dict[str, tuple[Callable[[Any], bool], str]] = {  # what each setting must be, and the same in words
    "resize": (lambda v: v is None or (_many(v, 2, _whole) and min(v) > 0), "(height, width) in pixels"),
    "scale": (lambda v: _rising(v) and v[1] <= 1, "two rising numbers above 0, at most 1"),
    "ratio": (_rising, "two rising numbers above 0"),
    "edge": (lambda v: v in ("reflect", "zero"), "one of 'reflect', 'zero'"),
    "flip": (lambda v: v in ("", "random", "alternating"), "one of '', 'random', 'alternating'"),
    "colour": (lambda v: _many(v, 3), "three numbers of at least 0 (brightness, contrast, saturation)"),
    "mean": (_channels, "numbers, one a channel"),
    "std": (lambda v: _channels(v) and all(n > 0 for n in v), "numbers above 0, one a channel"),
    **dict.fromkeys(("pad", "cutout", "classes"), (_whole, "a whole number of at least 0")),
    **dict.fromkeys(("mixup", "visible"), (_number, "a number of at least 0")),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One change with its parameters drawn: what it does to images, to masks, and to boxes."""

    images: Callable[[Tensor], Tensor]
    masks: Callable[[Tensor], Tensor] | None = None
    boxes: Callable[[Tensor], Tensor] | None = None
    side: tuple[int, int] = (0, 0)  # height and width afterwards, where there are boxes
    read: Callable[[Tensor, Tensor], Tensor] | None = None  # the same of these rows [B] of more images


def _steps(want: Augment, side: tuple[int, int], ids: Tensor, seed: int, epoch: int) -> list[Step]:
    height, width = side
    steps = []
    flips = how.draw_flips(ids, seed, epoch, want.flip) if want.flip else torch.zeros(len(ids), dtype=torch.bool)
    if want.resize:
        crops = draw_crops(ids, seed, epoch, height, width, want.scale, want.ratio)
        height, width = want.resize  # without a move between, images are turned as they are made
        steps.append(_crop(crops, height, width, torch.zeros_like(flips) if want.pad else flips))
    if want.pad or (want.flip and not want.resize):
        if want.pad >= min(height, width):
            raise BadValue(f"pad must be smaller than the images' sides, {height}x{width}, not {want.pad}")
        steps.append(_move(want, ids, seed, epoch, flips, (height, width)))
    if any(want.colour):
        factors = how.draw_colours(ids, seed, epoch, *want.colour)
        steps.append(Step(lambda t: how.coloured(t, factors)))
    if want.cutout:
        centres = how.draw_centres(ids, seed, epoch, height, width)
        steps.append(Step(lambda t: how.cut_out(t, centres, want.cutout)))
    if want.mean:
        steps.append(Step(lambda t: normalised(t, want.mean, want.std)))
    return steps


def _crop(crops: Tensor, height: int, width: int, flips: Tensor) -> Step:
    return Step(
        lambda t: cropped(t, crops, height, width, flips),
        lambda t: cropped(t, crops, height, width, flips, nearest=True),
        lambda b: flipped_boxes(cropped_boxes(b, crops, height, width), flips, width),
        (height, width),
        lambda t, rows: cropped(t, crops, height, width, flips, rows=rows),
    )


def _move(want: Augment, ids: Tensor, seed: int, epoch: int, flips: Tensor, side: tuple[int, int]) -> Step:
    if not want.pad:
        turn: Callable[[Tensor], Tensor] = lambda t: how.flipped(t, flips)  # noqa: E731
        return Step(turn, turn, lambda b: flipped_boxes(b, flips, side[1]), side)
    moves = how.draw_moves(ids, seed, epoch, want.pad)
    move: Callable[[Tensor], Tensor] = lambda t: how.moved(t, moves, flips, want.edge)  # noqa: E731
    return Step(move, move, lambda b: flipped_boxes(shifted_boxes(b, moves), flips, side[1]), side)


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images as float32 with a mean of 0 and a deviation of 1; uint8 counts from 0 to 255, other types from 0 to 1."""
    top = 255.0 if images.dtype == torch.uint8 else 1.0
    scale = 1.0 / (top * torch.tensor(std, device=images.device).view(1, -1, 1, 1))
    offset = -torch.tensor(mean, device=images.device).view(1, -1, 1, 1) * scale * top
    if images.device.type != "cpu":
        return images.to(torch.float32) * scale + offset
    made = torch.empty_like(images, dtype=torch.float32)
    step = max(1, CACHE // max(1, 4 * images[0].numel()))
    for some, those in zip(torch.split(made, step), torch.split(images, step), strict=True):  # while in the cache
        some.copy_(those).mul_(scale).add_(offset)  # each with its own kernel for a broadcast: quicker than addcmul
    return made


def _first_image(tree: Any) -> Tensor:
    stack = [tree]
    while stack:
        one = stack.pop(0)
        if isinstance(one, Tensor) and is_image(one):
            return one
        if isinstance(one, Mapping):
            stack += [value for key, value in one.items() if key not in MASKS]
        elif isinstance(one, (tuple, list)):
            stack += list(one)
    raise BadData("there are no images [B, C, H, W] of 1, 3 or 4 channels in the batch: nothing to augment")


def _followed(tree: Any, steps: list[Step], least: float) -> Any:
    """Every image, mask and box of a nest, changed alike."""
    if isinstance(tree, Tensor):
        for step in steps if is_image(tree) else ():
            tree = step.images(tree)
        return tree
    if isinstance(tree, Mapping):
        made = {}
        for key, value in tree.items():
            act = _mask if key in MASKS else _followed
            made[key] = act(value, steps, least)
        if "boxes" in tree and any(step.boxes for step in steps):
            made |= _boxes(tree, steps, least)
        return made
    return type(tree)(_followed(v, steps, least) for v in tree) if type(tree) in (list, tuple) else tree


def _mask(mask: Tensor, steps: list[Step], _: float) -> Tensor:
    shaped = mask[:, None] if mask.ndim == 3 else mask
    for step in steps:
        shaped = step.masks(shaped) if step.masks else shaped
    return shaped[:, 0] if mask.ndim == 3 else shaped


def _boxes(targets: Mapping[str, Any], steps: list[Step], least: float) -> dict[str, Tensor]:
    if "classes" not in targets:
        raise BadData('boxes [B, N, 4] need their "classes" [B, N] beside them')
    boxes, classes = targets["boxes"], targets["classes"]
    for step in steps:
        if step.boxes:
            boxes, classes = visible(step.boxes(boxes), classes, *step.side, least)
    return {"boxes": boxes, "classes": classes}


class Augmented:
    """A data set whose batches are augmented as they are served; one sample alone is left as it is.

    Args:
        dataset: with `batch(indices, generator)` and no chance of its own: `Pack`, `Tensors`, `Images`.
        augment: what is done to each batch.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> data = Tensors(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.arange(8))
        >>> images, labels = Augmented(data, Augment(pad=2)).served(torch.tensor([3, 5]), seed=0, epoch=0)
        >>> labels.tolist()
        [3, 5]
    """

    def __init__(self, dataset: Any, augment: Augment) -> None:
        self.dataset, self.augment, self.together = dataset, augment, bool(augment.mixup)  # whether samples meet

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    @property
    def columns(self) -> tuple[Tensor, ...] | None:
        """The columns of the data set, if it is dense."""
        return getattr(self.dataset, "columns", None)

    def with_columns(self, columns: tuple[Tensor, ...]) -> Self:
        """The same over rows that lie elsewhere."""
        return type(self)(self.dataset.with_columns(columns), self.augment)

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        """Samples `indices` [B] augmented, with a seed from `generator`."""
        seed = int(torch.randint(2**62, (), generator=generator))
        return self.served(indices, seed, 0)

    def served(self, ids: Tensor, seed: int, epoch: int) -> Any:
        """Samples `ids` [B] augmented; their chance is a function of (seed, epoch, id)."""
        dice = torch.Generator().manual_seed(seed % 2**63)
        side = self.dataset.side if self.augment.resize and isinstance(self.dataset, Pack) else None
        if side is None:
            return self.augment(self.dataset.batch(ids, dice), ids, seed, epoch)
        # parts are cut as they are read: no copy of the whole
        crop, *later = self.augment.steps(side, ids, seed, epoch)
        batch = self.dataset.batch(ids, dice, taken=crop.read)
        return self.augment.done(batch, [dataclasses.replace(crop, images=lambda t: t), *later], ids, seed, epoch)
