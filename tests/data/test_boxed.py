"""Photographs with boxes: wherever the pixels go, their box goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from halftime.data.batch import tensors
from halftime.data.boxed import BoxedImages
from halftime.data.boxes import NONE, followed, has_boxes
from halftime.data.feed import Feed, digest
from halftime.data.pack import Pack, pack
from halftime.data.storage import to_pack

HEIGHT, WIDTH = 24, 40


def painted(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Black images with one white rectangle each, its box, and a row that stands for no box."""
    source = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, 1, HEIGHT, WIDTH, dtype=torch.uint8)
    boxes, classes = torch.zeros(count, 2, 4), torch.full((count, 2), NONE)
    for i in range(count):
        left, top = (int(torch.randint(6, n - 14, (), generator=source)) for n in (WIDTH, HEIGHT))
        wide, tall = (int(torch.randint(3, 8, (), generator=source)) for _ in range(2))
        images[i, 0, top : top + tall, left : left + wide] = 255
        boxes[i, 0], classes[i, 0] = torch.tensor([left, top, left + wide, top + tall]), i % 3
    return images, boxes, classes


def around(image: Tensor) -> list[float]:
    """The box round the bright pixels of an image [1, H, W]."""
    rows, columns = (image[0] > 0.5).nonzero().unbind(1)
    return [float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1]


def test_boxes_follow_their_image() -> None:
    data = BoxedImages(*painted(60), [0.0], [1.0], shift=3, flip=True)  # no rectangle comes near the edge
    images, targets = data.batch(torch.arange(60), torch.Generator().manual_seed(1))
    assert [around(image) for image in images] == targets["boxes"][:, 0].tolist()
    assert torch.equal(targets["classes"][:, 0], torch.arange(60) % 3)
    assert (targets["boxes"][:, 1] == 0).all()
    assert (targets["classes"][:, 1] == NONE).all()
    still, turned = (
        targets["boxes"][:, 0] == data.columns[1][:, 0],
        len(set(map(tuple, targets["boxes"][:, 0].tolist()))),
    )
    assert still.all(1).sum() < 10  # nearly all of them moved
    assert turned > 50


def test_without_chance_a_batch_is_its_samples() -> None:
    data = BoxedImages(*painted(5), [0.5], [0.25])
    images, targets = data.batch(torch.tensor([3, 1]), torch.Generator())
    for row, index in enumerate((3, 1)):
        image, target = data[index]
        assert torch.equal(images[row], image)
        assert torch.equal(targets["boxes"][row], target["boxes"])
        assert torch.equal(targets["classes"][row], target["classes"])
    assert (float(images.min()), float(images.max())) == (-2.0, 2.0)


def test_chance_comes_from_the_generator_alone() -> None:
    data = BoxedImages(*painted(20), [0.0], [1.0], shift=2, flip=True)
    one, two, other = (data.batch(torch.arange(20), torch.Generator().manual_seed(s))[1]["boxes"] for s in (4, 4, 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_what_leaves_the_image_is_cut_and_then_no_box() -> None:
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    data = BoxedImages(images, torch.tensor([[[0.0, 0, 4, 4]]]), torch.tensor([[2]]), [0.0], [1.0], shift=7)
    _, targets = data.batch(torch.zeros(200, dtype=torch.long), torch.Generator().manual_seed(0))
    kept = targets["classes"][:, 0] != NONE
    assert 0 < int(kept.sum()) < 200
    assert (targets["boxes"][~kept] == 0).all()
    left, top, right, bottom = targets["boxes"][kept][:, 0].unbind(1)
    assert bool(((left >= 0) & (top >= 0) & (right <= 8) & (bottom <= 8)).all())
    assert float(((right - left) * (bottom - top)).min()) >= 0.25 * 16


def test_the_digest_changes_with_a_box() -> None:
    images, boxes, classes = painted(4)
    moved = boxes.clone()
    moved[2, 0, 0] += 1
    assert digest(BoxedImages(images, boxes, classes, [0.0], [1.0])) != digest(
        BoxedImages(images, moved, classes, [0.0], [1.0])
    )


@pytest.mark.parametrize(
    "targets",
    [
        torch.zeros(2, 3, 4),
        {"boxes": torch.zeros(2, 3, 4)},
        {"boxes": torch.zeros(2, 3, 5), "classes": torch.zeros(2, 3)},
        {"boxes": [1], "classes": [2]},
    ],
)
def test_what_is_no_pair_of_boxes_and_classes_is_left_alone(targets) -> None:
    assert not has_boxes(targets)
    assert followed(targets, lambda boxes: boxes + 1, 8, 8) is targets


def test_a_pack_of_them_is_a_training_set_whose_boxes_shrink_with_the_photographs(tmp_path: Path) -> None:
    images, boxes, classes = painted(6)
    data = BoxedImages(images, boxes, classes, [0.5], [0.25], shift=2)
    made = pack(data, tmp_path / "p", sizes=(12,), classes=3)
    assert made.layout == ["0", {"boxes": "1.boxes", "classes": "1.classes"}]
    small = Pack(tmp_path / "p").at(12)
    pixels, targets = small.batch(torch.tensor([4, 1]), torch.Generator())
    assert pixels.shape == (2, 1, 12, 20)
    assert torch.equal(targets["boxes"], boxes[[4, 1]] / 2)
    assert torch.equal(small[4][1]["boxes"], boxes[4] / 2)
    assert torch.equal(targets["classes"], classes[[4, 1]])
    served = to_pack(data, tmp_path / "packs")
    for one, other in zip(*(tensors(Feed(d, 3, seed=0).look()) for d in (data, served)), strict=True):
        assert torch.equal(one, other)
    assert served.columns[0].data_ptr() != images.data_ptr()
