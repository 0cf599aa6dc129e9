"""A learning rate for each kind of weight and each depth.

What: the optimizer's groups are split, and each part's rate is multiplied by a factor: for biases, for gains and biases
of norms, and by depth, geometrically from the layer nearest the input to the last.
Paper: Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification" (rates by depth); rates of
biases of their own are older practice.
Costs: more groups, so somewhat more of the optimizer's own overhead.
Fails when: the layers are not registered in the order of depth, or the factors were tuned for another optimizer.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.places import Method
from halftime.settings import setting

NORMS = (
    nn.modules.batchnorm._NormBase,  # batch and instance
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def layer_factors(
    model: nn.Module, biases: float = 2.0, norms: float = 1.0, first: float = 1.0
) -> dict[nn.Parameter, float]:
    """The factor of each parameter.

    A layer is a module with a matrix or kernel of its own; a norm, a bias or a gain counts with the layer before it.
    A parameter that is used in two layers has the depth of the first.

    Args:
        model: its modules are taken in the order in which they were registered.
        biases: factor of one-dimensional weights called bias, outside of norms.
        norms: factor of all weights of norms.
        first: factor of the layer nearest the input; the last one has 1, those between go geometrically.

    Returns:
        A factor for each parameter.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
        >>> list(layer_factors(net, biases=2.0, first=0.25).values())
        [0.25, 0.5, 1.0, 2.0]
    """
    found: dict[nn.Parameter, tuple[float, int]] = {}
    depth = -1
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        norm = isinstance(module, NORMS)
        depth += not norm and any(p.ndim >= 2 and p not in found for p in own.values())
        for name, p in own.items():
            kind = norms if norm else biases if p.ndim == 1 and name.endswith("bias") else 1.0
            found.setdefault(p, (kind, max(0, depth)))
    last = max(1, depth)
    return {p: kind * first ** (1.0 - min(at, last) / last if depth > 0 else 0.0) for p, (kind, at) in found.items()}


def scale_rates(optimizer: Optimizer, factors: dict[nn.Parameter, float]) -> Optimizer:
    """Split the groups of an optimizer so that each parameter's rate is its group's times its factor.

    All other options of a group go with each of its parts, and so does the ratio of the groups' rates.

    Args:
        optimizer: a fresh one; its groups are replaced.
        factors: for some or all of its parameters; 1 for the others.

    Returns:
        The same optimizer.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> optimizer = scale_rates(torch.optim.SGD(net.parameters(), lr=0.1), {net.bias: 2.0})
        >>> [(len(g["params"]), g["lr"]) for g in optimizer.param_groups]
        [(1, 0.1), (1, 0.2)]
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        parts: dict[float, list[torch.Tensor]] = {}
        for p in group["params"]:
            parts.setdefault(factors.get(p, 1.0), []).append(p)
        options = {key: value for key, value in group.items() if key != "params"}
        for factor, weights in parts.items():
            groups.append({**copy.deepcopy(options), "params": weights, "lr": group["lr"] * factor})
    optimizer.param_groups[:] = groups
    return optimizer


@dataclasses.dataclass(frozen=True)
class LayerRates(Method):
    """A learning rate for each kind of weight and each depth.

    Args:
        biases: factor on the rate of biases, outside of norms.
        norms: factor on the rate of gains and biases of norms.
        first: factor on the rate of the layer nearest the input; from there to the last it goes geometrically to 1.
    """

    biases: float = setting(2.0, above=0)
    norms: float = setting(1.0, above=0)
    first: float = setting(1.0, above=0)

    slot: ClassVar[str] = "rates"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("optimizer",)
    choices: ClassVar = {"biases": (1.0, 2.0, 8.0), "norms": (1.0, 4.0, 16.0), "first": (0.1, 0.3, 1.0)}

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        return scale_rates(optimizer, layer_factors(model, self.biases, self.norms, self.first))
