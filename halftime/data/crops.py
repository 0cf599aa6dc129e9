"""Random-resized crops of a batch: a part of each image at one size, on whichever device holds it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halftime.data.augment import flipped
from halftime.data.keyed import uniform

SMALL = 64 * 64  # pixels of a crop that one thread makes sooner than several can start


def draw_crops(
    ids: Tensor, seed: int, epoch: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """A part of each image: (top, left, height, width) in pixels, int64 [B, 4] (Szegedy et al. 2015).

    Args:
        ids: sample numbers, int64 [B].
        seed: of the run.
        epoch: counts from 0.
        height: of the images.
        width: of the images.
        scale: share of the area, from, to; uniform.
        ratio: width over height, from, to; uniform in its logarithm.

    A part that would not fit is cut to the image; nothing is drawn again.
    """
    share, shape, down, right = (uniform(ids, seed, epoch, stream).to(torch.float64) for stream in (11, 12, 13, 14))
    area = height * width * (scale[0] + (scale[1] - scale[0]) * share)
    aspect = torch.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * shape)
    tall = (area / aspect).sqrt().round().clamp(1, height)
    wide = (area * aspect).sqrt().round().clamp(1, width)
    top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
    return torch.stack([top, left, tall, wide], 1).to(torch.int64)


def cropped(
    images: Tensor,
    crops: Tensor,
    height: int,
    width: int,
    flips: Tensor | None = None,
    nearest: bool = False,
    rows: Tensor | None = None,
) -> Tensor:
    """A part of each image at one size, bilinear and antialiased.

    Args:
        images: uint8 or floating-point, [B, C, H, W].
        crops: (top, left, height, width), int64 [B, 4].
        height: of what comes out.
        width: of what comes out.
        flips: which of them are then turned left to right, bool [B]; none if None.
        nearest: take the nearest pixel instead of a mean: for masks, of any type.
        rows: which of more than B images, int64 [B].

    Returns:
        [B, C, height, width] of the same type; equal to `interpolate` on each part.

    Example:
        >>> cropped(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0, 0, 4, 4]]), 1, 1).item()
        7.5
    """
    flips = torch.zeros(len(crops), dtype=torch.bool) if flips is None else flips
    if images.device.type == "cpu" and not nearest:  # a kernel for each image costs less than full matrices
        return _each(images, crops, height, width, flips, torch.arange(len(images)) if rows is None else rows)
    images = images if rows is None else images[rows.to(images.device)]
    make = _nearest if nearest else weighted
    return flipped(make(images, crops.to(images.device), height, width), flips)


def _each(images: Tensor, crops: Tensor, height: int, width: int, flips: Tensor, rows: Tensor) -> Tensor:
    """One image after the other, in as many threads as torch would use."""
    made = images.new_empty(len(rows), images.shape[1], height, width)
    work = list(zip(made, rows.tolist(), crops.tolist(), flips.tolist(), strict=True))

    def some(part: list[tuple[Tensor, int, list[int], bool]]) -> None:
        for one, row, (t, s, h, w), turned in part:
            image = resized(images[row : row + 1, :, t : t + h, s : s + w], height, width)[0]
            one.copy_(image.flip(2) if turned else image)

    threads = min(torch.get_num_threads(), len(work))
    if threads < 2 or height * width < SMALL:
        some(work)
        return made
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, [work[first::threads] for first in range(threads)]))
    return made


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Whole images at another size, bilinear and antialiased; uint8 is rounded."""
    if images.dtype == torch.uint8 and images.shape[1] == 3:  # torch's kernel for bytes is fast in this layout alone
        images = images.contiguous(memory_format=torch.channels_last)
    return interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


def thinned(masks: Tensor, height: int, width: int) -> Tensor:
    """Whole masks [B, H, W] or [B, C, H, W] at another size: the nearest of their values, of any type."""
    shaped = masks[:, None] if masks.ndim == 3 else masks
    whole = torch.tensor([[0, 0, *masks.shape[-2:]]]).expand(len(masks), 4)
    made = cropped(shaped, whole, height, width, nearest=True)
    return made[:, 0] if masks.ndim == 3 else made


def weighted(images: Tensor, crops: Tensor, height: int, width: int) -> Tensor:
    """`cropped` as two batched matrix products: no loop over images, so that a GPU is kept busy."""
    crops = crops.to(images.device)
    down = _weights(crops[:, 0], crops[:, 2], images.shape[2], height)
    right = _weights(crops[:, 1], crops[:, 3], images.shape[3], width)
    made = down[:, None] @ images.to(torch.float32) @ right[:, None].transpose(2, 3)
    return made.round_().clamp_(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else made.to(images.dtype)


def _weights(first: Tensor, length: Tensor, side: int, wanted: int) -> Tensor:
    """How much of each old pixel is in each new one, [B, wanted, side]: a triangle as wide as shrinking asks for."""
    pixels = torch.arange(side, device=first.device) - first[:, None]
    inside = (pixels >= 0) & (pixels < length[:, None])
    ratio = (length.to(torch.float32) / wanted)[:, None]
    centres = (torch.arange(wanted, device=first.device) + 0.5) * ratio
    reach = ratio.clamp(min=1.0)[:, :, None]
    away = (pixels[:, None] + 0.5 - centres[:, :, None]).abs() / reach
    weights = (1 - away).clamp(min=0) * inside[:, None]
    return weights / weights.sum(2, keepdim=True)


def _nearest(images: Tensor, crops: Tensor, height: int, width: int) -> Tensor:
    """The pixel in which each new pixel's centre lies."""
    top, left, tall, wide = crops[:, :, None].unbind(1)
    rows = top + (2 * torch.arange(height, device=images.device) + 1) * tall // (2 * height)
    columns = left + (2 * torch.arange(width, device=images.device) + 1) * wide // (2 * width)
    pixels = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).view(len(images), 1, -1)
    chosen = images.flatten(2).gather(2, pixels.expand(-1, images.shape[1], -1))
    return chosen.view(len(images), images.shape[1], height, width)
