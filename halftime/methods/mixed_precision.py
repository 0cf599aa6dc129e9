"""Compute in 16 bits what can bear it.

What: matrix products and convolutions in bfloat16 or float16, and what torch deems delicate on the device in 32 bits;
float16 with loss scaling. Weights, optimizer and evaluation stay in 32 bits.
Paper: Micikevicius et al. 2018, "Mixed Precision Training".
Costs: casts; float16 also waits for the device once a step, to learn whether a gradient overflowed.
Fails when: the device has no 16-bit units (it is then slower), or float16 gradients underflow in spite of scaling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import tensors
from halftime.errors import Diverged
from halftime.places import Backward, ComputeLoss, Method, Places, plain_backward, total_loss
from halftime.settings import setting

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


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


def noting(backward: Backward, seen: list[Tensor]) -> Backward:
    """A backward pass that notes the loss it was given.

    Args:
        backward: what takes the loss.
        seen: gets each loss, without its graph.

    Returns:
        A function of the loss.

    Example:
        >>> seen = []
        >>> noting(lambda loss: None, seen)(torch.ones(()))
        >>> seen
        [tensor(1.)]
    """

    def noted(loss: Any) -> None:
        seen.append(total_loss(loss).detach())
        backward(loss)

    return noted


def in_32_bits(layer: nn.Module) -> Callable[[], None]:
    """Let a layer compute in 32 bits inside autocast, for good.

    Args:
        layer: changed in place; its weights and their names stay.

    Returns:
        What takes it back.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> undo = in_32_bits(layer)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     layer(torch.ones(1, 2)).dtype
        torch.float32
    """
    inside = layer.forward

    def forward(*inputs: Any, **named: Any) -> Any:
        wide = [t.float() if isinstance(t, Tensor) and t.is_floating_point() else t for t in inputs]
        with torch.autocast(next(layer.parameters()).device.type, enabled=False):
            return inside(*wide, **named)

    layer.forward = forward
    return lambda: setattr(layer, "forward", inside)


@contextmanager
def overflow_hooks(model: nn.Module, found: list[str]) -> Iterator[None]:
    """Inside, watch for the first layer with weights whose 16-bit output overflows.

    Args:
        model: the network.
        found: gets the layer's name.

    Returns:
        A context.

    Example:
        >>> net, found = nn.Sequential(nn.Linear(1, 1)), []
        >>> with torch.autocast("cpu", torch.float16), overflow_hooks(net, found):
        ...     _ = net(torch.full((1, 1), 1e6))
        >>> found
        ['0']
    """

    def look(name: str, _: nn.Module, inputs: Any, output: Any) -> None:
        narrow = isinstance(output, Tensor) and output.dtype in DTYPES.values()
        if found or not narrow or output.isfinite().all():
            return
        if all(bool(t.isfinite().all()) for t in tensors(inputs)):
            found.append(name)

    layers = [(n, m) for n, m in model.named_modules() if n and next(m.parameters(recurse=False), None) is not None]
    hooks = [layer.register_forward_hook(partial(look, name)) for name, layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclasses.dataclass(frozen=True)
class MixedPrecision(Method):
    """Compute in 16 bits what can bear it.

    Args:
        dtype: "bf16" (range of 32 bits, no scaling needed) or "fp16" (more digits, needs scaling).
    """

    dtype: str = setting("bf16", among=tuple(DTYPES))

    slot: ClassVar[str] = "precision"
    choices: ClassVar = {"dtype": ("bf16", "fp16")}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        device = next(model.parameters()).device.type
        return _Scaling(device) if self.dtype == "fp16" else _Casting(device, torch.bfloat16)


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
