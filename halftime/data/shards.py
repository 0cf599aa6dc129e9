"""A network in shards, and the same as plain tensors: what is stored knows nothing of how many devices there were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from halftime.data.batch import mapped


def whole(tree: Any) -> Any:
    """The same nest with every shard put together; every rank must ask at the same time.

    >>> import torch
    >>> whole({"weight": torch.ones(2)})
    {'weight': tensor([1., 1.])}
    """
    return mapped(tree, lambda t: t.full_tensor() if isinstance(t, DTensor) else t)


def parted(plain: Any, like: Any) -> Any:
    """Plain tensors cut as others are cut.

    Args:
        plain: a tensor, or a dict of them; anything else is returned as it is.
        like: what it is for: a tensor, or a dict with the same names.

    Returns:
        In shards where `like` is in shards and of the same shape, else as it is.
    """
    if isinstance(plain, Mapping) and isinstance(like, Mapping):
        return {name: parted(value, like.get(name)) for name, value in plain.items()}
    if isinstance(like, DTensor) and isinstance(plain, Tensor) and plain.shape == like.shape:
        full = plain.full_tensor() if isinstance(plain, DTensor) else plain.to(like.device)
        return distribute_tensor(full, like.device_mesh, like.placements)
    return plain
