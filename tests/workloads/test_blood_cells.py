"""Blood cells as they are served, learned and judged, and the methods that meet boxes here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import halftime as ht
from halftime.cli import main
from halftime.data import sources
from halftime.data.boxes import NONE
from halftime.data.feed import slices
from halftime.errors import BadData, BadWorkload
from halftime.methods import (
    EMA,
    SGD,
    AdamW,
    AlternatingFlip,
    ChannelsLast,
    CutMix,
    FastLoader,
    FocalPrior,
    Guard,
    LabelSmoothing,
    MixUp,
    OnDevice,
    OneCycle,
    ProgressiveResize,
    TestTimeFlip,
)
from halftime.workloads import blood_cells as room
from halftime.workloads import get
from tests.workloads.test_images_data import constants

pytest.importorskip("pycocotools", reason="boxes are judged by pycocotools")
METHODS = [AlternatingFlip(), ChannelsLast(), EMA(decay=0.9), FastLoader(workers=1), FocalPrior(), Guard(every=2)]
METHODS += [OnDevice(), ProgressiveResize()]


@pytest.fixture
def cells(real: Callable[[str], None]) -> ht.Workload:
    real("bccd")
    return get("blood_cells")


def small(workload: ht.Workload, photographs: int = 8) -> ht.Workload:
    """The same, judged on few photographs, twice."""
    few = [workload.valid[i] for i in range(photographs)]
    return dataclasses.replace(workload, valid=few, evaluations=2)


def trained(workload: ht.Workload, ledger: Path, *methods: ht.Method, steps: int = 4, batch_size: int = 2) -> ht.Run:
    optimizer = () if any(m.slot == "optimizer" for m in methods) else (SGD(lr=1e-3),)
    recipe = ht.Recipe([*methods, *optimizer], steps=steps, batch_size=batch_size)
    return ht.train(workload, recipe, device="cpu", ledger=ledger, quiet=True)


def test_photographs_and_boxes_are_those_that_were_published(cells: ht.Workload) -> None:
    counts = {"train": (205, [2382, 214, 209]), "val": (87, [968, 87, 83])}
    for (_, (photographs, by_kind)), data in zip(counts.items(), (cells.train, cells.valid), strict=True):
        images, boxes, classes = data.columns
        assert images.shape == (photographs, 3, *room.SIDES)
        assert images.dtype == torch.uint8
        assert torch.bincount(classes[classes != NONE]).tolist() == by_kind
        inside = boxes[classes != NONE]
        height, width = room.SIDES
        assert bool((inside[:, :2] >= 0).all() and (inside[:, 2] <= width).all() and (inside[:, 3] <= height).all())
    mean, std = constants(cells.train.columns[0])
    assert mean == pytest.approx(room.MEAN, abs=6e-5)
    assert std == pytest.approx(room.STD, abs=6e-5)


def test_white_cells_lie_in_their_boxes(cells: ht.Workload) -> None:
    images, boxes, classes = cells.valid.columns
    darker = 0
    pairs = (classes == 1).nonzero().tolist()
    for image, row in pairs:  # they are stained; what is round them is not
        left, top, right, bottom = boxes[image, row].round().int().tolist()
        green = images[image, 1].float()
        darker += bool(green[top:bottom, left:right].mean() < green.mean())
    assert darker > 0.95 * len(pairs) > 50


def test_a_run_keeps_the_score_of_each_kind(cells: ht.Workload, tmp_path: Path) -> None:
    run = trained(small(cells), tmp_path)
    again = ht.Run.load(run.folder)
    assert [sorted(e.scores) for e in again.evaluations] == [["AP Platelets", "AP RBC", "AP WBC"]] * 2
    last = again.evaluations[-1]
    assert last.score == pytest.approx(sum(last.scores.values()) / 3)
    assert {"loss/heat", "loss/boxes"} <= {key for key in ("loss/heat", "loss/boxes") if again.series(key)}
    assert again.to_dict()["evaluations"][-1]["scores"] == last.scores


def test_it_learns(cells: ht.Workload, tmp_path: Path) -> None:
    few = dataclasses.replace(cells, train=[cells.train[i] for i in range(4)], evaluations=1)
    few = dataclasses.replace(few, valid=few.train, model=lambda: room.Detector(3, width=16))
    run = trained(few, tmp_path, AdamW(lr=0.01), OneCycle(), steps=90, batch_size=4)
    assert run.score is not None
    assert run.score > 0.5  # four photographs by heart


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_methods_meet_it(method: ht.Method, cells: ht.Workload, tmp_path: Path) -> None:
    assert trained(small(cells, 4), tmp_path, method).state == "finished"


@pytest.mark.parametrize(
    "method", [MixUp(), CutMix(), LabelSmoothing(), TestTimeFlip()], ids=lambda m: type(m).__name__
)
def test_methods_that_boxes_do_not_suit_are_refused(method: ht.Method, cells: ht.Workload, tmp_path: Path) -> None:
    with pytest.raises(BadWorkload, match=f"^{type(method).__name__} needs targets that are class numbers") as error:
        trained(small(cells, 4), tmp_path, method)
    assert "\n" not in str(error.value)
    assert ht.Ledger(tmp_path).runs == []


def test_the_prior_is_that_of_the_boxes(cells: ht.Workload, tmp_path: Path) -> None:
    made: list[Any] = []
    watched = dataclasses.replace(small(cells, 4), model=lambda: made.append(cells.model()) or made[-1])
    run = trained(watched, tmp_path, FocalPrior(), SGD(lr=1e-12, momentum=0.0), steps=1, batch_size=5)
    chances = made[0].classes.bias.detach().sigmoid()
    places = 205 * math.prod(n // 8 for n in room.SIDES)
    expected = torch.bincount(cells.train.columns[2][cells.train.columns[2] != NONE]) / places
    assert torch.allclose(chances, expected, rtol=0.06)  # augmentation moves some out of the image
    assert "bias of 3 classes set; the rarest is 0.2" in run.events[0]
    assert run.events[0].endswith("% of the places")


def test_the_focus_reaches_the_loss(cells: ht.Workload) -> None:
    loss = FocalPrior(gamma=1.0).loss(cells.loss, torch.nn.Identity())
    assert loss == dataclasses.replace(cells.loss, gamma=1.0)
    assert FocalPrior(gamma=0.0).loss(cells.loss, torch.nn.Identity()) is cells.loss
    blind = dataclasses.replace(small(cells, 4), loss=lambda outputs, targets: cells.loss(outputs, targets))
    with pytest.raises(BadWorkload, match=r"FocalPrior needs .* or boxes and a loss with `refocused\(gamma\)`"):
        trained(blind, Path("nowhere"), FocalPrior())


def test_boxes_that_would_not_follow_are_refused(cells: ht.Workload, tmp_path: Path) -> None:
    def renamed(data: Any) -> list[Any]:
        return [
            (image, {"rectangles": t["boxes"], "classes": t["classes"]}) for image, t in (data[i] for i in range(4))
        ]

    loss = lambda outputs, t: cells.loss(outputs, {"boxes": t["rectangles"], "classes": t["classes"]})  # noqa: E731
    score = lambda outputs, _: outputs["classes"].mean().reshape(1)  # noqa: E731
    strange = dataclasses.replace(cells, train=renamed(cells.train), valid=renamed(cells.valid), loss=loss, score=score)
    strange = dataclasses.replace(strange, target=None)
    for method in (ProgressiveResize(), AlternatingFlip()):
        with pytest.raises(BadWorkload, match=f"^{type(method).__name__} needs targets that follow their image"):
            trained(strange, tmp_path, method)
    assert trained(strange, tmp_path, ChannelsLast()).state == "finished"


def test_judging_is_the_same_in_any_batches(cells: ht.Workload) -> None:
    torch.manual_seed(0)
    model, found = cells.model().eval(), []
    for size in (87, 20):
        cells.score.reset()
        with torch.no_grad():
            for images, targets in slices(cells.valid, size):
                cells.score.update(model(images), targets)
        found.append(cells.score.compute())
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_where_the_photographs_are_not_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFTIME_DATA", str(tmp_path))
    monkeypatch.setattr("halftime.data.sources.cache", lambda: tmp_path / "cache")
    with pytest.raises(
        BadData, match=r"bccd is not in .*: git clone .* and let HALFTIME_DATA name the folder above it"
    ):
        get("blood_cells")


def test_a_photograph_that_is_missing_or_of_another_size_is_named(
    cells: ht.Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sources.files("bccd")[0][0].parents[2]
    root, name = tmp_path / "bccd", "BloodImage_00001"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{name}\n")
    (root / "Annotations" / f"{name}.xml").write_bytes((there / "Annotations" / f"{name}.xml").read_bytes())
    monkeypatch.setenv("HALFTIME_DATA", str(tmp_path))
    monkeypatch.setattr("halftime.data.readers.cache", lambda: tmp_path / "cache")
    with pytest.raises(BadData, match=rf"{name}\.jpg is not there"):
        get("blood_cells")
    Image.new("RGB", (64, 48)).save(root / "JPEGImages" / f"{name}.jpg")
    with pytest.raises(BadData, match=rf"{name}\.jpg is 64x48 where 640x480 should be"):
        get("blood_cells")


def test_the_commands_show_the_kinds(
    cells: ht.Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HALFTIME_LEDGER", str(tmp_path))
    assert main(["train", "blood_cells", "--with", "SGD(lr=0.001)", "--steps", "1", "--batch-size", "2"]) == 1
    shown = capsys.readouterr().out
    assert "missed 0.78" in shown
    assert "AP RBC 0." in shown
    assert main(["show", ht.Ledger().runs[0].name]) == 0
    assert "AP Platelets" in capsys.readouterr().out
