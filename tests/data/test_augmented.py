"""Augmentation as a description: boxes and masks follow, chance is keyed by sample, what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from halftime.data.augmented import Augment, Augmented
from halftime.data.feed import Feed, Tensors
from halftime.data.pack import Pack, pack
from halftime.errors import BadData, BadValue

PIXELS = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DATA = Tensors(PIXELS, torch.arange(40) % 5)
FULL = Augment(
    resize=(8, 8),
    pad=2,
    edge="zero",
    flip="alternating",
    colour=(0.2, 0.2, 0.2),
    cutout=3,
    mean=[0.5] * 3,
    std=[0.2] * 3,
)


def painted(boxes: list[list[float]], side: int = 32) -> Tensor:
    """A black image with a white rectangle for each box."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        image[:, int(top) : int(bottom), int(left) : int(right)] = 255
    return image


def around(image: Tensor) -> list[float]:
    """The box around all that is bright."""
    bright = (image[0] > 127).nonzero()
    (top, left), (bottom, right) = bright.min(0).values.tolist(), bright.max(0).values.tolist()
    return [left, top, right + 1, bottom + 1]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10**9),
    epoch=st.integers(0, 100),
    pad=st.integers(0, 6),
    flip=st.sampled_from(["", "random", "alternating"]),
)
def test_boxes_and_masks_follow_moves_and_flips(seed, epoch, pad, flip):
    boxes = torch.tensor([[[8.0, 10, 20, 16]], [[12, 9, 14, 22]], [[6, 6, 26, 26]]])
    images = torch.stack([painted(b.tolist()) for b in boxes])
    targets = {"boxes": boxes, "classes": torch.tensor([[1], [2], [0]]), "mask": images[:, 0].long()}
    augment = Augment(pad=pad, edge="zero", flip=flip)
    made, found = augment((images, targets), torch.tensor([4, 9, 2]), seed, epoch)
    for i in range(3):
        assert around(made[i]) == found["boxes"][i, 0].tolist()
    assert torch.equal(found["mask"], made[:, 0].long())
    assert found["classes"].tolist() == [[1], [2], [0]]


def test_boxes_follow_resized_crops_and_what_is_out_of_sight_is_dropped():
    ids = torch.arange(200)
    boxes = torch.tensor([[[24.0, 24, 40, 40], [0, 0, 4, 4], [0, 0, 0, 0]]]).repeat(200, 1, 1)
    classes = torch.tensor([[3, 4, -1]]).repeat(200, 1)
    images = painted([[24, 24, 40, 40]], 64)[None].repeat(200, 1, 1, 1)
    augment = Augment(resize=(64, 64), scale=(0.3, 1.0), flip="random", visible=0.25)
    made, found = augment((images, {"boxes": boxes, "classes": classes}), ids, 0, 0)
    whole = found["classes"][:, 0] == 3
    assert int(whole.sum()) > 150
    for i in whole.nonzero().flatten().tolist():
        off = (torch.tensor(around(made[i])) - found["boxes"][i, 0]).abs().max()
        assert float(off) <= 1.0  # half a pixel of smoothing on each edge
    gone = found["classes"][:, 1] == -1
    assert 20 < int(gone.sum()) < 200
    assert float(found["boxes"][gone, 1].abs().max()) == 0
    assert (found["classes"][:, 2] == -1).all()
    assert float(found["boxes"].min()) >= 0
    assert float(found["boxes"].max()) <= 64


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**62), st.integers(0, 50), st.permutations(range(40)))
def test_a_sample_is_augmented_alike_in_any_batch(seed, epoch, order):
    ids = torch.tensor(order)
    images, labels = Augmented(DATA, FULL).served(ids, seed, epoch)
    straight, _ = Augmented(DATA, FULL).served(torch.arange(40), seed, epoch)
    assert torch.equal(images, straight[ids])
    assert torch.equal(labels, ids % 5)


def test_a_feed_asks_by_sample_and_size_of_batch_changes_nothing():
    data = Augmented(DATA, FULL)
    seen = []
    for size in (5, 8, 40):
        feed, rows = Feed(data, size, seed=4), {}
        for step in range(40 // size):
            ids = feed.indices(0)[step * size : (step + 1) * size]
            rows |= dict(zip(ids.tolist(), feed.look(step)[0], strict=True))
        seen.append(torch.stack([rows[i] for i in range(40)]))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], torch.stack([*Augmented(DATA, FULL).served(torch.arange(40), 4, 1)[0]]))


def test_bytes_are_normalised_and_floats_too():
    augment = Augment(mean=[0.1, 0.5, 0.9], std=[0.2, 0.3, 0.25])
    ids = torch.arange(40)
    made, _ = augment((PIXELS, ids), ids, 0, 0)
    also, _ = augment((PIXELS / 255, ids), ids, 0, 0)
    mean, std = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
    torch.testing.assert_close(made, (PIXELS / 255.0 - mean) / std)
    torch.testing.assert_close(also, made)


def test_nothing_asked_for_is_nothing_done():
    ids = torch.arange(40)
    made, labels = Augment()((PIXELS, ids), ids, 0, 0)
    assert made is PIXELS
    assert labels is ids


def test_mixup_makes_probabilities():
    images, targets = Augmented(DATA, Augment(mixup=0.4, classes=5)).served(torch.arange(16), 0, 0)
    assert images.dtype == torch.float32
    assert targets.shape == (16, 5)
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    torch.nn.functional.cross_entropy(torch.zeros(16, 5), targets)


def test_a_pack_is_augmented_and_one_sample_is_left_alone(tmp_path: Path):
    pack(DATA, tmp_path / "p")
    data = Augmented(Pack(tmp_path / "p"), FULL)
    same = Augmented(DATA, FULL)
    ids = torch.tensor([3, 9])
    assert torch.equal(data.served(ids, 1, 2)[0], same.served(ids, 1, 2)[0])
    assert torch.equal(data[3][0], PIXELS[3])
    one, two = (data.batch(ids, torch.Generator().manual_seed(8))[0] for _ in range(2))
    assert torch.equal(one, two)


PHOTOS = torch.randint(0, 256, (12, 3, 80, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
BOXES = torch.tensor([[[8.0, 8.0, 60.0, 50.0], [20.0, 30.0, 90.0, 78.0]]]).expand(12, -1, -1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stored", [0, 70])
def test_parts_of_photographs_are_cut_as_they_are_read(stored, threads, tmp_path: Path):
    found = [(p, {"boxes": b, "classes": torch.arange(2), "mask": p[0] > 99})
             for p, b in zip(PHOTOS, BOXES, strict=True)]  # fmt: skip
    made = pack(found, tmp_path / "p", sizes=(70,))
    assert {name for name, field in made.fields.items() if field.interleaved} == {"0", "0@70"}
    data = Pack(tmp_path / "p")
    assert torch.equal(data[3][0], PHOTOS[3])
    assert torch.equal(data.batch(torch.tensor([5, 2]), torch.Generator())[0], PHOTOS[[5, 2]])
    data = data.at(stored) if stored else data
    want = Augment(resize=(66, 64), flip="random", mean=(0.5,) * 3, std=(0.2,) * 3)
    ids, before = torch.tensor([7, 0, 11]), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        quick, slow = Augmented(data, want).served(ids, 1, 2), want(data.batch(ids, torch.Generator()), ids, 1, 2)
    finally:
        torch.set_num_threads(before)
    assert quick[0].shape == (3, 3, 66, 64)
    assert torch.equal(quick[0], slow[0])
    for name in ("boxes", "classes", *["mask"] * (not stored)):
        assert torch.equal(quick[1][name], slow[1][name]), name


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"edge": "wrap"}, "edge must be one of 'reflect', 'zero', not 'wrap'"),
        ({"flip": "both"}, "flip must be one of"),
        ({"pad": -1}, "pad must be a whole number of at least 0, not -1"),
        ({"scale": (0.5, 2.0)}, "scale must be two rising numbers above 0, at most 1"),
        ({"ratio": (2.0, 1.0)}, "ratio must be two rising numbers"),
        ({"mean": [0.5]}, "mean has 1 channels and std 0"),
        ({"mixup": 0.2}, "say how many classes"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(BadValue, match=said):
        Augment(**fields)


def test_batches_that_cannot_be_augmented_are_refused():
    ids = torch.arange(4)
    with pytest.raises(BadData, match=r"no images"):
        Augment(pad=1)((torch.zeros(4, 7), ids), ids, 0, 0)
    with pytest.raises(BadData, match='need their "classes"'):
        Augment(pad=1)((PIXELS[:4], {"boxes": torch.zeros(4, 1, 4)}), ids, 0, 0)
    with pytest.raises(BadData, match=r"mixup needs one class number"):
        Augment(mixup=1.0, classes=3)((PIXELS[:4], torch.zeros(4, 2)), ids, 0, 0)
    with pytest.raises(BadValue, match=r"pad must be smaller than the images' sides, 8x8, not 8"):
        Augment(pad=8)((PIXELS[:4], ids), ids, 0, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resize": 224}, "resize must be (height, width) in pixels, not 224"),
        ({"resize": (8, 0)}, "resize must be (height, width) in pixels, not (8, 0)"),
        ({"resize": (8, 8.5)}, "resize must be"),
        ({"scale": 0.5}, "scale must be two rising numbers above 0, at most 1, not 0.5"),
        ({"scale": ("a", "b")}, "scale must be two rising numbers"),
        ({"scale": (0.5, 2.0)}, "scale must be two rising numbers"),
        ({"ratio": (2.0, 1.0)}, "ratio must be two rising numbers above 0, not (2.0, 1.0)"),
        ({"colour": 0.2}, "colour must be three numbers of at least 0 (brightness, contrast, saturation), not 0.2"),
        ({"colour": (0.1, 0.1)}, "colour must be three numbers"),
        ({"pad": 1.5}, "pad must be a whole number of at least 0, not 1.5"),
        ({"cutout": "3"}, "cutout must be a whole number of at least 0, not '3'"),
        ({"classes": True}, "classes must be a whole number of at least 0, not True"),
        ({"mixup": float("nan"), "classes": 5}, "mixup must be a number of at least 0, not nan"),
        ({"mean": 0.5, "std": 0.2}, "mean must be numbers, one a channel, not 0.5"),
        ({"mean": [0.5], "std": ["x"]}, "std must be numbers above 0, one a channel"),
        ({"mean": [0.5], "std": [0.0]}, "std must be numbers above 0"),
    ],
)
def test_what_no_augmentation_can_be_is_one_line(given, said):
    with pytest.raises(BadValue) as error:
        Augment(**given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
