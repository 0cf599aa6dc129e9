"""Compute in fewer bits what can bear it.

What: matrix products and convolutions in bfloat16 or float16 (with loss scaling), what torch deems delicate in 32 bits;
or all in 32 bits, with matrix products in TF32. Weights, optimizer and evaluation stay in 32 bits.
Paper: Micikevicius et al. 2018, "Mixed Precision Training".
Costs: casts; float16 also waits for the device twice a step, to learn whether a gradient overflowed.
Fails when: the device has no 16-bit units (it is then slower), or float16 gradients underflow in spite of scaling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.limits import capability
from halftime.errors import BadWorkload, Diverged
from halftime.overflow import noting
from halftime.places import ComputeLoss, Method, Places, Update, plain_backward, total_loss
from halftime.settings import setting

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def tensor_float_32() -> Iterator[None]:
    """Inside, a device that has TF32 multiplies 32-bit matrices with it; afterwards the setting is as it was.

    Returns:
        A context, for forward and backward pass; convolutions use TF32 anyway.

    Example:
        >>> with tensor_float_32():
        ...     torch.get_float32_matmul_precision()
        'high'
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def scaled_update(compute_loss: ComputeLoss, optimizer: Optimizer, scaler: torch.amp.GradScaler) -> bool:
    """One step with loss scaling; False where an overflow made the scaler skip it.

    Args:
        compute_loss: called with `backward`, a function of the loss, which it must call.
        optimizer: stepped unless a gradient overflowed.
        scaler: torch's scaler; its scale grows and shrinks by itself.

    Returns:
        Whether the step was applied.

    Raises:
        Diverged: the scale fell below 1.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> optimizer, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
        >>> scaled_update(lambda backward: backward(net(torch.ones(1)).sum()), optimizer, scaler)
        True
        >>> scaled_update(lambda backward: backward(net(torch.ones(1)).sum() * 1e38), optimizer, scaler)
        False
    """
    optimizer.zero_grad(set_to_none=True)
    compute_loss(backward=lambda loss: plain_backward(scaler.scale(total_loss(loss))))
    scaler.unscale_(optimizer)  # a fused optimizer would do it after clipping
    before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    if scaler.get_scale() < 1.0:
        raise Diverged(
            "the loss scale fell below 1: gradients overflow in 16 bits whatever the scale: lower the rate, "
            "use MixedPrecision(dtype='bf16'), or add Guard()"
        )
    return bool(scaler.get_scale() >= before)


def _check(device: torch.device) -> None:
    if capability(device) < (8, 0):
        raise BadWorkload(f"MixedPrecision: tf32 needs a CUDA device of compute capability 8.0, not {device}")


@dataclasses.dataclass(frozen=True)
class MixedPrecision(Method):
    """Compute in fewer bits what can bear it.

    Args:
        dtype: "bf16" (range of 32 bits, no scaling), "fp16" (more digits, needs scaling), or "tf32" (products only).
    """

    dtype: str = setting("bf16", among=(*DTYPES, "tf32"))

    slot: ClassVar[str] = "precision"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    choices: ClassVar = {"dtype": ("bf16", "fp16")}

    def model(self, model: nn.Module) -> nn.Module:
        if self.dtype == "tf32":
            _check(next(model.parameters()).device)
        return model

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        device = next(model.parameters()).device.type
        return (
            _Rounding()
            if self.dtype == "tf32"
            else _Scaling(device)
            if self.dtype == "fp16"
            else _Casting(device, torch.bfloat16)
        )


class _Rounding(Places):
    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        with tensor_float_32():  # the backward pass too
            return update(compute_loss, optimizer)


class _Casting(Places):
    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    def forward(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, self.dtype)


class _Scaling(_Casting):
    def __init__(self, device: str) -> None:
        super().__init__(device, torch.float16)
        self.scaler, self.told = torch.amp.GradScaler(device), list[str]()

    def update(self, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        seen: list[Tensor] = []
        applied = scaled_update(lambda backward: compute_loss(backward=noting(backward, seen)), optimizer, self.scaler)
        if not applied and not torch.stack(seen).isfinite().all():  # no scale is to blame for that
            self.told.append(
                "a batch was left out: its loss is no number; the data, or the weights: Guard() tells more"
            )
        return applied

    def events(self) -> list[str]:
        told, self.told = self.told, []
        return told

    def state_dict(self) -> dict[str, Any]:
        return dict(self.scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scaler.load_state_dict(state)
