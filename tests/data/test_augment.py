"""Batched augmentation against code that does one image at a time, and its chance against what it should be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch.nn.functional import interpolate, pad

from halftime.data import augment as how
from halftime.data.crops import cropped, draw_crops, weighted
from halftime.data.keyed import bits, uniform, whole

IDS = torch.arange(20_000)


def pictures(kind: torch.dtype, count: int = 12, channels: int = 3, height: int = 9, width: int = 7) -> Tensor:
    source = torch.Generator().manual_seed(0)
    if kind == torch.uint8:
        return torch.randint(0, 256, (count, channels, height, width), generator=source, dtype=torch.uint8)
    return torch.rand(count, channels, height, width, generator=source, dtype=kind)


def naive_move(image: Tensor, down: int, right: int, flip: bool, by: int, edge: str) -> Tensor:
    """Pad, crop, flip: one image at a time, with torch's own padding."""
    _, height, width = image.shape
    mode: dict[str, Any] = {"mode": "reflect"} if edge == "reflect" else {"mode": "constant", "value": 0}
    padded = pad(image.double(), (by,) * 4, **mode)
    cut = padded[:, by - down : by - down + height, by - right : by - right + width].to(image.dtype)
    return cut.flip(-1) if flip else cut


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("edge", ["reflect", "zero"])
@pytest.mark.parametrize("by", [1, 4, 6])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 10**6))
def test_moves_and_flips_equal_their_naive_twin_exactly(kind, edge, by, seed, epoch):
    images, ids = pictures(kind), torch.arange(12) * 7919
    moves, flips = how.draw_moves(ids, seed, epoch, by), how.draw_flips(ids, seed, epoch)
    twin = [
        naive_move(image, *move, turn, by, edge)
        for image, move, turn in zip(images, moves.tolist(), flips, strict=True)
    ]
    assert torch.equal(how.moved(images, moves, flips, edge), torch.stack(twin))
    assert torch.equal(how.flipped(how.shifted(images, moves, edge), flips), torch.stack(twin))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("height", "width"), [(5, 4), (16, 16), (9, 7)])
def test_resized_crops_equal_interpolation_of_each(kind, height, width):
    images = pictures(kind, 40, height=24, width=20)
    crops = draw_crops(torch.arange(40), 3, 1, 24, 20, (0.1, 1.0), (0.5, 2.0))
    twin = torch.cat(
        [
            interpolate(
                image[None, :, t : t + h, s : s + w],
                (height, width),
                mode="bilinear",
                antialias=True,
                align_corners=False,
            )
            for image, (t, s, h, w) in zip(images, crops.tolist(), strict=True)
        ]
    )
    assert torch.equal(cropped(images, crops, height, width), twin)
    off = (weighted(images, crops, height, width).double() - twin.double()).abs().max()
    assert off <= (1 if kind == torch.uint8 else 1e-5)  # torch rounds bytes after each axis


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000))
def test_crops_lie_inside(seed, epoch):
    crops = draw_crops(torch.arange(64), seed, epoch, 30, 17, (0.08, 1.0), (3 / 4, 4 / 3))
    assert int(crops[:, :2].min()) >= 0
    assert int(crops[:, 2:].min()) >= 1
    assert int((crops[:, 0] + crops[:, 2]).max()) <= 30
    assert int((crops[:, 1] + crops[:, 3]).max()) <= 17


def test_a_mask_takes_the_nearest_pixel():
    masks = torch.randint(0, 9, (6, 1, 12, 10))
    crops = draw_crops(torch.arange(6), 0, 0, 12, 10, (0.2, 1.0), (0.5, 2.0))
    twin = [
        interpolate(mask[None, :, t : t + h, s : s + w].double(), (7, 5), mode="nearest-exact").long()
        for mask, (t, s, h, w) in zip(masks, crops.tolist(), strict=True)
    ]
    assert torch.equal(cropped(masks, crops, 7, 5, nearest=True), torch.cat(twin))


def test_every_offset_is_as_likely_as_any_other():
    for epoch in range(3):
        moves = how.draw_moves(IDS, 5, epoch, 4)
        counts = torch.bincount((moves[:, 0] + 4) * 9 + moves[:, 1] + 4, minlength=81)
        assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("kind", ["random", "alternating"])
def test_both_flips_are_as_likely_and_have_nothing_to_do_with_moves(kind):
    flips = how.draw_flips(IDS, 5, 3, kind)
    assert chisquare(torch.bincount(flips.long())).pvalue > 0.001
    both = flips.long() * 3 + how.draw_moves(IDS, 5, 3, 1)[:, 0] + 1
    assert chisquare(torch.bincount(both, minlength=6)).pvalue > 0.001


def test_epochs_seeds_and_streams_have_nothing_to_do_with_each_other():
    first = bits(IDS, 1, 0, 0) < 0
    others = (bits(IDS, 1, 1, 0), bits(IDS, 2, 0, 0), bits(IDS, 1, 0, 1), bits(IDS + 1, 1, 0, 0))
    for other in others:
        assert chisquare(torch.bincount(first.long() * 2 + (other < 0).long(), minlength=4)).pvalue > 0.001


def test_numbers_are_uniform():
    tens = (uniform(IDS, 0, 0, 0) * 10).long()
    assert chisquare(torch.bincount(tens, minlength=10)).pvalue > 0.001
    assert chisquare(torch.bincount(whole(IDS, 0, 0, 0, 0, 6), minlength=7)).pvalue > 0.001
    assert bits(IDS, 0, 0, 0).unique().numel() == len(IDS)


@settings(deadline=None, max_examples=50)
@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40), st.permutations(range(20)))
def test_a_sample_has_the_same_chance_in_any_batch(seed, epoch, order):
    ids = torch.tensor(order)
    assert torch.equal(how.draw_moves(ids, seed, epoch, 4), how.draw_moves(torch.arange(20), seed, epoch, 4)[ids])


def test_alternating_flips_show_both_sides_in_two_epochs():
    for epoch in range(4):
        one, other = (how.draw_flips(IDS, 9, e, "alternating") for e in (epoch, epoch + 1))
        assert torch.equal(one, ~other)
    assert torch.equal(how.draw_flips(IDS, 9, 0, "alternating"), how.draw_flips(IDS, 9, 2, "alternating"))


@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_cutout_equals_its_naive_twin(side):
    images, ids = pictures(torch.uint8), torch.arange(12)
    centres = how.draw_centres(ids, 0, 0, 9, 7)
    twin = images.clone()
    for image, (row, column) in zip(twin, centres.tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        image[:, max(0, top) : top + side, max(0, left) : left + side] = 5
    assert torch.equal(how.cut_out(images, centres, side, 5), twin)


def test_colour_equals_its_naive_twin():
    images, factors = pictures(torch.float32), how.draw_colours(torch.arange(12), 0, 0, 0.4, 0.4, 0.4)
    assert 0.6 <= float(factors.min()) < 0.8 < 1.2 < float(factors.max()) <= 1.4
    for image, made, (b, c, s) in zip(images, how.coloured(images, factors), factors.tolist(), strict=True):
        grey = lambda x: 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]  # noqa: E731
        bright = (image * b).clamp(0, 1)
        contrast = (c * bright + (1 - c) * grey(bright).mean()).clamp(0, 1)
        twin = (s * contrast + (1 - s) * grey(contrast)).clamp(0, 1)
        assert torch.allclose(made, twin, atol=1e-5)


def test_colour_factors_of_one_change_nothing():
    images = pictures(torch.uint8)
    assert torch.equal(how.coloured(images, torch.ones(12, 3)), images)
    grey = pictures(torch.uint8, channels=1)
    assert torch.equal(how.coloured(grey, torch.ones(12, 3)), grey)


def test_mixup_mixes_each_with_another():
    ids = torch.arange(12) + 100
    partners, shares = how.draw_mix(ids, 1, 2, 0.4)
    assert sorted(partners.tolist()) == list(range(12))
    assert all(i != p for i, p in enumerate(partners.tolist()))
    assert float(shares.min()) >= 0
    assert float(shares.max()) <= 1
    images = pictures(torch.uint8)
    twin = [images[i] * shares[i] + images[p] * (1 - shares[i]) for i, p in enumerate(partners.tolist())]
    assert torch.allclose(how.mixed(images, partners, shares), torch.stack(twin))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    again, moved = how.draw_mix(ids[order], 1, 2, 0.4)
    assert torch.equal(ids[order][again], ids[partners][order])
    assert torch.equal(moved, shares[order])


def test_mixup_shares_follow_the_beta_distribution():
    _, shares = how.draw_mix(IDS, 0, 0, 1.0)  # Beta(1, 1) is uniform
    assert chisquare(torch.histc(shares, 10, 0, 1)).pvalue > 0.001
