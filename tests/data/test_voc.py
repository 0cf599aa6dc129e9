"""Photographs with boxes: read, packed, and named where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from halftime.data import jpeg
from halftime.data.jpeg import decode_jpeg, read_jpeg
from halftime.data.pack import Pack, pack
from halftime.data.voc import Voc
from halftime.errors import BadData, BadValue

KINDS = ("cat", "dog")


def annotation(*objects: tuple[str, int, int, int, int]) -> str:
    parts = [
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in objects
    ]
    return f"<annotation>{''.join(parts)}</annotation>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "voc"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for i in range(5):
        pixels = torch.randint(0, 256, (24, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(i))
        Image.fromarray(pixels.numpy()).save(root / "JPEGImages" / f"p{i}.jpg", quality=90)
        things = [("dog", 1, 1, 10 + i, 12), ("cat", 5, 6, 20, 20)][: i % 3]
        (root / "Annotations" / f"p{i}.xml").write_text(annotation(*things))
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(f"p{i}" for i in range(5)))
    return root


def test_samples_are_images_boxes_and_classes(folder):
    data = Voc(folder, "train", KINDS)
    image, found = data[2]
    assert len(data) == 5
    assert image.shape == (3, 24, 32)
    assert image.dtype == torch.uint8
    assert found["boxes"].tolist() == [[0, 0, 12, 12], [4, 5, 20, 20]]
    assert found["classes"].tolist() == [1, 0]
    assert data[0][1]["boxes"].shape == (0, 4)


def test_both_decoders_give_the_same_pixels(folder):
    data = (folder / "JPEGImages" / "p1.jpg").read_bytes()
    off = decode_jpeg(data).int() - jpeg._by_pillow(data).int()
    assert int(off.abs().max()) <= 2


def test_a_pack_of_it_gives_the_same_batches(folder, tmp_path):
    data = Voc(folder, "train", KINDS)
    pack(data, tmp_path / "p", classes=2)
    found = Pack(tmp_path / "p", source=data)
    for ids in (torch.tensor([1, 4, 2]), torch.tensor([0, 3])):
        one, other = data.batch(ids, torch.Generator()), found.batch(ids, torch.Generator())
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1]["boxes"], other[1]["boxes"])
        assert torch.equal(one[1]["classes"], other[1]["classes"])


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "gone"])
def test_a_corrupt_image_is_named_and_skipped_only_if_allowed(damage, folder, tmp_path):
    path = folder / "JPEGImages" / "p3.jpg"
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"hello"}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    with pytest.raises(BadData, match=r"p3.jpg"):
        pack(Voc(folder, "train", KINDS), tmp_path / "p")
    assert not (tmp_path / "p").exists()
    data = Voc(folder, "train", KINDS, skip_corrupt=True)
    assert len(data) == 4
    assert len(data.skipped) == 1
    made = pack(data, tmp_path / "p")
    assert made.samples == 4
    assert "p3.jpg" in made.skipped[0]
    assert "p3.jpg" in Pack(tmp_path / "p").manifest.skipped[0]


def test_every_decoder_names_the_file(folder, monkeypatch):
    monkeypatch.setattr(jpeg, "decode_jpeg", jpeg._by_pillow)
    path = folder / "JPEGImages" / "p3.jpg"
    for data in (b"", b"hello", path.read_bytes()[:300]):
        path.write_bytes(data)
        with pytest.raises(BadData, match=r"p3.jpg is damaged .*: delete it and fetch it again"):
            read_jpeg(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (annotation(("cow", 1, 1, 5, 5)), "p2.xml has the class 'cow' where cat, dog should be"),
        (annotation(("cat", 9, 1, 5, 5)), "p2.xml is damaged .a box from"),
        ("<annotation><object><name>cat</name></object></annotation>", "p2.xml is damaged"),
        ("<annotation>", "p2.xml is damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "p2.xml is damaged .it is no annotation"),
    ],
)
def test_a_bad_annotation_is_named(text, said, folder):
    (folder / "Annotations" / "p2.xml").write_text(text)
    with pytest.raises(BadData, match=said):
        Voc(folder, "train", KINDS)
    assert len(Voc(folder, "train", KINDS, skip_corrupt=True)) == 4


def test_a_split_that_is_not_there_is_named(folder):
    with pytest.raises(BadData, match=r"cannot read .*test.txt"):
        Voc(folder, "test", KINDS)
    with pytest.raises(BadValue, match=r"classes must be different names"):
        Voc(folder, "train", ("cat", "cat"))


def test_one_changed_byte_changes_the_digest(folder, tmp_path):
    before = Voc(folder, "train", KINDS).digest()
    assert before == Voc(folder, "train", KINDS).digest()
    pack(Voc(folder, "train", KINDS), tmp_path / "p")
    (folder / "Annotations" / "p1.xml").write_text(annotation(("dog", 1, 1, 9, 9)))
    changed = Voc(folder, "train", KINDS)
    assert changed.digest() != before
    with pytest.raises(BadData, match=r"other data than these"):
        Pack(tmp_path / "p", source=changed)
