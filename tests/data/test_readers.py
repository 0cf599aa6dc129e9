"""Readers on small made files, whole and damaged: what is wrong is said in one line that names the file."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import tarfile

import numpy as np
import pytest
import torch

from halftime.data import readers
from halftime.errors import BadData


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def records(count: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    made[:, 0] %= 10
    return made


def tar(path, blocks: dict[str, bytes]):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in blocks.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def parquet(path, rows: np.ndarray, labels=None):
    pa = pytest.importorskip("pyarrow", reason="the parquet form needs the extra 'parquet'")
    import pyarrow.parquet as pq
    from PIL import Image

    images = []
    for row in rows:
        png = io.BytesIO()
        Image.fromarray(row[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(png, "PNG")
        images.append({"bytes": png.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    numbers = rows[:, 0].astype(np.int64) if labels is None else labels
    pq.write_table(pa.table({"img": pa.array(images, kind), "label": pa.array(numbers, pa.int64())}), path)
    return path


def refusal(call, *arguments) -> str:
    with pytest.raises(BadData) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_idx_round_trip(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(array)))
    assert torch.equal(readers.read_idx(path), torch.from_numpy(array))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip at all",
        gzip.compress(b"\0\0\x08\x03" + b"\0" * 5),
        gzip.compress(b"\0\0\x0d\x01" + b"\0" * 8),
        gzip.compress(b"\0\0"),
        gzip.compress(idx(np.zeros((4, 4), np.uint8))[:-1]),
        gzip.compress(idx(np.zeros((4, 4), np.uint8)) + b"x"),
        gzip.compress(idx(np.zeros((90, 90), np.uint8)))[:-20],
    ],
    ids=["empty", "not gzip", "short head", "not bytes", "no head", "too short", "too long", "cut off"],
)
def test_a_damaged_idx_is_named(tmp_path, content):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    assert str(path) in refusal(readers.read_idx, path)


def test_a_missing_file_is_named(tmp_path):
    for read in (readers.read_idx, readers.read_text, lambda p: readers.read_cifar_tar(p, "train")):
        message = refusal(read, tmp_path / "absent")
        assert str(tmp_path / "absent") in message
        assert "No such file" in message


def test_cifar_tar(tmp_path):
    blocks = [records(3, seed) for seed in range(6)]
    names = [f"data_batch_{i}.bin" for i in (3, 1, 2, 5, 4)] + ["test_batch.bin"]
    order = dict(zip(names, blocks, strict=True))
    path = tar(tmp_path / "cifar.tar.gz", {name: block.tobytes() for name, block in order.items()} | {"readme": b"x"})
    train = np.concatenate([order[f"data_batch_{i}.bin"] for i in range(1, 6)])
    assert np.array_equal(readers.read_cifar_tar(path, "train"), train)
    assert np.array_equal(readers.read_cifar_tar(path, "test"), blocks[-1])


def test_a_damaged_cifar_tar_is_named(tmp_path):
    block = records(3).tobytes()
    whole = tar(tmp_path / "whole.tar.gz", {"test_batch.bin": block}).read_bytes()
    cases = {
        "missing": tar(tmp_path / "missing.tar.gz", {"other.bin": block}),
        "odd": tar(tmp_path / "odd.tar.gz", {"test_batch.bin": block[:-1]}),
        "none": tar(tmp_path / "none.tar.gz", {"test_batch.bin": b""}),
    }
    for name, content in {"cut": whole[: len(whole) // 2], "noise": b"noise" * 99}.items():
        cases[name] = tmp_path / f"{name}.tar.gz"
        cases[name].write_bytes(content)
    for path in cases.values():
        assert str(path) in refusal(readers.read_cifar_tar, path, "test")


def test_parquet_and_tar_give_the_same(tmp_path):
    block = records(7)
    first, second = parquet(tmp_path / "a.parquet", block[:4]), parquet(tmp_path / "b.parquet", block[4:])
    archive = tar(tmp_path / "cifar.tar.gz", {"test_batch.bin": block.tobytes()})
    assert np.array_equal(readers.read_cifar_parquet([first, second]), readers.read_cifar_tar(archive, "test"))


def test_a_damaged_parquet_is_named(tmp_path):
    good = parquet(tmp_path / "good.parquet", records(3))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-30])
    label = parquet(tmp_path / "label.parquet", records(3), labels=[1, 2, 300])
    none = parquet(tmp_path / "none.parquet", records(3), labels=[1, 2, None])
    for path in (cut, label, none):
        assert str(path) in refusal(readers.read_cifar_parquet, [path])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install pyarrow pillow" in refusal(readers.read_cifar_parquet, [tmp_path / "x.parquet"])


def test_text(tmp_path):
    path = tmp_path / "input.txt"
    path.write_bytes("héllo\n".encode())
    assert readers.read_text(path) == "héllo\n"
    for content in (b"", b"\xff\xfe\xff"):
        path.write_bytes(content)
        assert str(path) in refusal(readers.read_text, path)


def test_labelled_takes_records_apart_and_checks_them(tmp_path):
    block, path = records(4), tmp_path / "cifar.tar.gz"
    images, labels = readers.labelled(block, path, 4)
    assert images.shape == (4, 3, 32, 32)
    assert np.array_equal(images.reshape(4, -1).numpy(), block[:, 1:])
    assert labels.tolist() == block[:, 0].tolist()
    assert "holds 4 images and 4 labels where 5" in refusal(readers.labelled, block, path, 5)
    block[2, 0] = 10
    assert f"{path} has labels up to 10" in refusal(readers.labelled, block, path, 4)


def test_kept_decodes_once_and_again_when_a_source_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "cache", lambda: tmp_path / "cache")
    source, block, made = tmp_path / "source", records(2), []
    source.write_text("one")

    def decode() -> np.ndarray:
        made.append(1)
        return block

    for _ in range(3):
        assert np.array_equal(readers.kept("small", [source], decode), block)
    assert len(made) == 1
    os.utime(source, ns=(1, 1))
    readers.kept("small", [source], decode)
    assert len(made) == 2
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2  # two results, and nothing half-written


def test_a_damaged_or_unwritable_cache_breaks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "cache", lambda: tmp_path / "cache")
    source, block = tmp_path / "source", records(2)
    source.write_text("one")
    readers.kept("small", [source], lambda: block)
    (kept,) = (tmp_path / "cache" / "decoded").iterdir()
    for content in (b"", b"\x93NUMPY", kept.read_bytes()[:-9]):
        kept.write_bytes(content)
        assert np.array_equal(readers.kept("small", [source], lambda: block), block)
    (tmp_path / "file").write_text("a file where the cache should be")
    monkeypatch.setattr(readers, "cache", lambda: tmp_path / "file")
    assert np.array_equal(readers.kept("small", [source], lambda: block), block)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(readers, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(readers.np, "save", full)
    source, block = tmp_path / "source", records(2)
    source.write_text("one")
    assert np.array_equal(readers.kept("small", [source], lambda: block), block)
    assert not list((tmp_path / "cache" / "decoded").iterdir())


def test_an_interrupt_while_a_file_is_kept_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        readers._write(tmp_path / "kept.npy", np.zeros((1, 3073), np.uint8))
    assert list(tmp_path.iterdir()) == []
