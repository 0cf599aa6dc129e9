"""AlternatingFlip: in two epochs each image is seen both ways, and half of them are mirrored in each."""

from __future__ import annotations

import torch
from torch import nn

from halftime.data.feed import Feed, Tensors
from halftime.methods import AlternatingFlip
from halftime.methods.alternating_flip import mirrored, mirrored_ones


def test_each_sample_turns_over_in_every_epoch() -> None:
    ids = torch.arange(1000)
    for epoch in range(5):
        now, then, back = (mirrored_ones(ids, epoch + later, seed=3) for later in (0, 1, 2))
        assert bool((now != then).all())
        assert torch.equal(now, back)


def test_half_are_mirrored_and_neighbours_do_not_know_of_each_other() -> None:
    for seed in range(8):
        coins = mirrored_ones(torch.arange(20000), 0, seed).double()
        assert abs(coins.mean() - 0.5) < 5 * 0.5 / 20000**0.5
        for lag in (1, 2, 3, 64):
            agree = (coins[lag:] == coins[:-lag]).double().mean()
            assert abs(agree - 0.5) < 5 * 0.5 / 19000**0.5, (seed, lag)


def test_seeds_give_other_coins() -> None:
    one, other = (mirrored_ones(torch.arange(20000), 0, seed) for seed in (0, 1))
    assert abs((one == other).double().mean() - 0.5) < 0.02


def test_a_mirrored_image_is_mirrored_back() -> None:
    images, which = torch.randn(6, 2, 3, 5), torch.tensor([True, False, True, True, False, False])
    once = mirrored(images, which)
    assert torch.equal(mirrored(once, which), images)
    assert torch.equal(once[~which], images[~which])
    for i in which.nonzero()[:, 0]:
        for column in range(5):
            assert torch.equal(once[i, :, :, column], images[i, :, :, 4 - column])


def test_in_a_feed_every_image_comes_both_ways_over_a_restart_too() -> None:
    images = torch.arange(24.0).reshape(12, 1, 1, 2)
    seen: dict[int, list[bool]] = {i: [] for i in range(12)}
    for first in (0, 4):  # 3 batches an epoch: the second part begins in the middle of the second epoch
        feed = Feed(Tensors(images, torch.arange(12)), 4, seed=1)
        acting = AlternatingFlip().start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
        for _, (batch, ids) in zip(range(4 if first == 0 else 2), feed.batches(first), strict=False):
            changed, same = acting.batch(batch, ids, 0.0)
            assert same is ids
            for image, i in zip(changed, ids.tolist(), strict=True):
                seen[i].append(bool(image[0, 0, 0] > image[0, 0, 1]))
    assert all(sorted(both) == [False, True] for both in seen.values())


def test_boxes_follow() -> None:
    images = torch.zeros(16, 1, 8, 12)
    images[:, 0, 2:5, 1:6] = 1.0
    boxes = torch.tensor([[[1.0, 2, 6, 5], [0, 0, 0, 0]]]).repeat(16, 1, 1)
    data = [(image, {"boxes": b, "classes": torch.tensor([3, -1])}) for image, b in zip(images, boxes, strict=True)]
    feed = Feed(data, 16, seed=0)
    acting = AlternatingFlip().start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
    inputs, targets = next(feed.batches())
    turned, followed = acting.batch(inputs, targets, 0.0)
    lefts = set()
    for image, box in zip(turned, followed["boxes"], strict=True):
        rows, columns = image[0].nonzero().unbind(1)
        assert box[0].tolist() == [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        assert torch.equal(box[1], torch.zeros(4))
        lefts.add(float(box[0, 0]))
    assert lefts == {1.0, 6.0}
