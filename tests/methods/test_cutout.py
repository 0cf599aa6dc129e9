"""Cutout: a square and nothing else is zero, any pixel may be its middle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue
from halftime.methods import Cutout
from halftime.methods.cutout import centres, cut_out


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 20])
def test_it_meets_the_slow_twin(side: int) -> None:
    images = torch.rand(6, 2, 9, 7) + 1
    at = centres(0, 1, images)
    expected = images.clone()
    for i, (row, column) in enumerate(at.T.tolist()):
        top, left = row - side // 2, column - side // 2
        expected[i, :, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
    assert torch.equal(cut_out(images, at, side), expected)
    assert (expected == 0).any()


def test_every_pixel_may_be_the_middle_and_all_alike() -> None:
    rows, columns = centres(0, 1, torch.empty(20000, 1, 4, 5))
    counts = torch.bincount(rows * 5 + columns, minlength=20)
    assert len(counts) == 20
    assert (counts - 1000).abs().max() < 5 * 1000**0.5


def test_places_are_a_function_of_seed_and_step() -> None:
    images, random = torch.empty(4, 1, 32, 32), torch.get_rng_state()
    assert torch.equal(centres(1, 2, images), centres(1, 2, images))
    assert not torch.equal(centres(1, 2, images), centres(1, 3, images))
    assert not torch.equal(centres(1, 2, images), centres(2, 2, images))
    assert torch.equal(torch.get_rng_state(), random)


def test_what_acts_leaves_targets_batch_and_other_tensors_alone() -> None:
    feed = Feed(Tensors(torch.randn(8, 1, 8, 8), torch.arange(8)), 4, seed=5)
    acting = Cutout(share=0.5).start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
    images, labels = next(feed.batches())
    before, ids = images.clone(), torch.arange(4)
    hidden, same = acting.batch({"image": images, "id": ids}, labels, 0.0)
    assert torch.equal(images, before)
    assert same is labels
    assert hidden["id"] is ids
    assert torch.equal(hidden["image"], cut_out(images, centres(5, 1, images), 4))


def test_the_smallest_share_still_hides_a_pixel() -> None:
    feed = Feed(Tensors(torch.ones(4, 1, 8, 8), torch.arange(4)), 4, seed=0)
    acting = Cutout(share=0.01).start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
    hidden, _ = acting.batch(*next(feed.batches()), 0.0)
    assert (hidden == 0).sum((1, 2, 3)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), "half", None])
def test_a_bad_value_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^Cutout\.share must be") as error:
        Cutout(share=value)
    assert "\n" not in str(error.value)
