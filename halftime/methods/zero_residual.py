"""Start each residual block as the identity.

What: the last norm of each residual branch starts with its scale at zero, so that the network starts shallow.
Paper: Goyal et al. 2017, "Accurate, Large Minibatch SGD"; He et al. 2019, "Bag of Tricks for Image Classification".
Costs: one forward pass before training.
Fails when: no branch ends in a norm (transformers norm first), or the weights were already trained.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from halftime.data.batch import apply, mapped, tensors
from halftime.notes import Notes
from halftime.places import Method, Places

ADDS = ("add", "add_", "__add__", "__radd__", "__iadd__")


def branch_norms(model: nn.Module, inputs: Any) -> list[nn.Module]:
    """The norms at the end of residual branches, found by watching a forward pass.

    Where two tensors of one shape are added, the one that more operations led to is the branch, and the other one the
    shortcut; the branch counts if what made it was a norm. It works for any control flow, and needs no names.

    Args:
        model: run once, in evaluation mode and without gradients; left as it was.
        inputs: a batch; two samples are taken of it. A dict is given as keyword arguments, a tuple as arguments.

    Returns:
        Modules with a scale, in the order of their use.

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        ...     def forward(self, x):
        ...         return x + self.body(x)
        >>> block = Block()
        >>> branch_norms(block, torch.zeros(2, 4)) == [block.body[1]]
        True
    """
    watch = _Watch()
    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower() and _scale(m) is not None]
    hooks = [norm.register_forward_hook(watch.made) for norm in norms]
    few, training = mapped(inputs, lambda t: t[:2]), model.training
    model.eval()
    try:
        with torch.no_grad(), watch:
            apply(model, few)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return watch.found


@torch.no_grad()
def zero_residual_(model: nn.Module, inputs: Any) -> int:
    """Set the scale of the last norm of each residual branch to zero, in place.

    Args:
        model: changed in place.
        inputs: a batch to find the branches with, see `branch_norms`.

    Returns:
        How many norms were set.

    Example:
        >>> zero_residual_(nn.Linear(4, 2), torch.zeros(2, 4))
        0
    """
    norms = branch_norms(model, inputs)
    for norm in norms:
        norm.weight.zero_()  # type: ignore[operator]
    return len(norms)


class _Watch(TorchFunctionMode):
    """How many operations led to each tensor, which norm made it, and where two are added."""

    def __init__(self) -> None:
        super().__init__()
        self.depth: dict[int, int] = {}
        self.maker: dict[int, nn.Module] = {}
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.found: list[nn.Module] = []

    def made(self, norm: nn.Module, _: Any, output: Any) -> None:
        self.maker[id(output)] = norm

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = getattr(func, "__name__", ""), list(tensors([*args, *(kwargs or {}).values()]))
        depths = [self.depth.get(id(t), 0) for t in given]
        if name in ADDS and len(given) == 2 and given[0].shape == given[1].shape and depths[0] != depths[1]:
            norm = self.maker.get(id(given[depths.index(max(depths))]))
            if norm is not None and norm not in self.found:
                self.found.append(norm)
        result = func(*args, **(kwargs or {}))
        for tensor in tensors(result):
            self.kept.append(tensor)
            self.depth[id(tensor)] = max(depths, default=0) + 1
            if "dropout" not in name:  # which changes nothing in evaluation
                self.maker.pop(id(tensor), None)
        return result


def _scale(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, nn.Parameter) and weight.ndim == 1 else None


@dataclasses.dataclass(frozen=True)
class ZeroResidual(Method):
    """Start each residual block as the identity."""

    slot: ClassVar[str] = "residual"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("initialisation",)

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        zero_residual_(model, sample[0][0])

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        scales = [s for m in model.modules() if "norm" in type(m).__name__.lower() and (s := _scale(m)) is not None]
        zero = sum(not bool(s.any()) for s in scales)
        nothing = "no residual branch ends in a norm: nothing was changed"
        return Notes([f"ZeroResidual: {f'the last norm of {zero} residual branches set to zero' if zero else nothing}"])
