"""Numbers that overflow: losses noted on their way, layers found while they compute in 16 bits and raised to 32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from halftime.data.batch import tensors
from halftime.places import Backward, total_loss

NARROW = (torch.bfloat16, torch.float16)


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
        narrow = isinstance(output, Tensor) and output.dtype in NARROW
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


def agreed(model: nn.Module, found: list[str]) -> str:
    """The layer to raise to 32 bits: the first that was found, by whichever of several ranks, the same on all of them.

    Args:
        model: the same on every rank.
        found: what this one found.

    Returns:
        The name of a layer, or none where nobody found one.

    Example:
        >>> agreed(nn.Sequential(nn.Linear(1, 1)), ["0"]), agreed(nn.Linear(1, 1), [])
        ('0', '')
    """
    names = [name for name, _ in model.named_modules()]
    place = torch.tensor(names.index(found[0]) if found else len(names), device=next(model.parameters()).device)
    if torch.distributed.is_initialized():  # each saw a part of the batch; who went on alone would wait forever
        torch.distributed.all_reduce(place, torch.distributed.ReduceOp.MIN)
    return str([*names, ""][int(place)])


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
