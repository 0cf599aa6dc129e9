"""Packing: any map-style data set read once and written as one file a field, whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from halftime.data import manifest as files
from halftime.data.batch import MASKS
from halftime.data.crops import resized, thinned
from halftime.data.feed import as_dataset, digest, fetch
from halftime.data.kinds import by_batch, columns_of
from halftime.data.pack_file import PackFile
from halftime.data.publish import clear, publish, unfinished
from halftime.errors import BadData, BadValue, shorten, writing

CHUNK = 256  # samples read at once


def pack(dataset: Any, folder: str | Path, *, sizes: Sequence[int] = (), classes: int | None = None) -> files.Manifest:
    """Read every sample of a data set once and write them as flat files.

    A pack that is there already stays as it is until the new one is whole; then it is replaced.

    Args:
        dataset: map-style; samples are tensors, arrays or numbers, or pairs or dicts of them. Each field has one type,
            and one shape but for its first dimension, such as boxes [n, 4].
        folder: where the pack will lie.
        sizes: shorter sides in pixels of smaller copies of the images that are stored as well, masks over them too.
        classes: refuse class numbers that are not below this.

    Returns:
        The manifest.

    Raises:
        BadData: samples that do not fit each other, or labels out of range; names the sample.
        BadValue: a size that is not smaller than the images, or is given twice.
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
    if len(set(sizes)) < len(sizes):
        raise BadValue(f"sizes are given more than once: {shorten([*sizes])}")
    source = source_digest(dataset)
    fresh = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    part = unfinished(folder)
    writer = _Writer(part, tuple(sizes), classes)
    try:
        with writing(folder):
            clear(folder)
            part.mkdir()
            for first, samples in _read(dataset):
                writer.add(first, samples)
            made = writer.finish(len(dataset), source, tuple(getattr(dataset, "skipped", ())))
            publish(folder, part, made)
    except BaseException:
        writer.drop()
        shutil.rmtree(part, ignore_errors=True)
        if fresh:
            with contextlib.suppress(OSError):  # somebody else has packed into it meanwhile
                folder.rmdir()
        raise
    return made


def source_digest(dataset: Any) -> str:
    """Sixteen characters that change with the data set: its own `digest()`, or `feed.digest`."""
    return str(dataset.digest()) if hasattr(dataset, "digest") else digest(dataset)


def rows(dataset: Any, some: slice) -> Any:
    """Samples that are rows of columns as they lie, before any augmentation; None where they are not.

    A data set whose sample is more than its columns side by side says how they make one: `laid(columns)`.
    """
    columns = columns_of(dataset)
    if columns is None or any(len(column) != len(dataset) for column in columns):
        return None
    found = tuple(column[some] for column in columns)
    if hasattr(dataset, "laid"):
        return dataset.laid(found)
    return found if len(found) > 1 else found[0]


def _read(dataset: Any) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first, samples), a chunk at a time."""
    for first in range(0, len(dataset), CHUNK):
        ids = range(first, min(first + CHUNK, len(dataset)))
        chunk = rows(dataset, slice(ids.start, ids.stop))
        if chunk is not None:
            yield first, [Rows(chunk)]
        elif by_batch(dataset) or hasattr(dataset, "served"):
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
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # with names
        return type(tree)(*map(_unbatched, tree))
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
        self.follow: list[str] = []  # of which smaller copies are stored: the image and the masks over it

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
        if self.sizes:
            self._shrink()

    def _shrink(self) -> None:
        """Open the files of smaller copies."""
        masks = [n for n in self.files if n.split(".")[-1] in MASKS]
        images = [n for n, f in self.files.items() if len(f.shape) == 3 and f.shape[0] in (1, 3, 4) and n not in masks]
        if not images:
            raise BadData("sizes are for images [channels, height, width], and the samples hold none")
        self.image, self.follow = images[0], [images[0], *masks]
        height, width = self.files[self.image].shape[1:]
        for mask in masks:
            if (shape := self.files[mask].shape)[-2:] != (height, width):
                raise BadData(f"sample 0: {mask} has shape {shape}, and does not lie over images of {height}x{width}")
        for size in self.sizes:
            if not 0 < size < min(height, width):
                raise BadValue(f"sizes must be below the images' shorter side, {min(height, width)}, not {size}")
            share = size / min(height, width)
            self.small[size] = f"{self.image}@{size}"
            for name in self.follow:
                whole = self.files[name]
                shape = (*whole.shape[:-2], round(height * share), round(width * share))
                self.files[f"{name}@{size}"] = PackFile(self.folder / f"{name}@{size}.bin", whole.dtype, shape)

    def _append(self, name: str, rows: Tensor, number: int) -> None:
        kind = name.split(".")[-1]
        if self.classes is not None and kind not in ("image", "boxes") and _counts(rows):
            _in_range(rows, -1 if kind == "classes" else 0, self.classes, number)
        self.files[name].add(rows, number, name)
        for size in self.sizes if name in self.follow else ():
            small, smaller = self.files[f"{name}@{size}"], resized if name == self.image else thinned
            small.add(smaller(rows, *small.shape[-2:]), number, name)

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


def _in_range(rows: Tensor, least: int, classes: int, number: int) -> None:
    """Class numbers, the least of which is -1 where a row may stand for no box."""
    if rows.numel() and (int(rows.min()) < least or int(rows.max()) >= classes):
        bad = (rows.flatten(1) if rows.ndim > 1 else rows[:, None]).flatten(1)
        out = (bad < least) | (bad >= classes)
        which = int(out.any(1).nonzero()[0])
        value = int(bad[which][out[which]][0])
        raise BadData(f"sample {number + which} has label {value} where 0 to {classes - 1} should be")
