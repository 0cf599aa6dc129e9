"""How large each sample of a data set is: what it costs to read, to copy, and to put through a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from halftime.data.batch import split, tensors
from halftime.data.feed import random_kept
from halftime.data.kinds import columns_of
from halftime.data.pack import Pack


def sample_sizes(dataset: Any) -> Tensor:
    """Numbers in the inputs of each sample, float64 [N].

    Rows of tensors are all of one size; a pack knows its sizes; anything else is read once, sample by sample.

    Args:
        dataset: map-style.

    Example:
        >>> sample_sizes([(torch.zeros(3), 0), (torch.zeros(5), 1)]).tolist()
        [3.0, 5.0]
    """
    if isinstance(dataset, Pack):
        return _packed(dataset)
    if columns_of(dataset) is not None:
        return torch.ones(len(dataset), dtype=torch.float64)
    with random_kept():
        found = [sum(t.numel() for t in tensors(split(dataset[i])[0])) for i in range(len(dataset))]
    return torch.tensor(found, dtype=torch.float64)


def _packed(dataset: Pack) -> Tensor:
    """Of a pack, whose targets count too where they differ: they cost as well."""
    total = torch.ones(len(dataset), dtype=torch.float64)
    for field in dataset.manifest.fields.values():
        if field.offsets:
            each = int(torch.tensor(field.shape).prod()) if field.shape else 1
            total += dataset.values[field.offsets].to("cpu").diff().double() * each
    return total
