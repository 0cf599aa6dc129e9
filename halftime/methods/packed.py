"""The training data packed once into flat files, and served from there a batch at a time.

What: the samples are read once and written as one file a field into the user's cache; batches are cut out of memory or
of the mapped files; a later run finds the pack by the digest of its data.
Paper: none; the idea of TFRecord (Google 2015) and FFCV (Leclerc et al. 2023), without their decoders.
Costs: one pass over the data, and their size on disk, once. Saves: reading, decoding and collating sample by sample.
Fails when: samples are augmented as they are read, or differ in size; refused there, by name.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import torch

from halftime.data.feed import CPU, Dataset, Feed
from halftime.data.pack import WHERE, Where
from halftime.data.ranks import here
from halftime.data.storage import to_pack
from halftime.places import Method
from halftime.settings import setting


def packed(dataset: Any, folder: str | None = None, where: Where = "auto", device: torch.device = CPU) -> Any:
    """A data set served from a pack of it, which is made where it is not there yet.

    Args:
        dataset: map-style, with no chance in its samples; or dense (with `columns`), whose augmentation stays its own.
        folder: where packs lie, each under the digest of its data; in the user's cache if None.
        where: from where to serve, as in `Pack`.
        device: where the training runs.

    Returns:
        A data set with the same batches, bit for bit.

    Raises:
        BadData: a sample is another one each time it is read, or a pack cannot serve it.
        StorageError: the disk is full or read-only.

    Example:
        >>> import tempfile
        >>> from halftime.data.feed import Tensors
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     packed(Tensors(torch.arange(3), torch.arange(3)), folder)[2]
        (tensor(2), tensor(2))
    """
    return to_pack(dataset, folder, where, device)


@dataclasses.dataclass(frozen=True)
class Packed(Method):
    """The training data packed once into flat files.

    Args:
        where: served from "memory", the "map" of the files, the "device", or "auto", by size.
    """

    where: str = setting("auto", among=WHERE)

    slot: ClassVar[str] = "storage"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    exact: ClassVar[bool] = True
    choices: ClassVar = {"where": ("memory", "map", "device")}

    def data(self, data: Feed) -> Feed:
        if here().local:  # the first rank of a machine packs, the others find its pack
            here().wait()
        served: Dataset = packed(data.dataset, where=cast(Where, self.where), device=data.device)
        if not here().local:
            here().wait()
        return dataclasses.replace(data, dataset=served)
