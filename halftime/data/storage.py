"""Where the samples lie: the same data set served from a device, or from a pack that is made once and found again."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import torch

from halftime.data.batch import tensors
from halftime.data.feed import CPU, fetch
from halftime.data.kinds import columns_of
from halftime.data.pack import Pack, Where, pack, source_digest
from halftime.data.sources import cache
from halftime.errors import BadData


def to_device(dataset: Any, device: torch.device) -> Any:
    """A dense data set over copies of its columns on a device.

    Raises:
        BadData: the data set is not dense, or does not fit the free memory of the device.
    """
    columns = columns_of(dataset)
    if columns is None or not hasattr(dataset, "with_columns"):
        raise BadData(
            f"OnDevice needs data whose samples are rows of tensors, and {type(dataset).__name__} is read sample by "
            "sample: use Packed, or leave OnDevice out"
        )
    size = sum(c.nbytes for c in columns if c.device != device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    if free is not None and size > free:
        raise BadData(f"OnDevice: the data are {size / 2**30:.1f} GiB, and {device} has {free / 2**30:.1f} GiB free")
    return dataset.with_columns(tuple(c.to(device) for c in columns))


def to_pack(dataset: Any, folder: str | Path | None = None, where: Where = "auto", device: torch.device = CPU) -> Any:
    """A data set served from a pack of it, which is made where it is not there yet.

    Args:
        dataset: map-style, with no chance in its samples; or dense (with `columns`), whose augmentation stays its own.
        folder: where packs lie, each under the digest of its data; in the user's cache if None.
        where: from where to serve, as in `Pack`.
        device: where the training runs.

    Raises:
        BadData: a sample is another one each time it is read, or a pack cannot serve it.
        StorageError: the disk is full or read-only.
    """
    name = source_digest(dataset)
    place = (Path(folder) if folder else cache() / "packs") / name
    fresh = False
    try:
        found = Pack(place, where, device)
    except BadData:  # not there, or damaged: it is made from the data, which are at hand
        pack(dataset, place)
        found, fresh = Pack(place, where, device), True
    if columns_of(dataset) is not None and hasattr(dataset, "with_columns"):
        return dataset.with_columns(found.dense)
    try:
        _check_same(dataset, found)
    except BaseException:
        if fresh:  # nobody will ever be served from it
            shutil.rmtree(place, ignore_errors=True)
        raise
    return found


def _check_same(dataset: Any, found: Pack) -> None:
    """Refuse a data set whose samples are not those of its pack: they have chance in them.

    Each is looked at alone: samples that differ in their number of rows make a batch only from the pack, which pads.
    """
    ids = torch.linspace(0, len(found) - 1, min(8, len(found))).long()
    for epoch, number in itertools.product(range(2), ids.tolist()):
        at = (1, epoch, number)
        one, other = (list(tensors(fetch(data, torch.tensor([number]), at))) for data in (dataset, found))
        if len(one) != len(other) or not all(torch.equal(a, b.to(a.device)) for a, b in zip(one, other, strict=True)):
            raise BadData(
                f"Packed: {type(dataset).__name__} gives other samples each time it is read: pack them as they are, "
                "and augment batches (halftime.data.augmented)"
            )
