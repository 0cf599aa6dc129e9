"""ProgressiveResize: sizes only grow, come in multiples, and full size is the very same image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import halftime as ht
from halftime.errors import BadValue
from halftime.methods import SGD, EasyFirst, FastLoader, HardExamples, ProgressiveResize, SoftPrune
from halftime.methods.progressive_resize import resized, size_at
from tests.contract.tasks import TRAIN, Interrupting, recipe, same, task, terminate, trained, weights

shares = st.floats(0, 1)
sizes = st.integers(1, 300)
smallests = st.floats(0.05, 1)
multiples = st.integers(1, 32)


@given(shares, shares, sizes, smallests, shares, multiples)
def test_sizes_only_grow(one: float, other: float, full: int, smallest: float, until: float, multiple: int) -> None:
    low, high = sorted((one, other))
    assert size_at(low, full, smallest, until, multiple) <= size_at(high, full, smallest, until, multiple)


@given(shares, sizes, smallests, shares, multiples)
def test_sizes_are_multiples_or_the_full_one(p: float, full: int, smallest: float, until: float, multiple: int) -> None:
    side = size_at(p, full, smallest, until, multiple)
    assert 1 <= side <= full
    assert side % multiple == 0 or side == full
    assert abs(side - full) < 1 or side >= smallest * full - multiple


@given(sizes, smallests, shares, multiples)
def test_images_have_full_size_from_the_end_of_the_growth_on(full: int, smallest: float, until: float, m: int) -> None:
    assert size_at(until, full, smallest, until, m) == full
    assert size_at(1.0, full, smallest, until, m) == full


def test_full_size_is_the_very_same_tensor() -> None:
    images = torch.randn(2, 3, 8, 8)
    assert resized(images, 8, 8) is images


@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 8), (5, 3), (1, 1), (16, 16)])
def test_a_constant_image_stays_constant(height: int, width: int) -> None:
    images = torch.arange(6.0).reshape(2, 3, 1, 1).expand(2, 3, 8, 8)
    small = resized(images, height, width)
    assert small.shape == (2, 3, height, width)
    assert torch.allclose(small, images[:, :, :1, :1].expand_as(small), atol=1e-5)


def test_brightness_is_kept() -> None:
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resized(images, 16, 16).mean((2, 3)), images.mean((2, 3)), atol=0.01)


def test_only_images_are_resized() -> None:
    method = ProgressiveResize(smallest=0.5, until=1.0)
    inputs = {
        "image": torch.randn(2, 3, 8, 16),
        "age": torch.randn(2),
        "mask": torch.ones(2, 1, 8, 8, dtype=torch.long),
    }
    targets = torch.randn(2, 3, 8, 8)
    changed, same = method.batch(inputs, targets, 0.0)
    assert changed["image"].shape == (2, 3, 4, 8)
    assert changed["age"] is inputs["age"]
    assert changed["mask"] is inputs["mask"]
    assert same is targets


def test_it_grows_in_few_steps() -> None:
    seen = {
        ProgressiveResize(multiple=8).batch(torch.zeros(1, 1, 64, 64), None, i / 100)[0].shape[-1] for i in range(101)
    }
    assert seen == {32, 40, 48, 56, 64}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("smallest", 0),
        ("smallest", 1.1),
        ("smallest", float("nan")),
        ("until", -0.1),
        ("until", 2),
        ("until", "late"),
        ("multiple", 0),
        ("multiple", 2.0),
        ("multiple", True),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^ProgressiveResize\.{field}") as error:
        ProgressiveResize(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.5, 1.0])
def test_boxes_follow(progress: float) -> None:
    images, boxes = torch.zeros(1, 1, 64, 96), torch.tensor([[[16.0, 8, 48, 40], [0, 0, 0, 0]]])
    images[0, 0, 8:40, 16:48] = 1.0
    targets = {"boxes": boxes, "classes": torch.tensor([[2, -1]])}
    small, followed = ProgressiveResize(smallest=0.5, until=0.7, multiple=8).batch(images, targets, progress)
    assert (small.shape[-1] < 96) == (progress < 0.7)
    rows, columns = (small[0, 0] > 0.5).nonzero().unbind(1)
    around = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    assert torch.allclose(followed["boxes"][0, 0], torch.tensor(around).float(), atol=0.51)
    assert torch.equal(followed["boxes"][0, 1], torch.zeros(4))
    assert torch.equal(followed["classes"], targets["classes"])
    assert torch.equal(targets["boxes"], boxes)  # what was served stays as it was


def test_both_sides_have_their_own_factor() -> None:
    targets = {"boxes": torch.tensor([[[0.0, 0, 10, 6]]]), "classes": torch.tensor([[0]])}
    small, followed = ProgressiveResize(smallest=0.5, until=0.7, multiple=4).batch(torch.zeros(1, 1, 6, 10), targets, 0)
    assert small.shape[-2:] == (4, 4)
    assert followed["boxes"].flatten().tolist() == [0.0, 0.0, 4.0, 4.0]


PAIRED = ProgressiveResize(smallest=0.5, until=0.6, paired=True)


def served(what: ht.Recipe) -> list[tuple[int, int]]:
    """(samples, pixels of a side) of every step of a training."""
    seen = []

    class Seeing(ht.Method):
        after = ("size",)

        def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
            seen.append((len(inputs), inputs.shape[-1]))
            return inputs, targets

    run = ht.train(task(), what.plus(Seeing()), device="cpu", quiet=True)
    return seen[-run.steps :]  # before the first step two samples are looked at


def test_paired_steps_are_full_of_small_images_and_cost_about_the_same() -> None:
    what = recipe(PAIRED, steps=30)
    alone, paired = served(what.plus(dataclasses.replace(PAIRED, paired=False))), served(what)
    assert len(paired) == len(alone) == 30  # a budget has the steps it had
    assert paired[0] == (4 * 16, alone[0][1])
    assert paired[-1] == alone[-1]
    pixels = [samples * side**2 for samples, side in paired]
    assert min(pixels) > 0.4 * max(pixels)
    assert min(samples * side**2 for samples, side in alone) < 0.3 * max(pixels)
    assert sum(n for n, _ in paired) > sum(n for n, _ in alone)


def test_how_many_is_decided_when_an_epoch_begins_and_kept_over_a_stop(tmp_path: Path) -> None:
    what = recipe(PAIRED, SGD(lr=0.05, momentum=0.9), steps=40)
    whole = trained(task(), what, tmp_path / "whole")
    for stop in (3, 17):
        with pytest.raises(ht.Stopped) as stopped:
            trained(task(train=Interrupting(TRAIN, at=stop, act=terminate)), what, tmp_path / "parts")
        parts = trained(task(), what, tmp_path / "parts", resume=stopped.value.run)
        assert same(weights(parts), weights(whole))
        assert parts.receipt == whole.receipt


def test_helpers_that_work_ahead_serve_the_same(tmp_path: Path) -> None:
    runs = [trained(task(), recipe(PAIRED, *more, steps=20), tmp_path) for more in ((), (FastLoader(workers=1),))]
    assert same(*map(weights, runs))
    assert runs[0].receipt == runs[1].receipt


def test_orders_that_are_steered_go_with_it(tmp_path: Path) -> None:
    for method in (SoftPrune(), EasyFirst(proxy_epochs=1), HardExamples(proxy_epochs=1)):
        what = recipe(PAIRED, method, steps=20)
        sizes = [n for n, _ in served(what)]
        assert 16 < sizes[0] <= 4 * 16  # of EasyFirst all the samples that its first epoch has
        assert sizes[-1] == 16
        assert trained(task(), what, tmp_path).state == "finished"
