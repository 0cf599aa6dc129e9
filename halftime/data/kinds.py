"""What a data set can do beyond giving one sample: make whole batches, or lie in memory as rows of tensors."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import Tensor


def columns_of(dataset: Any) -> tuple[Tensor, ...] | None:
    """The tensors whose rows are the samples of a data set, None where it has none.

    Others have `columns`, too, such as the names of a table's.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> columns_of(SimpleNamespace(columns=(torch.zeros(3),))), columns_of(SimpleNamespace(columns=["age"]))
        ((tensor([0., 0., 0.]),), None)
    """
    columns = getattr(dataset, "columns", None)
    if isinstance(columns, (tuple, list)) and columns and all(isinstance(column, Tensor) for column in columns):
        return tuple(columns)
    return None


def by_batch(dataset: Any) -> bool:
    """Whether a data set makes a whole batch itself, by `batch(indices, generator)`.

    Others have `batch`, too: a number of samples, or a method that cuts all of the data into batches.

    Example:
        >>> from types import SimpleNamespace
        >>> by_batch(SimpleNamespace(batch=lambda indices, generator: indices)), by_batch(SimpleNamespace(batch=32))
        (True, False)
    """
    return callable(getattr(dataset, "batch", None)) and not _cuts(type(dataset))  # type: ignore[arg-type]


@functools.cache
def _cuts(kind: type) -> bool:
    """Whether its `batch` asks for the size of batches, as that of Hugging Face's data sets does."""
    try:
        return "batch_size" in inspect.signature(kind.batch).parameters  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False
