"""The training data on the device.

What: all samples are copied to the device once; batches are cut and augmented there, and no step copies any.
Paper: none; how contests in training speed serve small data sets since Page 2018, "How to Train Your ResNet".
Costs: the memory of the device that the data fill. Saves: the copy of each batch, and the wait for the host.
Fails when: the data do not fit beside network and activations; it is refused where they do not fit at all.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch

from halftime.data.feed import Dataset, Feed
from halftime.data.storage import to_device
from halftime.places import Method


def on_device(dataset: Any, device: torch.device) -> Any:
    """A data set whose rows lie on a device.

    Args:
        dataset: dense, one that has `columns` and `with_columns`: a tuple of tensors, `Tensors`, `Images`, `Pack`.
        device: where the training runs.

    Returns:
        The same data set over copies of its columns; over the columns themselves where they lie there already.

    Raises:
        BadData: the data set is not dense, or does not fit the free memory of the device.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> on_device(Tensors(torch.arange(3)), torch.device("cpu"))[2]
        tensor(2)
    """
    return to_device(dataset, device)


@dataclasses.dataclass(frozen=True)
class OnDevice(Method):
    """The training data on the device."""

    slot: ClassVar[str] = "storage"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    exact: ClassVar[bool] = True

    def data(self, data: Feed) -> Feed:
        served: Dataset = on_device(data.dataset, data.device)
        return dataclasses.replace(data, dataset=served)
