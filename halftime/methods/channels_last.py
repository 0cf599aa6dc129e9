"""Store images and kernels with the channels innermost.

What: the memory layout NHWC for 4-D inputs and weights; the numbers stay the same up to rounding.
Paper: none; a layout. Tensor cores and oneDNN read it without a transpose.
Costs: a copy of each batch.
Fails when: grouped convolutions or GroupNorm fall back to slow kernels; measure it on your network.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from halftime.data.batch import mapped
from halftime.places import Method


def channels_last(tensor: Tensor) -> Tensor:
    """The same numbers with the channels innermost in memory.

    Args:
        tensor: images or kernels, [N, C, H, W]; a tensor of other dimensions is left as it is.

    Returns:
        The tensor in the other layout, a copy where it was not in it already; its shape stays [N, C, H, W].

    Example:
        >>> channels_last(torch.zeros(2, 3, 4, 5)).stride()
        (60, 1, 15, 3)
    """
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@dataclasses.dataclass(frozen=True)
class ChannelsLast(Method):
    """Store images and kernels with the channels innermost."""

    slot: ClassVar[str] = "layout"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    exact: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"images"})
    after: ClassVar[tuple[str, ...]] = ("ProgressiveResize",)

    def model(self, model: nn.Module) -> nn.Module:
        return model.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return mapped(inputs, channels_last), targets
