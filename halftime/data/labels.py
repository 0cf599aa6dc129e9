"""Which classes each sample of a data set holds: one, several, or those of its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from halftime.data.batch import split
from halftime.data.feed import random_kept
from halftime.data.kinds import columns_of

CLASSES = ("classes", "labels")  # keys of a target with boxes under which their classes stand


def classes_in(target: Any) -> frozenset[int] | None:
    """The classes that the target of one sample names, or None where it names none by its form.

    Args:
        target: a class number; numbers of any shape, negative ones for none; zeros and ones for each class; or a
            dict with numbers under "classes" or "labels", as samples with boxes have them.

    Example:
        >>> sorted(classes_in({"boxes": torch.zeros(3, 4), "classes": torch.tensor([2, 0, 2])}))
        [0, 2]
        >>> classes_in(torch.tensor(0.25)) is None
        True
    """
    if isinstance(target, Mapping):
        key = next((k for k in CLASSES if k in target), None)
        return None if key is None else classes_in(target[key])
    tensor = torch.as_tensor(target) if isinstance(target, (Tensor, int)) else None
    if tensor is None:
        return None
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        if tensor.ndim != 1 or not bool(((tensor == 0) | (tensor == 1)).all()):
            return None
        return frozenset(tensor.nonzero().flatten().tolist())
    return frozenset(tensor[tensor >= 0].flatten().tolist())


def label_sets(dataset: Any) -> list[frozenset[int]] | None:
    """The classes of every sample, or None where targets name no classes.

    Targets that lie in memory are taken from there; else every sample is read once. Random states stay as they are.

    Args:
        dataset: map-style.

    Example:
        >>> label_sets([(torch.zeros(2), 3), (torch.zeros(2), 1)])
        [frozenset({3}), frozenset({1})]
    """
    rows = _in_memory(dataset)
    if isinstance(rows, Tensor) and rows.ndim == 1 and not rows.is_floating_point():
        return [frozenset({number} if number >= 0 else ()) for number in rows.tolist()]
    found = []
    with random_kept():
        for index in range(len(dataset)):
            target = split(dataset[index])[1] if rows is None else rows[index]
            classes = classes_in(target)
            if classes is None:
                return None
            found.append(classes)
    return found


def _in_memory(dataset: Any) -> Any:
    """The targets of all samples where they lie at hand, and are what the samples themselves say."""
    columns = columns_of(dataset)
    if columns is not None and len(columns) == 2:
        return columns[1].to("cpu")
    rows: Any = getattr(dataset, "targets", None)
    if not hasattr(rows, "__len__") or len(rows) != len(dataset):
        return None
    with random_kept():
        for index in (0, len(dataset) - 1):
            if classes_in(split(dataset[index])[1]) != classes_in(rows[index]):
                return None
    return rows
