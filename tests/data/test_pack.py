"""Packs: what goes in comes out, a pack is whole or not there, and what is not what was packed is said in one line."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import default_collate

from halftime.data import manifest, pack_file, publish
from halftime.data import pack as packs
from halftime.data.crops import resized
from halftime.data.feed import Feed, Tensors, slices
from halftime.data.pack import Pack, fitting, pack, padded
from halftime.errors import BadData, BadValue, InputError, StorageError

PIXELS = torch.randint(0, 256, (600, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(600) % 10
CPU = torch.device("cpu")


class Found:
    """Photographs with boxes, read one by one."""

    def __init__(self, count: int = 20) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        n = index % 4
        boxes = torch.arange(4.0 * n).view(n, 4) + index
        return PIXELS[index], {"boxes": boxes, "classes": torch.arange(n), "mask": PIXELS[index, 0] > 99}


@pytest.mark.parametrize("where", ["memory", "map", "device", "auto"])
def test_dense_data_come_out_as_they_went_in(where, tmp_path):
    made = pack((PIXELS, LABELS), tmp_path / "p")
    data = Pack(tmp_path / "p", where)
    assert len(data) == made.samples == 600
    ids = torch.tensor([599, 0, 3, 3])
    images, labels = data.batch(ids, torch.Generator())
    assert torch.equal(images, PIXELS[ids])
    assert images.dtype == torch.uint8
    assert torch.equal(labels, LABELS[ids])
    assert torch.equal(data[-1][0], PIXELS[-1])
    assert torch.equal(data.columns[0], PIXELS)
    assert made.bytes == PIXELS.nbytes + LABELS.nbytes
    assert data.where == ("memory" if where == "auto" else where)
    with pytest.raises(IndexError, match=r"sample 600 of a pack of 600"):
        data[600]


KINDS = (torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.bool)


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from(KINDS),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    width=st.integers(1, 3),
    data=st.data(),
)
def test_ragged_rows_of_any_type_come_out_as_they_went_in(kind, lengths, width, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    samples = [{"rows": (torch.randn(n, width) * 50).to(kind), "label": i} for i, n in enumerate(lengths)]
    pack_of = _Listed(samples)
    pack(pack_of, folder / "p")
    found = Pack(folder / "p", "map")
    ids = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5)))
    batch = found.batch(ids, torch.Generator())
    longest = max(lengths[i] for i in ids.tolist())
    assert batch["rows"].dtype == kind
    assert batch["label"].tolist() == ids.tolist()
    fill = -1 if kind in (torch.int16, torch.int64) else 0
    for row, i in zip(batch["rows"], ids.tolist(), strict=True):
        assert torch.equal(found[i]["rows"], samples[i]["rows"])
        if len(set(lengths)) > 1:
            assert row.shape == (longest, width)
        assert torch.equal(row[: lengths[i]], samples[i]["rows"])
        assert bool((row[lengths[i] :] == fill).all())


class _Listed:
    """Samples of different lengths."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def test_samples_of_a_plain_list_have_the_types_of_default_collate(tmp_path):
    samples = [(np.full(3, i, np.float64), i, 0.5 * i) for i in range(5)]
    pack([{"x": s[0], "y": s[1], "label": s[2]} for s in samples], tmp_path / "p")
    found = Pack(tmp_path / "p").batch(torch.arange(5), torch.Generator())
    wanted = default_collate([{"x": s[0], "y": s[1], "label": s[2]} for s in samples])
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def test_boxes_and_masks_lie_beside_their_image_and_shrink_with_it(tmp_path):
    made = pack(Found(), tmp_path / "p", sizes=(4, 3))
    data = Pack(tmp_path / "p")
    assert made.sizes == {4: "0@4", 3: "0@3"}
    ids = torch.tensor([3, 0, 7])
    images, found = data.batch(ids, torch.Generator())
    assert torch.equal(images, PIXELS[ids])
    assert found["classes"].tolist() == [[0, 1, 2], [-1, -1, -1], [0, 1, 2]]
    assert torch.equal(found["boxes"][2], Found()[7][1]["boxes"])
    assert torch.equal(found["mask"], PIXELS[ids, 0] > 99)
    small, shrunk = data.at(3).batch(ids, torch.Generator())
    assert torch.equal(small, resized(PIXELS[ids], 4, 3))
    assert torch.equal(shrunk["boxes"], found["boxes"] / 2)
    assert torch.equal(data.at(6).batch(ids, torch.Generator())[0], images)
    with pytest.raises(BadValue, match=r"size 5 is not stored in .*; stored: \[3, 4\]"):
        data.at(5)
    assert data.columns is None


def test_a_small_size_of_dense_data_has_columns_of_its_own(tmp_path):
    pack((PIXELS, LABELS), tmp_path / "p", sizes=(3,))
    small = Pack(tmp_path / "p").at(3)
    assert small.columns[0].shape == (600, 3, 4, 3)
    moved = small.with_columns(tuple(c.clone() for c in small.columns))
    assert torch.equal(moved.batch(LABELS[:4], torch.Generator())[0], small.columns[0][:4])


def test_a_pack_feeds_a_training(tmp_path):
    pack((PIXELS, LABELS), tmp_path / "p")
    one, other = Feed(Pack(tmp_path / "p"), 16, 3), Feed(Tensors(PIXELS, LABELS), 16, 3)
    for step in (0, 5, 37, 40):
        assert torch.equal(one.look(step)[0], other.look(step)[0])
    assert sum(len(b[1]) for b in slices(Pack(tmp_path / "p"), 100)) == 600


def test_verify_finds_every_changed_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "BLOCK", 1024)
    made = pack((PIXELS, LABELS), tmp_path / "p")
    assert manifest.verify(tmp_path / "p") == []
    path = tmp_path / "p" / made.data / made.fields["0"].file
    data = bytearray(path.read_bytes())
    dice = torch.Generator().manual_seed(0)
    for place in torch.randint(len(data), (20,), generator=dice).tolist():
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert manifest.verify(tmp_path / "p") == [f"{path}: block {place // 1024} of field 0 is not what was packed"]


@pytest.mark.parametrize("cut", [1, 700])
def test_a_file_of_another_length_is_refused_at_once(cut, tmp_path):
    made = pack((PIXELS, LABELS), tmp_path / "p")
    path = tmp_path / "p" / made.data / "0.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(
        BadData, match=f"holds {PIXELS.nbytes - cut} bytes where {PIXELS.nbytes} were packed: pack again"
    ):
        Pack(tmp_path / "p")
    path.unlink()
    with pytest.raises(BadData, match=r"cannot read .*: No such file"):
        Pack(tmp_path / "p")


@settings(deadline=None, max_examples=30)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_any_change_of_the_manifest_is_one_line(place, byte, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p") / "p"
    pack((PIXELS[:4], LABELS[:4]), folder, sizes=(2,))
    path = folder / manifest.NAME
    data = bytearray(path.read_bytes())
    before, where = json.loads(data), place % len(data)
    data[where] = byte
    path.write_bytes(data)
    try:
        Pack(folder)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert json.loads(data) == before  # white space


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"halftime_pack": 99}', '{"halftime_pack": 1}', "\xff", "[" * 100_000]
)
def test_what_is_no_manifest_is_one_line(text, tmp_path):
    (tmp_path / manifest.NAME).write_text(text)
    with pytest.raises(BadData, match=r"manifest.json is damaged .*pack again"):
        Pack(tmp_path)


def test_a_manifest_may_not_point_outside(tmp_path):
    made = pack((PIXELS[:4], LABELS[:4]), tmp_path / "p")
    import dataclasses

    for bad in (
        dataclasses.replace(made, data="../elsewhere"),
        dataclasses.replace(made, fields={**made.fields, "0": dataclasses.replace(made.fields["0"], file="../x")}),
        dataclasses.replace(made, layout=["0", "2"]),
        dataclasses.replace(made, fields={**made.fields, "0": dataclasses.replace(made.fields["0"], dtype="load")}),
    ):
        (tmp_path / "p" / manifest.NAME).write_text(bad.to_json())
        with pytest.raises(BadData, match=r"is damaged"):
            Pack(tmp_path / "p")


def test_no_pack_says_how_to_make_one(tmp_path):
    with pytest.raises(BadData, match=r"holds no pack.*halftime data pack"):
        Pack(tmp_path / "nowhere")


def test_data_that_changed_under_a_pack_are_told(tmp_path):
    pack((PIXELS, LABELS), tmp_path / "p")
    Pack(tmp_path / "p", source=Tensors(PIXELS, LABELS))
    changed = LABELS.clone()
    changed[300] = 9
    with pytest.raises(BadData, match=r"is a pack of other data than these: the data set changed: pack again"):
        Pack(tmp_path / "p", source=Tensors(PIXELS, changed))


class Disk:
    """A disk that has room for so many operations."""

    def __init__(self, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = left
        for module, name in ((pack_file, "put"), (pack_file, "settle"), (publish, "sync")):
            monkeypatch.setattr(module, name, self.counting(getattr(module, name)))
        for name in ("mkdir", "rename", "replace"):
            monkeypatch.setattr(Path, name, self.counting(getattr(Path, name)))

    def counting(self, act: Any) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return act(*given, **named)

        return counted


@pytest.mark.parametrize("there", [True, False], ids=["over an old pack", "where there was none"])
def test_a_full_disk_leaves_the_old_pack_or_none(there, tmp_path):
    folder, failed = tmp_path / "p", 0
    for room in range(100):
        if there and room == 0:
            pack((PIXELS[:300], LABELS[:300]), folder)
        with pytest.MonkeyPatch.context() as patch:
            Disk(room, patch)
            try:
                pack((PIXELS, LABELS), folder, sizes=(3,))
                break
            except StorageError as error:
                assert "the disk is full: free some space" in str(error)
                failed += 1
        if there and len(Pack(folder)) == 300:
            assert manifest.verify(folder) == []
            assert len(list(folder.iterdir())) == 2  # nothing half-written
        elif folder.exists():  # the last sync may fail when all is written
            assert len(Pack(folder)) == 600
            break
    assert failed >= 10
    pack((PIXELS, LABELS), folder)
    assert len(Pack(folder)) == 600
    assert len(list(folder.iterdir())) == 2


def test_what_a_killed_packing_left_is_cleared_away(tmp_path):
    pack((PIXELS, LABELS), tmp_path / "p")
    left = tmp_path / "p" / f".part-{publish.HOST}-999999999-abc"
    left.mkdir()
    (left / "0.bin").write_bytes(b"x")
    pack((PIXELS, LABELS), tmp_path / "p")
    assert not left.exists()


class Broken(Found):
    left = 20 + 14

    def __getitem__(self, index: int) -> Any:
        self.left -= 1
        if self.left == 0:  # the digest has read each once
            raise BadData("image 13 is damaged")
        return super().__getitem__(index)


def test_a_sample_that_cannot_be_read_leaves_nothing(tmp_path):
    with pytest.raises(BadData, match=r"image 13 is damaged"):
        pack(Broken(), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 4, 5), 0)], "sample 1: 0 has shape .* and images not at all"),
        ([(torch.zeros(2, 4), 0), (torch.zeros(2, 5), 0)], "sample 1: 0 has shape"),
        ([(torch.zeros(2), 0), (torch.zeros(2).double(), 0)], "sample 1: 0 is torch.float64 where sample 0 has"),
        ([{"a": 1, "label": 2}, {"b": 1, "label": 2}], "sample 1 has the fields"),
        ([(torch.zeros(2), "cat"), (torch.zeros(2), "dog")], "only numbers can be packed"),
        ([{"../a": 1, "label": 2}], "must be a plain word"),
    ],
)
def test_samples_that_do_not_fit_each_other_are_named(samples, said, tmp_path):
    with pytest.raises(BadData, match=said):
        pack(samples, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_labels_out_of_range_are_named(tmp_path):
    labels = LABELS.clone()
    labels[437] = 10
    with pytest.raises(BadData, match=r"sample 437 has label 10 where 0 to 9 should be"):
        pack((PIXELS, labels), tmp_path / "p", classes=10)
    with pytest.raises(BadData, match=r"sample 3 has label 2 where 0 to 1 should be"):
        pack(Found(), tmp_path / "p", classes=2)
    assert list(tmp_path.iterdir()) == []
    pack((PIXELS, LABELS), tmp_path / "p", classes=10)


@pytest.mark.parametrize("sizes", [(0,), (6,), (-3,)])
def test_sizes_are_smaller_than_the_images(sizes, tmp_path):
    with pytest.raises(BadValue, match=r"sizes must be below the images' shorter side, 6, not"):
        pack((PIXELS, LABELS), tmp_path / "p", sizes=sizes)


def test_where_is_one_of_four(tmp_path):
    pack((PIXELS, LABELS), tmp_path / "p")
    with pytest.raises(BadValue, match=r"where must be one of 'auto', 'memory', 'map', 'device', not 'disk'"):
        Pack(tmp_path / "p", "disk")  # type: ignore[arg-type]


def test_where_goes_by_size(monkeypatch):
    monkeypatch.setattr(packs, "memory", lambda: 4000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3000, 9000))
    assert fitting(1000, CPU) == "memory"
    assert fitting(1001, CPU) == "map"
    assert fitting(1000, torch.device("cuda")) == "device"
    assert fitting(1001, torch.device("cuda")) == "map"
    monkeypatch.setattr(packs, "memory", lambda: None)  # nobody knows
    assert fitting(1, CPU) == "map"


def test_padding_of_a_batch_without_rows():
    assert padded(torch.zeros(0, 4), torch.zeros(3, dtype=torch.int64), torch.tensor([1])).shape == (1, 0, 4)


@pytest.mark.parametrize("sizes", [(4, 4), (3, 4, 3)])
def test_a_size_is_given_once(sizes, tmp_path):
    with pytest.raises(BadValue, match=r"sizes are given more than once: \[(4, 4|3, 4, 3)\]"):
        pack((PIXELS, LABELS), tmp_path / "p", sizes=sizes)
    assert list(tmp_path.iterdir()) == []


def test_a_single_sample_is_as_small_as_its_batch(tmp_path):
    pack(Found(), tmp_path / "p", sizes=(4, 3))
    small = Pack(tmp_path / "p").at(3)
    for index in (3, -1):
        image, found = small[index]
        images, batch = small.batch(torch.tensor([index % len(small)]), torch.Generator())
        assert torch.equal(image, images[0])
        for name, values in batch.items():
            assert torch.equal(found[name], values[0][: len(found[name])])
    assert torch.equal(Pack(tmp_path / "p")[3][0], PIXELS[3])


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_masks_shrink_with_their_image(shape, tmp_path):
    masks = (PIXELS[:, :1] // 99).expand(-1, *(shape or (1,)), -1, -1).reshape(600, *shape, 8, 6)
    samples = [{"mask": masks[i], "image": PIXELS[i], "label": i} for i in range(9)]
    made = pack(samples, tmp_path / "p", sizes=(3, 4))
    assert made.image == "image"
    ids, dice = torch.tensor([7, 2]), torch.Generator()
    for size in (3, 4, 6):
        data = Pack(tmp_path / "p").at(size)
        height, width = data.batch(ids, dice)["image"].shape[2:]
        rows, columns = ((torch.arange(n) + 0.5) * whole / n for n, whole in ((height, 8), (width, 6)))
        wanted = masks[..., rows.long()[:, None], columns.long()]
        assert min(height, width) == size
        assert torch.equal(data.batch(ids, dice)["mask"], wanted[ids])
        assert torch.equal(data[7]["mask"], wanted[7])


def test_masks_of_another_size_than_their_image_have_no_smaller_copies(tmp_path):
    samples = [{"mask": PIXELS[i, 0, :4], "image": PIXELS[i], "label": i} for i in range(9)]
    pack(samples, tmp_path / "p")
    with pytest.raises(BadData, match=r"sample 0: mask has shape .* 8x6"):
        pack(samples, tmp_path / "q", sizes=(3,))
    assert not (tmp_path / "q").exists()


def test_a_pack_whose_masks_have_no_smaller_copies_is_not_served_at_their_size(tmp_path):
    import dataclasses

    made = pack(Found(), tmp_path / "p", sizes=(3,))
    fields = {name: field for name, field in made.fields.items() if name != "1.mask@3"}  # as packs were before
    (tmp_path / "p" / manifest.NAME).write_text(dataclasses.replace(made, fields=fields).to_json())
    with pytest.raises(BadValue, match=r"stores no masks at size 3: pack again"):
        Pack(tmp_path / "p").at(3)


@pytest.mark.parametrize("moment", ["before the manifest", "after the manifest"])
def test_of_two_that_pack_into_one_folder_one_stays(moment, tmp_path, monkeypatch):
    folder, replace, once = tmp_path / "p", Path.replace, []
    pack((PIXELS[:9], LABELS[:9]), folder)

    def replaced(path: Path, target: Path) -> Path:
        if path.suffix == ".json" and not once:
            once.append(path)
            if moment == "before the manifest":
                pack((PIXELS[:20], LABELS[:20]), folder)
                return replace(path, target)
            found = replace(path, target)
            pack((PIXELS[:20], LABELS[:20]), folder)
            return found
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    pack((PIXELS[:30], LABELS[:30]), folder)
    assert len(Pack(folder)) == (30 if moment == "before the manifest" else 20)
    assert manifest.verify(folder) == []
    assert len([*folder.iterdir()]) == 2


def test_a_pack_that_is_replaced_while_it_is_opened_is_one_line(tmp_path, monkeypatch):
    pack((PIXELS, LABELS), tmp_path / "p")

    def gone(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("unable to open file <0.bin> in read-only mode: No such file or directory (2)")

    monkeypatch.setattr(torch, "from_file", gone)
    with pytest.raises(BadData, match=r"cannot read .*0.bin: .*open it again"):
        Pack(tmp_path / "p")


def test_what_other_machines_leave_is_cleared_by_its_age(tmp_path):
    folder = tmp_path / "p"
    pack((PIXELS, LABELS), folder)
    young, old, mine = (folder / f".part-{host}-1-abc" for host in ("elsewhere", "farther", publish.HOST))
    for part in (young, old, mine):
        part.mkdir()
    long_ago = time.time() - 2 * publish.OLD
    os.utime(old, (long_ago, long_ago))
    os.utime(mine, (long_ago, long_ago))
    pack((PIXELS, LABELS), folder)
    assert young.exists()
    assert not old.exists()
    assert mine.exists()  # process 1 lives, whatever its age
