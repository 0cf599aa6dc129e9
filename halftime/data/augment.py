"""Batched augmentation: plain functions of (images, drawn parameters), on whichever device holds the batch.

Images are uint8 or floating-point, [B, C, H, W]. Each `draw_` gives the parameters of a batch, keyed by sample, and
knows no images; each other function has no chance in it. Boxes and masks follow in `boxes.py`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from halftime.data.keyed import bits, uniform, whole

Edge = Literal["reflect", "zero"]


def draw_moves(ids: Tensor, seed: int, epoch: int, pad: int) -> Tensor:
    """By how many pixels each image moves (down, right), int64 [B, 2], each from -pad to pad.

    Args:
        ids: sample numbers, int64 [B].
        seed: of the run.
        epoch: counts from 0.
        pad: the farthest move in pixels.
    """
    return torch.stack([whole(ids, seed, epoch, stream, -pad, pad) for stream in (1, 2)], 1)


def shifted(images: Tensor, moves: Tensor, edge: Edge = "reflect") -> Tensor:
    """Pad and crop: each image moved, the gap filled by its mirror image or by zeros.

    Args:
        images: [B, C, H, W].
        moves: (down, right) in pixels, int64 [B, 2], each smaller than the side.
        edge: what fills the gap.

    Returns:
        A new tensor of the same shape and type.

    Example:
        >>> shifted(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[0, 1]])).tolist()
        [[[[2, 1, 2]]]]
    """
    return moved(images, moves, torch.zeros(len(images), dtype=torch.bool, device=images.device), edge)


def moved(images: Tensor, moves: Tensor, flips: Tensor, edge: Edge = "reflect") -> Tensor:
    """`shifted`, then `flipped`, in one pass over the pixels; arguments as there."""
    count, channels, height, width = images.shape
    moves, flips = moves.to(images.device), flips.to(images.device)
    rows = torch.arange(height, device=images.device) - moves[:, :1]
    columns = torch.arange(width, device=images.device) - moves[:, 1:]
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    pixels = mirrored(rows, height)[:, :, None] * width + mirrored(columns, width)[:, None, :]
    chosen = images.flatten(2).gather(2, pixels.view(count, 1, -1).expand(-1, channels, -1)).view_as(images)
    if edge == "reflect":
        return chosen
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return chosen.mul_(inside[:, None])


def draw_flips(ids: Tensor, seed: int, epoch: int, kind: Literal["random", "alternating"] = "random") -> Tensor:
    """Whether to turn each image left to right, bool [B].

    Args:
        ids: sample numbers, int64 [B].
        seed: of the run.
        epoch: counts from 0.
        kind: "random" throws a coin in each epoch; "alternating" throws one for the first and turns the image over
            in each later one, so that two epochs show both sides (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds").
    """
    if kind == "random":
        return bits(ids, seed, epoch, 3) < 0
    return (bits(ids, seed, -1, 3) < 0) ^ bool(epoch % 2)


def flipped(images: Tensor, flips: Tensor) -> Tensor:
    """Some images turned left to right.

    >>> flipped(torch.tensor([[[[1, 2]]], [[[3, 4]]]]), torch.tensor([True, False])).flatten().tolist()
    [2, 1, 3, 4]
    """
    if images.device.type == "cpu":  # only what turns is turned; elsewhere this would wait for the device
        turning = flips.nonzero().flatten()
        return images.index_copy(0, turning, images.index_select(0, turning).flip(3))
    return torch.where(flips.to(images.device)[:, None, None, None], images.flip(3), images)


def draw_centres(ids: Tensor, seed: int, epoch: int, height: int, width: int) -> Tensor:
    """A pixel (row, column) for each image, int64 [B, 2]."""
    rows = whole(ids, seed, epoch, 4, 0, height - 1)
    return torch.stack([rows, whole(ids, seed, epoch, 5, 0, width - 1)], 1)


def cut_out(images: Tensor, centres: Tensor, side: int, fill: float = 0.0) -> Tensor:
    """A square of each image painted over (DeVries and Taylor 2017); what lies outside the image is cut off.

    Args:
        images: [B, C, H, W].
        centres: (row, column) of the square's pixel number side // 2, int64 [B, 2].
        side: of the square, in pixels.
        fill: the colour.
    """
    first = centres.to(images.device) - side // 2
    rows = torch.arange(images.shape[2], device=images.device) - first[:, :1]
    columns = torch.arange(images.shape[3], device=images.device) - first[:, 1:]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return images.masked_fill(inside[:, None], fill)


def draw_colours(ids: Tensor, seed: int, epoch: int, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Factors (brightness, contrast, saturation) of each image, float32 [B, 3].

    Args:
        ids: sample numbers, int64 [B].
        seed: of the run.
        epoch: counts from 0.
        brightness: the factor lies between one minus and one plus this.
        contrast: likewise.
        saturation: likewise.
    """
    shares = enumerate((brightness, contrast, saturation), 6)
    return torch.stack([1 + share * (2 * uniform(ids, seed, epoch, stream) - 1) for stream, share in shares], 1)


def coloured(images: Tensor, factors: Tensor) -> Tensor:
    """Brightness, then contrast, then saturation changed; kept inside 0 to 255 (uint8) or 0 to 1 (floating-point).

    Contrast pulls towards the mean grey of the image, saturation towards the grey of the pixel; grey is 0.299 red +
    0.587 green + 0.114 blue (ITU-R BT.601). An image of one channel has no saturation.

    Args:
        images: [B, 3, H, W] or [B, 1, H, W].
        factors: float32 [B, 3]; 1 changes nothing.
    """
    top = 255.0 if images.dtype == torch.uint8 else 1.0
    bright, contrast, saturation = factors.to(images.device).view(-1, 3, 1, 1, 1).unbind(1)
    made = (images.to(torch.float32) * bright).clamp_(0, top)
    middle = _grey(made).mean((2, 3), keepdim=True)
    made = ((made - middle) * contrast + middle).clamp_(0, top)
    if images.shape[1] == 3:
        grey = _grey(made)
        made = ((made - grey) * saturation + grey).clamp_(0, top)
    return made.round_().to(torch.uint8) if images.dtype == torch.uint8 else made.to(images.dtype)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images
    shares = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    return (images * shares).sum(1, keepdim=True)


def draw_mix(ids: Tensor, seed: int, epoch: int, alpha: float) -> tuple[Tensor, Tensor]:
    """With which image of the batch each is mixed, int64 [B], and its own share, float32 [B] (Beta(alpha, alpha)).

    The shares are keyed by sample. The partners are the batch in an order drawn by sample, each mixed with the next:
    nobody with itself, and the same whichever way round the batch came.
    """
    from scipy.stats import beta  # late: few mix

    order = bits(ids, seed, epoch, 9).argsort(stable=True)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    quantiles = uniform(ids, seed, epoch, 10).cpu().numpy()
    return partners, torch.from_numpy(beta.ppf(quantiles, alpha, alpha)).to(torch.float32).to(ids.device)


def mixed(values: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """Mixup (Zhang et al. 2018): each row mixed with its partner's; for images, and for targets as probabilities.

    Args:
        values: [B, ...]; uint8 becomes float32.
        partners: rows of the same batch, int64 [B].
        shares: of the row itself, float32 [B].
    """
    values = values if values.is_floating_point() else values.to(torch.float32)
    own = shares.to(values.device, values.dtype).view(-1, *[1] * (values.ndim - 1))
    return values * own + values[partners.to(values.device)] * (1 - own)


def mirrored(positions: Tensor, side: int) -> Tensor:
    """Positions outside 0 to side - 1 thrown back at the edge, which itself is not doubled.

    >>> mirrored(torch.arange(-2, 6), 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    positions = positions.abs()
    return (side - 1) - ((side - 1) - positions).abs()
