"""Averaging in the place of a schedule.

What: gradients are taken between a fast sequence of weights and its running average; evaluation and the final weights
use the average, with the statistics of batch normalisation made anew for it. The library `schedulefree` does the steps.
Paper: Defazio et al. 2024, "The Road Less Scheduled".
Costs: one buffer of the size of the weights (two with Adam's), a copy during each evaluation, and a few batches of
forward passes before it where there is batch normalisation; they count as evaluation.
Fails when: a schedule is put on top of it, or the rate is not tuned: it bears, and often wants, a larger one.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import apply, on_device, split
from halftime.data.feed import Feed
from halftime.errors import BadRecipe
from halftime.methods.sgd import decay_groups
from halftime.places import Method, Places
from halftime.settings import setting

CLASSES = {"adamw": "AdamWScheduleFree", "sgd": "SGDScheduleFree"}


@torch.no_grad()
def refresh_statistics(model: nn.Module, inputs: Iterable[Any]) -> int:
    """Make the running statistics of batch normalisation anew, for the weights that the network holds now.

    Only these layers are put into training mode, so that dropout draws nothing.

    Args:
        model: its running statistics become the plain mean over the batches.
        inputs: batches: tensors, or tuples or dicts of arguments; not looked at where there are no such layers.

    Returns:
        How many layers there are.

    Example:
        >>> net = nn.BatchNorm1d(1, affine=False)
        >>> refresh_statistics(net, [torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0], [4.0]])])
        1
        >>> net.running_mean
        tensor([3.])
    """
    kind = nn.modules.batchnorm._BatchNorm
    layers = [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]
    modes, momenta = {m: m.training for m in model.modules()}, [m.momentum for m in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
        layer.train()
    try:
        for batch in inputs if layers else ():
            apply(model, batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return len(layers)


@contextmanager
def averaged(model: nn.Module, optimizer: Any, inputs: Iterable[Any] = ()) -> Iterator[None]:
    """Inside, the network holds the averaged weights, with statistics of their own; afterwards all is as it was.

    The weights come back from a copy, bit for bit: the optimizer's own way back rounds.

    Args:
        model: the network that `optimizer` steps.
        optimizer: one of the library's, in training mode.
        inputs: batches for `refresh_statistics`.

    Returns:
        A context.

    Example:
        >>> net, schedulefree = nn.Linear(1, 1), importlib.import_module("schedulefree")
        >>> optimizer = schedulefree.SGDScheduleFree(net.parameters(), lr=0.1)
        >>> optimizer.train()
        >>> with averaged(net, optimizer):
        ...     _ = net(torch.ones(1))
    """
    weights: list[Tensor] = [p.detach() for group in optimizer.param_groups for p in group["params"]]
    followed = [*weights, *model.buffers()]
    kept = [t.clone() for t in followed]
    optimizer.eval()
    try:
        refresh_statistics(model, inputs)
        yield
    finally:
        optimizer.train()
        for tensor, own in zip(followed, kept, strict=True):
            tensor.copy_(own)


@dataclasses.dataclass(frozen=True)
class ScheduleFree(Method):
    """Averaging in the place of a schedule.

    Args:
        lr: learning rate after the warm-up.
        algorithm: "adamw" or "sgd".
        beta: where between the fast weights (near 0) and their average (near 1) gradients are taken.
        weight_decay: pull towards zero, on matrices and kernels.
        warmup: share of the training that rises to the rate; the average weighs its steps less.
        batches: training batches from which statistics of batch normalisation are made anew for each evaluation.
    """

    lr: float = setting(2.5e-3, above=0)
    algorithm: str = setting("adamw", among=tuple(CLASSES))
    beta: float = setting(0.9, above=0, below=1)
    weight_decay: float = setting(0.0, low=0)
    warmup: float = setting(0.05, low=0, below=1)
    batches: int = setting(16, low=1)

    slot: ClassVar[str] = "optimizer"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    choices: ClassVar = {"lr": (1e-3, 2.5e-3, 0.01, 0.03, 0.1), "beta": (0.9, 0.95, 0.98)}

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        try:
            library = importlib.import_module("schedulefree")
        except ImportError:
            raise BadRecipe("ScheduleFree needs the package schedulefree: pip install schedulefree") from None
        memory = {"betas": (self.beta, 0.999)} if self.algorithm == "adamw" else {"momentum": self.beta}
        groups = decay_groups(model, self.weight_decay)
        made: Optimizer = getattr(library, CLASSES[self.algorithm])(groups, lr=self.lr, **memory)
        return made

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        optimizer.train()  # type: ignore[attr-defined]
        return _Averaging(model, optimizer, feed, self.warmup, self.batches)


class _Averaging(Places):
    def __init__(self, model: nn.Module, optimizer: Optimizer, feed: Feed, warmup: float, batches: int) -> None:
        self.network, self.stepping, self.feed, self.warmup, self.batches = model, optimizer, feed, warmup, batches

    def lr_factor(self, progress: float) -> float:
        return progress / self.warmup if progress < self.warmup else 1.0

    def evaluating(self) -> Any:
        looks = (self.feed.look(step) for step in range(self.batches))  # the same ones each time
        inputs = (split(on_device(batch, self.feed.device))[0] for batch in looks)
        return averaged(self.network, self.stepping, inputs)
