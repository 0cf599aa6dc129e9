"""MixUp: a blend is linear, keeps the mean, and its loss is the one against blended probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue
from halftime.methods import MixUp
from halftime.methods.mix_up import beta_share, blended, pair_loss, paired


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_mean_and_variance_of_the_beta_distribution(alpha: float) -> None:
    shares = torch.tensor([beta_share(3, step, alpha) for step in range(4000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert abs(shares.mean() - 0.5) < 5 * (variance / 4000) ** 0.5
    assert abs(shares.var() - variance) < 0.1 * variance


def test_a_share_is_a_function_of_seed_and_step() -> None:
    assert beta_share(1, 2, 0.2) == beta_share(1, 2, 0.2)
    assert len({beta_share(seed, step, 0.2) for seed in range(20) for step in range(20)}) == 400


def test_a_blend_keeps_the_mean_of_the_batch_and_meets_the_slow_twin() -> None:
    images = torch.randn(5, 2, 3, 3)
    mixed = blended(images, 0.3)
    assert torch.allclose(mixed.mean(0), images.mean(0), atol=1e-6)
    for i in range(5):
        assert torch.allclose(mixed[i], 0.3 * images[i] + 0.7 * images[i - 1], atol=1e-6)


def test_the_loss_is_the_one_against_blended_probabilities() -> None:
    outputs, labels = torch.randn(6, 4, dtype=torch.double), torch.randint(4, (6,))
    soft = blended(one_hot(labels, 4).double(), 0.3)
    assert torch.allclose(pair_loss(cross_entropy, outputs, paired(labels, 0.3)), cross_entropy(outputs, soft))


def test_a_share_of_one_changes_nothing() -> None:
    images, labels = torch.randn(4, 1, 2, 2), torch.randint(3, (4,))
    outputs = torch.randn(4, 3)
    assert blended(images, 1.0) is images
    assert pair_loss(cross_entropy, outputs, paired(labels, 1.0)) == cross_entropy(outputs, labels)


def test_whole_numbers_and_nests_are_carried_along() -> None:
    inputs = {"image": torch.randn(3, 1, 2, 2), "id": torch.arange(3)}
    mixed = blended(inputs, 0.5)
    assert torch.equal(mixed["id"], inputs["id"])
    assert not torch.equal(mixed["image"], inputs["image"])


def test_what_acts_follows_the_feed_and_leaves_the_batch_alone() -> None:
    feed = Feed(Tensors(torch.randn(16, 1, 2, 2), torch.randint(3, (16,))), 8, seed=5)
    acting = MixUp(alpha=1.0).start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
    images, labels = next(feed.batches())
    before = images.clone()
    mixed, targets = acting.batch(images, labels, 0.0)
    assert torch.equal(images, before)
    assert targets["share"] == beta_share(5, 1, 1.0)
    assert torch.equal(mixed, blended(images, targets["share"]))


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), "much", None, True])
def test_a_bad_value_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^MixUp\.alpha must be") as error:
        MixUp(alpha=value)
    assert "\n" not in str(error.value)
