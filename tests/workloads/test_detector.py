"""The detector: what its maps should be, what its loss asks for, and what it finds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halftime.data.boxes import NONE
from halftime.workloads.detector import (
    NARROW,
    STRIDE,
    SURE,
    DetectionLoss,
    Detector,
    found,
    generalised_overlap,
    heat_loss,
    heat_maps,
    placed,
    suppressed,
)

BOXES = torch.tensor([[[8.0, 8, 40, 48], [60, 30, 84, 60], [90, 4, 100, 14], [0, 0, 0, 0]], [[0.0, 0, 0, 0]] * 4])
CLASSES = torch.tensor([[0, 1, 0, NONE], [NONE] * 4])
TARGETS = {"boxes": BOXES, "classes": CLASSES}
H, W = 8, 14  # cells: 64 by 112 pixels


def perfect(targets: dict[str, Tensor], classes: int = 2) -> dict[str, Tensor]:
    """The maps that would be right."""
    aims = heat_maps(targets, classes, H, W)
    sides, middles = aims.boxes[:, 2:] - aims.boxes[:, :2], (aims.boxes[:, 2:] + aims.boxes[:, :2]) / 2
    columns, rows = torch.meshgrid(torch.arange(W) + 0.5, torch.arange(H) + 0.5, indexing="xy")
    offsets = middles / STRIDE - torch.stack([columns, rows])
    return {
        "classes": torch.where(aims.heat == 1, 12.0, -12.0),
        "boxes": torch.cat([offsets, (sides / STRIDE).clamp(min=1e-3).log()], 1),
    }


@pytest.mark.parametrize("sides", [(144, 192), (72, 96), (75, 101), (8, 8), (33, 60)])
def test_it_takes_images_of_any_size(sides: tuple[int, int]) -> None:
    maps = Detector(3, width=8)(torch.randn(2, 3, *sides))
    cells = tuple(math.ceil(n / STRIDE) for n in sides)
    assert maps["classes"].shape == (2, 3, *cells)
    assert maps["boxes"].shape == (2, 4, *cells)
    boxes = torch.tensor([[[0.0, 0, sides[1], sides[0]]]] * 2)
    loss = DetectionLoss()(maps, {"boxes": boxes, "classes": torch.zeros(2, 1, dtype=torch.long)})
    sum(loss.values()).backward()
    assert all(value.isfinite() for value in loss.values())


def test_heat_maps_equal_a_slow_twin() -> None:
    aims = heat_maps(TARGETS, 2, H, W)
    for image in range(2):
        for row in range(H):
            for column in range(W):
                bumps = []
                for (left, top, right, bottom), kind in zip(
                    BOXES[image].tolist(), CLASSES[image].tolist(), strict=True
                ):
                    if kind == NONE:
                        continue
                    middle = int((left + right) / 2 // STRIDE), int((top + bottom) / 2 // STRIDE)
                    sides = (right - left) / STRIDE, (bottom - top) / STRIDE
                    far = [(c - m) / (NARROW * s) for c, m, s in zip((column, row), middle, sides, strict=True)]
                    bumps.append((math.exp(-0.5 * sum(f * f for f in far)), kind, [left, top, right, bottom]))
                for kind in range(2):
                    expected = max((b for b, k, _ in bumps if k == kind), default=0.0)
                    assert float(aims.heat[image, kind, row, column]) == pytest.approx(expected, abs=1e-5)
                height, _, box = max(bumps, default=(0.0, 0, [0.0] * 4))
                assert float(aims.weights[image, row, column]) == pytest.approx(
                    height if height >= SURE else 0, abs=1e-5
                )
                if height >= SURE:
                    assert aims.boxes[image, :, row, column].tolist() == box
    assert int((aims.heat == 1).sum()) == 3  # a peak for each box, none for what is no box


def test_right_maps_cost_next_to_nothing_and_show_the_boxes() -> None:
    maps = perfect(TARGETS)
    assert all(float(value) < 1e-3 for value in DetectionLoss()(maps, TARGETS).values())
    boxes, scores, kinds = found(maps)
    sure = scores[0] > 0.5
    assert int(sure.sum()) == 3
    assert int((scores[1] > 0.5).sum()) == 0
    expected = {(kind, *box) for kind, box in zip(CLASSES[0].tolist(), BOXES[0].tolist(), strict=True) if kind != NONE}
    shown = {
        (k, *[round(v, 2) for v in b]) for k, b in zip(kinds[0][sure].tolist(), boxes[0][sure].tolist(), strict=True)
    }
    assert shown == expected


def test_a_batch_without_boxes_has_a_loss() -> None:
    maps = {
        "classes": torch.zeros(1, 2, H, W, requires_grad=True),
        "boxes": torch.zeros(1, 4, H, W, requires_grad=True),
    }
    for rows in (0, 3):
        none = {"boxes": torch.zeros(1, rows, 4), "classes": torch.full((1, rows), NONE)}
        loss = DetectionLoss()(maps, none)
        assert float(loss["boxes"].detach()) == 0.0
        assert float(loss["heat"].detach()) == pytest.approx(2 * H * W * 0.25 * math.log(2), rel=1e-4)


def test_the_heat_loss_is_the_formula() -> None:
    logits, heat = torch.randn(40, dtype=torch.double), torch.rand(40, dtype=torch.double)
    heat[::4] = 1.0
    chance = logits.sigmoid()
    for gamma in (0.0, 1.0, 2.0):
        yes, no = -((1 - chance) ** gamma) * chance.log(), -((1 - heat) ** 4) * chance**gamma * (1 - chance).log()
        torch.testing.assert_close(heat_loss(logits, heat, gamma), torch.where(heat == 1, yes, no))
    assert DetectionLoss(weight=3.0).refocused(0.5) == DetectionLoss(gamma=0.5, weight=3.0)


def test_gradients_are_finite_where_the_network_is_certain() -> None:
    logits = torch.tensor([200.0, -200.0, 200.0, -200.0], requires_grad=True)
    heat_loss(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]), 0.5).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_overlap_of_boxes() -> None:
    one = torch.tensor([[0.0, 0, 2, 2]]).T[None]
    for other, expected in (([0.0, 0, 2, 2], 1.0), ([1, 0, 3, 2], 1 / 3), ([0, 0, 1, 1], 0.25), ([3, 0, 5, 2], -0.2)):
        assert float(generalised_overlap(one, torch.tensor([other]).T[None])) == pytest.approx(expected)
    assert placed(torch.zeros(1, 4, 2, 2))[0, :, 1, 0].tolist() == [0.0, 8.0, 8.0, 16.0]


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_a_slow_twin(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    corners = torch.rand(1, 30, 2, generator=source) * 20
    boxes = torch.cat([corners, corners + 4 + torch.rand(1, 30, 2, generator=source) * 8], 2)
    kinds = torch.randint(2, (1, 30), generator=source)
    kept: list[int] = []
    for i in range(30):
        a = boxes[0, i]
        for j in kept:
            b = boxes[0, j]
            common = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
            union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
            if kinds[0, i] == kinds[0, j] and common / union > 0.4:
                break
        else:
            kept.append(i)
    assert suppressed(boxes, kinds, 0.4)[0].nonzero().flatten().tolist() == kept
    assert 1 < len(kept) < 30


def test_maps_that_are_not_finite_show_nothing() -> None:
    maps = {"classes": torch.full((1, 2, H, W), math.nan), "boxes": torch.full((1, 4, H, W), math.nan)}
    boxes, scores, _ = found(maps)
    assert float(scores.sum()) == 0.0
    assert boxes.isfinite().all()
