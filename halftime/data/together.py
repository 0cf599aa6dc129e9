"""What several ranks compute as one: the loss, batch normalisation, gradients, and a network in shards."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from halftime.data.batch import mapped
from halftime.data.ranks import here

Loss = Callable[[Any, Any], Any]


def _mean(tensor: Tensor, both: bool) -> Tensor:
    found: Tensor = _Mean.apply(tensor, both)  # type: ignore[no-untyped-call]
    return found


class _Mean(torch.autograd.Function):
    """The mean over the ranks; its gradient too, where `both`, else each rank keeps its own."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, both: bool) -> Tensor:
        ctx.both = both
        return here().mean(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return here().mean(grads[0]) if ctx.both else grads[0], None


def averaged(loss: Loss) -> Loss:
    """A loss whose value is the mean over the ranks and whose gradient is that of the own part.

    Args:
        loss: (outputs, targets) -> a scalar, the mean over samples, or a dict of them.

    Returns:
        Another: the same bits on every rank, so that all decide alike.

    Example:
        >>> averaged(nn.functional.mse_loss)(torch.zeros(2), torch.ones(2))
        tensor(1.)
    """
    return lambda outputs, targets: mapped(loss(outputs, targets), lambda t: _mean(t, both=False))


def normalised_together_(model: nn.Module) -> None:
    """Let batch normalisation see the whole batch, over all ranks, in place.

    On CUDA these are torch's SyncBatchNorm; elsewhere the layers stay, and exchange means and variances.

    Args:
        model: changed in place; names and weights stay.

    Returns:
        Nothing.

    Example:
        >>> normalised_together_(nn.Sequential(nn.BatchNorm1d(3)))
    """
    if any(p.is_cuda for p in model.parameters()):
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.forward = _over_ranks(model, layer, layer.forward)  # type: ignore[method-assign]


def _over_ranks(model: nn.Module, layer: Any, inside: Any) -> Any:
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(x: Tensor) -> Any:
        if not (layer.training and model.training):  # in evaluation, statistics are made anew by each rank alike
            return inside(x)
        axes, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        mean = _mean(x.float().mean(axes), both=True)
        centred = x.float() - mean.view(shape)
        variance = _mean(centred.square().mean(axes), both=True)
        if layer.track_running_stats:
            count = x.numel() // x.shape[1] * here().world
            layer.num_batches_tracked.add_(1)
            share = layer.momentum if layer.momentum is not None else 1.0 / layer.num_batches_tracked
            with torch.no_grad():
                layer.running_mean.lerp_(mean, share)
                layer.running_var.lerp_(variance * (count / max(1, count - 1)), share)
        result = centred * (variance + layer.eps).rsqrt().view(shape)
        scaled = result if layer.weight is None else result * layer.weight.view(shape) + layer.bias.view(shape)
        return scaled.to(x.dtype)

    return forward


class _Body(nn.Module):
    """A network as it was before its forward pass was made to go through its replica."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.inside = model, model.forward

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.inside(*inputs, **named)


def replicated_(model: nn.Module) -> None:
    """Average the gradients of a network over the ranks as it goes back, by torch's DistributedDataParallel, in place.

    Names, weights and hooks stay; only what `forward` does in training is another. In evaluation the ranks go alone.

    Args:
        model: the same on every rank, with parameters that all get gradients.

    Returns:
        Nothing.
    """
    known = inspect.signature(DistributedDataParallel).parameters
    syncing = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}  # until 2.12
    replica = DistributedDataParallel(_Body(model), gradient_as_bucket_view=True, **syncing)  # type: ignore[arg-type]
    inside = model.forward

    def forward(*inputs: Any, **named: Any) -> Any:
        return replica(*inputs, **named) if model.training else inside(*inputs, **named)

    model.forward = forward
    vars(model)["replica"] = replica  # not as a part of it: its names would change


def sharded_(model: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Cut the weights of a network in shards over the ranks, by torch's `fully_shard`, in place; names stay.

    Args:
        model: the same on every rank.
        blocks: its parts that are put together one after the other, as they are needed.

    Returns:
        Nothing.
    """
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (here().world,))
    for part in (*blocks, model):
        fully_shard(part, mesh=mesh)


@contextmanager
def by_itself(model: nn.Module) -> Iterator[None]:
    """Inside, this rank computes without the others; afterwards the buffers are as they were.

    Args:
        model: a replica; its gradients are gone afterwards.
    """
    kept = [buffer.clone() for buffer in model.buffers()]
    synced = [layer for layer in model.modules() if isinstance(layer, nn.SyncBatchNorm)]
    for layer in synced:  # in training they would wait for ranks that do not come
        layer.forward = types.MethodType(nn.modules.batchnorm._BatchNorm.forward, layer)  # type: ignore[method-assign]
    here().alone = True
    try:
        with vars(model)["replica"].no_sync():
            yield
    finally:
        here().alone = False
        for layer in synced:
            del layer.forward
        model.zero_grad(set_to_none=True)
        for buffer, own in zip(model.buffers(), kept, strict=True):
            buffer.copy_(own)
