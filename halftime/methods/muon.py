"""Orthogonal steps for matrices, AdamW for the rest.

What: the momentum of each hidden matrix, and of each kernel flattened to one, is brought near to the nearest orthogonal
matrix before it is stepped along; biases, norms, embeddings and the last layer are left to AdamW.
Paper: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
Costs: a few products of 16-bit matrices for each weight and step; one buffer of the size of the matrices.
Fails when: weights that AdamW trained are trained on, or the device is slow at 16-bit products (most CPUs).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.places import Method
from halftime.settings import setting

LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
TABLES = (nn.Embedding, nn.EmbeddingBag)
APART = (
    "head",
    "heads",
    "embed",
    "embedding",
    "token",
    "position",
    "pos",
)  # parts of names of what is no hidden matrix


def split_weights(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Hidden matrices, kernels and the rest of a network's trained parameters.

    The rest is: whatever has less than two dimensions, embeddings and what is tied to them, the last layer, and what
    has head, embed, token or position in its name. Other tensors of three and more dimensions count as kernels only
    where they belong to a convolution.

    Args:
        model: its modules are taken in the order in which they were registered.

    Returns:
        Parameters under "matrices", "kernels", "decayed" (of the rest, two and more dimensions) and "plain".

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 3))
        >>> {kind: len(weights) for kind, weights in split_weights(net).items()}
        {'matrices': 1, 'kernels': 1, 'decayed': 1, 'plain': 3}
    """
    modules = list(model.modules())
    apart = {p for m in modules if isinstance(m, TABLES) for p in m.parameters(recurse=False)}
    layers = [m for m in modules if isinstance(m, LAYERS)]
    apart |= set(layers[-1].parameters(recurse=False)) if layers else set()
    kernels = {p for m in layers if isinstance(m, nn.modules.conv._ConvNd) for p in m.parameters(recurse=False)}
    found: dict[str, list[nn.Parameter]] = {"matrices": [], "kernels": [], "decayed": [], "plain": []}
    for name, p in model.named_parameters():
        words = set(name.lower().replace(".", "_").split("_"))
        hidden = p.ndim >= 2 and p not in apart and not words & set(APART)
        kind = "kernels" if hidden and p in kernels else "matrices" if hidden and p.ndim == 2 else ""
        if p.requires_grad:
            found[kind or ("decayed" if p.ndim >= 2 else "plain")].append(p)
    return found


def muon_groups(
    model: nn.Module,
    lr: float = 0.02,
    rest_lr: float = 3e-3,
    kernel_lr: float | None = None,
    momentum: float = 0.95,
    weight_decay: float = 0.01,
) -> list[dict[str, Any]]:
    """The weights of a network in groups for `OrthogonalAdamW`, each with a rate of its own.

    Args:
        model: its trained parameters are split by `split_weights`.
        lr: rate of hidden matrices.
        rest_lr: AdamW's rate of the rest.
        kernel_lr: rate of kernels; None takes `lr`.
        momentum: of matrices and kernels.
        weight_decay: on weights of two and more dimensions.

    Returns:
        One to four groups; one without parameters is left out.

    Example:
        >>> [(g["by"], g["lr"]) for g in muon_groups(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))]
        [('muon', 0.02), ('adamw', 0.003), ('adamw', 0.003)]
    """
    weights = split_weights(model)
    muon = {"by": "muon", "momentum": momentum, "weight_decay": weight_decay}
    groups: list[dict[str, Any]] = [
        {"params": weights["matrices"], "lr": lr, **muon},
        {"params": weights["kernels"], "lr": kernel_lr or lr, **muon},
        {"params": weights["decayed"], "lr": rest_lr, "by": "adamw", "weight_decay": weight_decay},
        {"params": weights["plain"], "lr": rest_lr, "by": "adamw", "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class OrthogonalAdamW(Optimizer):
    """Muon for some groups and AdamW for the others, as one optimizer with one state.

    torch's own `Muon` and `AdamW` do the steps. A weight of more than two dimensions is stepped as the matrix
    [its first dimension, the product of the others].

    Args:
        groups: each with "params" and "by", which is "muon" or "adamw", and options of that optimizer.

    Example:
        >>> net = nn.Linear(4, 2)
        >>> groups = [{"params": [net.weight], "by": "muon", "lr": 0.02}, {"params": [net.bias], "by": "adamw"}]
        >>> optimizer = OrthogonalAdamW(groups)
        >>> net(torch.ones(1, 4)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        one = [nn.Parameter(torch.zeros(1, 1))]  # the two have no weights of their own: each step lends them ours
        self._by: dict[str, Optimizer] = {"muon": torch.optim.Muon(one), "adamw": torch.optim.AdamW(one)}
        super().__init__(groups, {})

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Take in a group; what it leaves open is as the optimizer named by "by" has it, AdamW if none is."""
        by = group.get("by", "adamw")
        super().add_param_group({**self._by[by].defaults, **group, "by": by})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step every group by its optimizer.

        Args:
            closure: computes the loss anew and returns it, where one is given.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["by"] == "adamw":
                self._lend("adamw", group, self.state)
            else:
                self._step_as_matrices(group)
        return loss

    def _lend(self, by: str, group: dict[str, Any], state: Any) -> None:
        stepping = self._by[by]
        kept = stepping.param_groups, stepping.state
        stepping.param_groups, stepping.state = [group], state
        try:
            stepping.step()
        finally:
            stepping.param_groups, stepping.state = kept

    def _step_as_matrices(self, group: dict[str, Any]) -> None:
        pairs = [(p, p.detach().flatten(1)) for p in group["params"] if p.grad is not None]
        state = {}
        for p, matrix in pairs:
            matrix.grad = p.grad.flatten(1)
            state[matrix] = self.state[p]
        self._lend("muon", {**group, "params": [matrix for _, matrix in pairs]}, state)
        for p, matrix in pairs:
            if matrix.data_ptr() != p.data_ptr():  # a kernel with the channels innermost cannot be seen as a matrix
                p.copy_(matrix.view(p.shape))


@dataclasses.dataclass(frozen=True)
class Muon(Method):
    """Orthogonal steps for matrices and kernels, AdamW for the rest.

    Args:
        lr: learning rate of hidden matrices at the schedule's peak.
        kernel_lr: that of the kernels of convolutions; None takes `lr`.
        rest_lr: AdamW's rate, for biases, norms, embeddings and the last layer.
        momentum: memory of the gradient's mean, for matrices and kernels.
        weight_decay: pull towards zero for each unit of learning rate, on all weights of two and more dimensions.
    """

    lr: float = setting(0.02, above=0)
    kernel_lr: float | None = setting(None, above=0)
    rest_lr: float = setting(3e-3, above=0)
    momentum: float = setting(0.95, low=0, below=1)
    weight_decay: float = setting(0.01, low=0)

    slot: ClassVar[str] = "optimizer"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    choices: ClassVar = {
        "lr": (3e-3, 0.01, 0.02, 0.05, 0.1),
        "rest_lr": (1e-3, 3e-3, 0.01),
        "momentum": (0.6, 0.9, 0.95),
    }

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        given = (self.lr, self.rest_lr, self.kernel_lr, self.momentum, self.weight_decay)
        return OrthogonalAdamW(muon_groups(model, *given))
