"""Initial weights whose scale keeps the signal's variance through rectified layers.

What: convolutions and linear layers are drawn from a normal of variance gain² / fan; biases start at zero.
Paper: He et al. 2015, "Delving Deep into Rectifiers".
Costs: nothing after the first moment.
Fails when: the network is not rectified (transformers have better rules) or its weights were already chosen with care.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import nn

from halftime.places import Method
from halftime.settings import setting


@torch.no_grad()
def kaiming_(model: nn.Module, mode: str = "fan_out", last: bool = False) -> int:
    """Draw the weights of every convolution and linear layer anew, in place.

    The draws do not depend on the memory layout of the weights.

    Args:
        model: changed in place, with torch's global random state.
        mode: "fan_in" keeps the variance of activations, "fan_out" that of gradients.
        last: whether the last layer is drawn too; its outputs are not rectified.

    Returns:
        How many layers were drawn.

    Example:
        >>> kaiming_(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        1
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    layers = [m for m in model.modules() if isinstance(m, kinds)]
    layers = layers if last else layers[:-1]
    for layer in layers:
        drawn = torch.empty_like(layer.weight, memory_format=torch.contiguous_format)
        nn.init.kaiming_normal_(drawn, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
        layer.weight.copy_(drawn)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return len(layers)


@dataclasses.dataclass(frozen=True)
class Kaiming(Method):
    """Initial weights for rectified networks.

    Args:
        mode: "fan_in" keeps the variance of activations, "fan_out" that of gradients.
        last: whether the last layer is drawn too.
    """

    mode: str = setting("fan_out", among=("fan_in", "fan_out"))
    last: bool = False

    slot: ClassVar[str] = "initialisation"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    choices: ClassVar = {"mode": ("fan_in", "fan_out")}

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        kaiming_(model, self.mode, self.last)
