"""Make one step of the gradients of several heads in which none works against another.

What: the gradient of each head's loss is taken alone; in the weights that several heads share, the library torchjd
makes one direction of them; the weights of one head get its own gradient, as ever.
Paper: Quinton and Rey 2024, "Jacobian Descent for Multi-Objective Optimization" (UPGrad, DualProj); Yu et al. 2020,
"Gradient Surgery for Multi-Task Learning" (PCGrad); Sener and Koltun 2018, "Multi-Task Learning as Multi-Objective
Optimization" (MGDA).
Costs: a backward pass for each head in the place of one, memory for as many gradients, a small problem solved on the
CPU each step, for which a GPU is waited for.
Fails when: the heads rarely oppose each other (`ConflictMeter` tells), or the same seconds buy more plain steps.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import laid_like
from halftime.errors import BadRecipe
from halftime.heads import Rows, added, graph_kept, head_gradients, jacobian, trunk_of
from halftime.places import ComputeLoss, Method, Places
from halftime.settings import setting

PREFERRING = ("UPGrad", "DualProj")  # take how much each head counts
PACKAGES = ("torchjd.aggregation", "qpsolvers", "quadprog")


def combined(matrix: Tensor, name: str = "UPGrad") -> Tensor:
    """One direction of several gradients, as long as their plain sum where no two of them oppose each other.

    Args:
        matrix: a gradient in each row, [heads, n].
        name: of an aggregator of torchjd: "UPGrad", "PCGrad", "MGDA" or "DualProj".

    Returns:
        [n]; that of MGDA is the shortest mean, by the number of heads.

    Example:
        >>> combined(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        tensor([1., 2.])
        >>> combined(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), "PCGrad")
        tensor([0.5000, 1.5000])
    """
    kind = getattr(importlib.import_module("torchjd.aggregation"), name)
    if name in PREFERRING:
        made: Tensor = kind(pref_vector=torch.ones_like(matrix[:, 0]))(matrix)
        return made
    return kind()(matrix) * (len(matrix) if name == "MGDA" else 1)  # type: ignore[no-any-return]


def surgical_update(
    compute_loss: ComputeLoss, optimizer: Optimizer, combine: Callable[[Tensor], Tensor], order: Sequence[Tensor] = ()
) -> bool:
    """One optimizer step on the combined gradients of several heads.

    Args:
        compute_loss: called with `backward`, which takes a dict of losses.
        optimizer: stepped.
        combine: makes one gradient [n] of several [heads, n], in the weights that more than one head reaches.
        order: in which weights are laid side by side; others of the optimizer follow.

    Returns:
        True: the step was applied.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> losses = lambda backward: backward({"a": w[0] + w[1], "b": -2 * w[0]})
        >>> surgical_update(losses, torch.optim.SGD([w], lr=1.0), lambda matrix: matrix[0])
        True
        >>> w.detach()
        tensor([-1., -1.])
    """
    stepped = dict.fromkeys(p for group in optimizer.param_groups for p in group["params"] if p.requires_grad)
    weights = [p for p in order if p in stepped]
    weights += [p for p in stepped if p not in dict.fromkeys(weights)]
    optimizer.zero_grad(set_to_none=True)
    rows: Rows = []

    def collect(losses: Any) -> None:
        rows[:] = added(rows, head_gradients(losses, weights, keep=False))

    compute_loss(backward=collect)
    set_gradients_(weights, rows, combine)
    optimizer.step()
    return True


def set_gradients_(weights: Sequence[Tensor], rows: Rows, combine: Callable[[Tensor], Tensor]) -> int:
    """Set `.grad`: combined in the weights that several heads reach, a head's own in those that it has for itself.

    Args:
        weights: of the network.
        rows: the gradients of each head in them.
        combine: makes one gradient [n] of several [heads, n].

    Returns:
        How many weights several heads reach.

    Example:
        >>> w = torch.zeros(1, requires_grad=True)
        >>> set_gradients_([w], [[torch.ones(1)], [torch.ones(1)]], lambda matrix: matrix.sum(0))
        1
        >>> w.grad
        tensor([2.])
    """
    trunk = trunk_of(rows)
    for weight, column in zip(weights, zip(*rows, strict=True), strict=True):
        own = next((g for g in column if g is not None), None)
        weight.grad = None if own is None else laid_like(own, weight)
    if trunk:
        shared = [weights[i] for i in trunk]
        parts = torch.split(combine(jacobian(rows, trunk)), [w.numel() for w in shared])
        for weight, part in zip(shared, parts, strict=True):
            weight.grad = laid_like(part.view(weight.shape).to(weight.dtype), weight)
    return len(trunk)


def checked_name(name: str) -> str:
    """The name of an aggregator, if the packages that it needs are here.

    Args:
        name: of the aggregator.

    Returns:
        The same name.

    Raises:
        BadRecipe: a package is not installed.

    Example:
        >>> checked_name("UPGrad")
        'UPGrad'
    """
    try:
        [importlib.import_module(package) for package in PACKAGES]
    except ImportError:
        raise BadRecipe(
            "GradientSurgery needs the package torchjd: pip install 'torchjd[quadprog-projector]<0.19'"
        ) from None
    return name


@dataclasses.dataclass(frozen=True)
class GradientSurgery(Method):
    """One step of several heads' gradients in which none works against another.

    Args:
        aggregator: how torchjd makes one gradient of several.
    """

    aggregator: str = setting("UPGrad", among=("UPGrad", "PCGrad", "MGDA", "DualProj"))

    slot: ClassVar[str] = "update"
    needs: ClassVar[frozenset[str]] = frozenset({"heads"})
    choices: ClassVar = {"aggregator": ("UPGrad", "PCGrad", "MGDA")}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Combining(partial(combined, name=checked_name(self.aggregator)), [*model.parameters()])


class _Combining(Places):
    def __init__(self, combine: Callable[[Tensor], Tensor], order: list[nn.Parameter]) -> None:
        self.combine, self.order = combine, order

    def update(self, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        with graph_kept():
            return surgical_update(compute_loss, optimizer, self.combine, self.order)
