"""Packing: any map-style data set read once and written as one file a field, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from halftime.data import manifest as files
from halftime.data.crops import resized
from halftime.data.feed import as_dataset, digest, fetch
from halftime.data.pack_file import PackFile
from halftime.errors import BadData, BadValue, shorten, writing

CHUNK = 256  # samples read at once


def pack(dataset: Any, folder: str | Path, *, sizes: Sequence[int] = (), classes: int | None = None) -> files.Manifest:
    """Read every sample of a data set once and write them as flat files.

    A pack that is there already stays as it is until the new one is whole; then it is replaced.

    Args:
        dataset: map-style; samples are tensors, arrays or numbers, or pairs or dicts of them. Each field has one type,
            and one shape but for its first dimension, such as boxes [n, 4].
        folder: where the pack will lie.
        sizes: shorter sides in pixels of smaller copies of the images that are stored as well.
        classes: refuse class numbers that are not below this.

    Returns:
        The manifest.

    Raises:
        BadData: samples that do not fit each other, or labels out of range; names the sample.
        StorageError: the disk is full or read-only; what was there is as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = pack((torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.arange(8)), folder, sizes=(2,))
        >>> made.samples, made.bytes
        (8, 544)
    """
    folder = Path(folder)
    dataset = as_dataset(dataset, "pack")
    columns = getattr(dataset, "columns", None)
    source = source_digest(dataset)
    fresh = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    writer = _Writer(part, tuple(sizes), classes)
    try:
        with writing(folder):
            _clear(folder)
            part.mkdir()
            for first, samples in _read(dataset, columns):
                writer.add(first, samples)
            made = writer.finish(len(dataset), source, tuple(getattr(dataset, "skipped", ())))
            _publish(folder, part, made)
    except BaseException:
        writer.drop()
        shutil.rmtree(folder if fresh else part, ignore_errors=True)
        raise
    return made


def source_digest(dataset: Any) -> str:
    """Sixteen characters that change with the data set: its own `digest()`, or `feed.digest`."""
    return str(dataset.digest()) if hasattr(dataset, "digest") else digest(dataset)


def _read(dataset: Any, columns: Any) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first, samples), a chunk at a time; rows of columns as they lie, before any augmentation."""
    for first in range(0, len(dataset), CHUNK):
        ids = range(first, min(first + CHUNK, len(dataset)))
        if columns is not None:
            rows = tuple(c[ids.start : ids.stop] for c in columns)
            yield first, [Rows(rows if len(rows) > 1 else rows[0])]
        elif hasattr(dataset, "batch") or hasattr(dataset, "served"):
            yield first, [_converted(dataset[i]) for i in ids]
        else:
            yield first, [_one(dataset, i) for i in ids]


def _one(dataset: Any, index: int) -> Any:
    """A sample as a batch of it alone holds it, so that types are those of `default_collate`."""
    return _unbatched(fetch(dataset, torch.tensor([index]), (0, 0, index)))


def _converted(sample: Any) -> Any:
    """A sample of a data set that makes its own batches: arrays and numbers become tensors."""
    return _unbatched(default_collate([sample]))


def _unbatched(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree[0]
    if isinstance(tree, Mapping):
        return {key: _unbatched(value) for key, value in tree.items()}
    return type(tree)(_unbatched(v) for v in tree) if type(tree) in (list, tuple) else tree


class Rows:
    """Many samples at once: a nest of tensors whose first dimension counts them."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree


class _Writer:
    """The files of a pack while they grow."""

    def __init__(self, folder: Path, sizes: tuple[int, ...], classes: int | None) -> None:
        self.folder, self.sizes, self.classes = folder, sizes, classes
        self.files: dict[str, PackFile] = {}
        self.layout: Any = None
        self.image, self.small = "", dict[int, str]()

    def add(self, first: int, samples: list[Any]) -> None:
        """Append samples, the first of which has this number."""
        for number, sample in enumerate(samples, first):
            many = isinstance(sample, Rows)
            found: dict[str, Tensor] = {}
            layout = _layout(sample.tree if many else sample, found, "", number)
            if self.layout is None:
                self.layout = layout
                self._start(found, many)
            if layout != self.layout:
                raise BadData(f"sample {number} has the fields {shorten(layout)} where sample 0 has {self.layout}")
            for name, tensor in found.items():
                self._append(name, tensor if many else tensor[None], number)

    def _start(self, found: dict[str, Tensor], many: bool) -> None:
        for name, tensor in found.items():
            shape = tuple(tensor.shape[1:] if many else tensor.shape)
            self.files[name] = PackFile(self.folder / f"{name}.bin", tensor.dtype, shape)
        images = [n for n, f in self.files.items() if len(f.shape) == 3 and f.shape[0] in (1, 3, 4)]
        if self.sizes and not images:
            raise BadData("sizes are for images [channels, height, width], and the samples hold none")
        self.image = images[0] if self.sizes else ""
        for size in self.sizes:
            source = self.files[self.image]
            channels, height, width = source.shape
            if not 0 < size < min(height, width):
                raise BadValue(f"sizes must be below the images' shorter side, {min(height, width)}, not {size}")
            share = size / min(height, width)
            name = self.small[size] = f"{self.image}@{size}"
            shape = (channels, round(height * share), round(width * share))
            self.files[name] = PackFile(self.folder / f"{name}.bin", source.dtype, shape)

    def _append(self, name: str, rows: Tensor, number: int) -> None:
        file = self.files[name]
        if self.classes is not None and name.split(".")[-1] not in ("image", "boxes") and _counts(rows):
            _in_range(rows, self.classes, number)
        file.add(rows, number, name)
        for size in self.sizes if name == self.image else ():
            small = self.files[self.small[size]]
            small.add(resized(rows, *small.shape[1:]), number, name)

    def drop(self) -> None:
        """Let go of every file."""
        for file in self.files.values():
            with contextlib.suppress(OSError):  # closing writes what is left, and a full disk has no room for it
                file.file.close()

    def finish(self, samples: int, source: str, skipped: tuple[str, ...]) -> files.Manifest:
        """Close every file, and say what they hold."""
        fields: dict[str, files.Field] = {}
        for name, file in self.files.items():
            offsets = ""
            if file.ragged:
                offsets = f"{name}.offsets"
                fields[offsets] = file.offsets(self.folder / f"{offsets}.bin")
            fields[name] = file.close(offsets)
        data = f"data-{uuid.uuid4().hex[:12]}"
        return files.Manifest(samples, source, data, self.layout, fields, self.small, self.image, skipped)


def _layout(tree: Any, found: dict[str, Tensor], name: str, number: int) -> Any:
    """Names for the tensors of a sample, in its own nest; tuples become lists, marked as such by being in a list."""
    if isinstance(tree, Tensor):
        found[name or "sample"] = tree
        return name or "sample"
    if isinstance(tree, (int, float)) and not isinstance(tree, bool):
        return _layout(
            torch.tensor(tree, dtype=torch.float64 if isinstance(tree, float) else None), found, name, number
        )
    dot = f"{name}." if name else ""
    if isinstance(tree, Mapping):
        if bad := [k for k in tree if not isinstance(k, str) or not k.isidentifier()]:
            raise BadData(f"sample {number}: a field's name must be a plain word, not {shorten(bad[0])}")
        return {key: _layout(value, found, dot + key, number) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [_layout(value, found, f"{dot}{i}", number) for i, value in enumerate(tree)]
    raise BadData(f"sample {number} holds {shorten(tree)} in {name or 'itself'}: only numbers can be packed")


def _counts(rows: Tensor) -> bool:
    return not rows.is_floating_point() and rows.ndim <= 2 and rows.dtype == torch.int64


def _in_range(rows: Tensor, classes: int, number: int) -> None:
    if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= classes):
        bad = (rows.flatten(1) if rows.ndim > 1 else rows[:, None]).flatten(1)
        which = int(((bad < 0) | (bad >= classes)).any(1).nonzero()[0])
        value = bad[which][(bad[which] < 0) | (bad[which] >= classes)][0]
        raise BadData(f"sample {number + which} has label {int(value)} where 0 to {classes - 1} should be")


def _publish(folder: Path, part: Path, made: files.Manifest) -> None:
    """The one moment at which the new pack takes the place of the old."""
    _sync(part)
    part.rename(folder / made.data)
    beside = folder / f".part-{os.getpid()}-{files.NAME}"
    try:
        with beside.open("w") as file:
            file.write(made.to_json())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / files.NAME)
    except BaseException:
        beside.unlink(missing_ok=True)
        shutil.rmtree(folder / made.data, ignore_errors=True)
        raise
    _sync(folder)
    for old in folder.glob("data-*"):
        if old.name != made.data:
            shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    """Remove what a packing that was killed left behind."""
    for left in folder.glob(".part-*"):
        owner = left.name.split("-")[1]
        alive = owner.isdigit() and Path(f"/proc/{owner}").exists()
        if not alive:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
