"""One batch: nested tensors, their device, their size, and which part is the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from halftime.errors import BadData, shorten

MASKS = ("mask", "masks")  # keys of tensors [B, H, W] or [B, C, H, W] that are no image but lie over one
TARGETS = ("targets", "target", "labels", "label")  # keys of a dict sample that name its target


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested dicts, lists and tuples."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (Mapping, list, tuple)):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors(value)


def mapped(tree: Any, change: Any) -> Any:
    """The same nest with `change` applied to every tensor."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # with names
        return type(tree)(*(mapped(v, change) for v in tree))
    return type(tree)(mapped(v, change) for v in tree) if type(tree) in (list, tuple) else tree


def laid_like(value: Tensor, other: Tensor) -> Tensor:
    """The same numbers, in memory as another tensor of that shape lies: fused kernels do not ask how it does.

    Example:
        >>> kernel = torch.zeros(2, 3, 3, 3).to(memory_format=torch.channels_last)
        >>> laid_like(torch.zeros(2, 3, 3, 3), kernel).stride() == kernel.stride()
        True
    """
    if value.stride() == other.stride():
        return value
    return torch.empty_like(other, dtype=value.dtype, device=value.device).copy_(value)


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch on a device, without waiting for the copy."""
    if device.type == "cpu":
        return batch
    return mapped(batch, lambda t: t.to(device, non_blocking=True))


def split(batch: Any) -> tuple[Any, Any]:
    """(inputs, targets) of a batch that is a tensor, a pair or a dict.

    >>> split({"image": 1, "label": 2})
    ({'image': 1}, 2)
    """
    if isinstance(batch, Tensor):
        return batch, batch
    if isinstance(batch, Mapping):
        key = next((k for k in TARGETS if k in batch), None)
        if key is None or len(batch) < 2:
            raise BadData(f"a dict sample needs inputs and one of the keys {', '.join(TARGETS)}, not {list(batch)}")
        return {k: v for k, v in batch.items() if k != key}, batch[key]
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or batch[1] is None:
        raise BadData(
            f"a sample must be a tensor, a pair (inputs, targets) or a dict, not {shorten(batch)}: no labels?"
        )
    return batch[0], batch[1]


def apply(model: nn.Module, inputs: Any) -> Any:
    """Call a network: a dict as keyword arguments, a tuple as arguments, anything else as the one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def is_image(tensor: Tensor) -> bool:
    """Whether a batched tensor holds images: [B, C, H, W] with 1, 3 or 4 channels."""
    return tensor.ndim == 4 and tensor.shape[1] in (1, 3, 4)


def size(batch: Any) -> int:
    """How many samples a batch holds: the first dimension of its first tensor."""
    return next(tensors(batch)).shape[0]


def suspects(inputs: Any, ids: Tensor, times: float = 100.0) -> list[int]:
    """Which samples of a bad batch stand out: not finite, or far larger than the others.

    Args:
        inputs: of the batch, nested tensors with B rows.
        ids: of its samples, [B].
        times: how many times the median sample's largest value is far larger.

    Returns:
        Their ids; all of them where none stands out.

    Example:
        >>> suspects(torch.tensor([[1.0], [float("nan")], [2.0]]), torch.tensor([4, 5, 6]))
        [5]
    """
    largest = torch.zeros(len(ids))
    for tensor in tensors(inputs):
        if tensor.is_floating_point() and tensor.numel() and len(tensor) == len(ids):
            rows = tensor.detach().abs().reshape(len(ids), -1)
            largest = torch.maximum(largest, rows.amax(1).to(largest.device))
    out = ~largest.isfinite() | (largest > times * largest.nanmedian())
    return [int(i) for i in (ids[out] if out.any() else ids)]


def micro_batches(inputs: Any, targets: Any, at_most: int | None) -> Iterator[tuple[Any, Any, float]]:
    """(inputs, targets, share of the batch) in pieces of `at_most` samples, or whole where that is None."""
    n = size(inputs) if at_most else 0
    if not at_most or n <= at_most:
        yield inputs, targets, 1.0
        return
    for first in range(0, n, at_most):
        piece = slice(first, first + at_most)
        cut = lambda t: t[piece]  # noqa: B023, E731 - used up before the next turn
        yield mapped(inputs, cut), mapped(targets, cut), (min(first + at_most, n) - first) / n


def describe(tensor: Tensor) -> str:
    """Shape and type of a tensor in a few characters, for messages."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
