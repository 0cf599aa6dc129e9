"""CutMix: every pixel is of one of two images, and the share is that of the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue, BadWorkload
from halftime.methods import CutMix, FocalPrior, Guard, MixUp
from halftime.methods.cut_mix import box_at, kept_share, pasted, pasting
from tests.contract.tasks import recipe, task, trained


def test_the_share_counts_the_pixels_that_were_kept() -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 7, 9)
    seen = set()
    for step in range(200):
        box = box_at(0, step, 1.0, 7, 9)
        mixed = pasted(images, box)
        for i in range(4):
            assert set(mixed[i].unique().tolist()) <= {float(i), float((i - 1) % 4)}
        kept = (mixed == images).double().mean((1, 2, 3))
        assert torch.allclose(kept, torch.full((4,), kept_share(box, 7, 9), dtype=torch.double))
        seen.add(round(float(kept[0]), 3))
    assert len(seen) > 20


def test_a_box_lies_inside_and_is_a_function_of_seed_and_step() -> None:
    boxes = [box_at(1, step, 1.0, 32, 16) for step in range(500)]
    assert boxes == [box_at(1, step, 1.0, 32, 16) for step in range(500)]
    assert all(0 <= t <= b <= 32 and 0 <= left <= r <= 16 for t, b, left, r in boxes)
    assert len(set(boxes)) > 300


def test_before_the_edges_cut_it_a_box_has_the_area_that_was_drawn() -> None:
    shares = [1 - kept_share(box, 64, 64) for box in (box_at(2, step, 1.0, 64, 64) for step in range(3000))]
    # drawn evenly: the mean would be a half, and what the edges take makes it less
    assert 0.2 < sum(shares) / 3000 < 0.5
    assert max(shares) > 0.8


def test_the_share_of_changed_batches_is_the_one_asked_for() -> None:
    changed = sum(pasting(0, step, 0.3) for step in range(4000)) / 4000
    assert abs(changed - 0.3) < 5 * (0.3 * 0.7 / 4000) ** 0.5
    assert all(pasting(0, step, 1.0) for step in range(100))


def test_targets_that_lie_on_the_image_are_refused_by_name(tmp_path: Path) -> None:
    images, maps = torch.randn(32, 1, 8, 8), torch.randint(3, (32, 8, 8))
    dense = task(
        model=lambda: nn.Conv2d(1, 3, 1), train=(images, maps), valid=(images, maps),
        score=lambda outputs, targets: (outputs.argmax(1) == targets).float().mean((1, 2)),
    )  # fmt: skip
    with pytest.raises(BadWorkload, match=r"^CutMix needs targets that follow their image"):
        trained(dense, recipe(CutMix()), tmp_path)
    assert ht.Ledger(tmp_path).runs == []
    assert trained(dense, recipe(MixUp()), tmp_path).state == "finished"  # whole images are blended, and whole maps


@pytest.mark.parametrize("mixing", [CutMix(), MixUp()], ids=lambda m: type(m).__name__)
def test_a_guard_sees_samples_before_they_are_mixed(mixing: ht.Method) -> None:
    names = [type(m).__name__ for m in recipe(mixing, Guard(), FocalPrior()).methods]
    assert names.index(type(mixing).__name__) > max(names.index("Guard"), names.index("FocalPrior"))


def test_what_acts_pairs_the_targets_in_unchanged_batches_too() -> None:
    feed = Feed(Tensors(torch.randn(64, 1, 8, 8), torch.arange(64)), 4, seed=5)
    acting = CutMix(often=0.5).start(nn.Identity(), torch.optim.SGD([torch.zeros(1)]), feed)
    changed = 0
    for _, (images, labels) in zip(range(40), feed.batches(), strict=False):
        before = images.clone()
        mixed, targets = acting.batch(images, labels, 0.0)
        assert torch.equal(images, before)
        assert torch.equal(targets["second"], labels.roll(1, 0))
        assert targets["share"] == pytest.approx(float((mixed == images).double().mean()))
        changed += mixed is not images
    assert 5 < changed < 35


@pytest.mark.parametrize(("field", "value"), [("alpha", 0.0), ("alpha", "all"), ("often", 0.0), ("often", 1.5)])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^CutMix\.{field} must be") as error:
        CutMix(**{field: value})
    assert "\n" not in str(error.value)
