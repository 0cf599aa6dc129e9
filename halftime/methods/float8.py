"""Multiply large matrices in 8 bits.

What: linear layers that are large enough cast input, weight and gradient to float8, with a scale for each tensor, to
multiply them; weights and optimizer keep their bits. The library torchao does it. Small layers and the last one stay.
Paper: Micikevicius et al. 2022, "FP8 Formats for Deep Learning".
Costs: casts and a search for the largest value of each tensor, which only large products earn back.
Fails when: the products are small, the network is not compiled (the casts are then kernels of their own), or it cannot
bear the rounding.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.data.limits import capability
from halftime.errors import BadWorkload
from halftime.notes import Notes
from halftime.places import Method, Places
from halftime.settings import setting

GRAIN = 16  # the hardware multiplies whole pieces of this length
NEEDED = (8, 9)  # compute capability


def missing_for(device: torch.device) -> str:
    """What 8-bit products would need and this device or machine does not have.

    Args:
        device: where the network is.

    Returns:
        In words; nothing where all is there.

    Example:
        >>> missing_for(torch.device("cpu"))
        'a CUDA device of compute capability 8.9, which cpu is not'
    """
    if capability(device) < NEEDED:
        return f"a CUDA device of compute capability 8.9, which {device} is not"
    return "" if importlib.util.find_spec("torchao") else "the package torchao: pip install torchao"


def float8_layers(model: nn.Module, smallest: int = 2048) -> tuple[list[str], dict[str, str]]:
    """Which linear layers gain from 8 bits.

    Args:
        model: any network.
        smallest: in a layer that gains, the longer side of its matrix has at least so many rows or columns, and the
            shorter one half as many.

    Returns:
        Names of those that gain, and the reason for each that does not: "last", "small", or "not a multiple of 16".

    Example:
        >>> float8_layers(nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 64), nn.Linear(64, 3)), smallest=64)
        (['0', '1'], {'2': 'last'})
    """
    layers = {name: layer for name, layer in model.named_modules() if type(layer) is nn.Linear}
    left = {}
    for name, layer in layers.items():
        sides = layer.in_features, layer.out_features
        if any(side % GRAIN for side in sides):
            left[name] = f"not a multiple of {GRAIN}"
        if max(sides) < smallest or min(sides) < smallest // 2:
            left[name] = "small"
    left |= dict.fromkeys(list(layers)[-1:], "last")  # what it says is what is judged
    return [name for name in layers if name not in left], left


def float8_(model: nn.Module, smallest: int = 2048, convert: Callable[..., Any] | None = None) -> list[str]:
    """Let the linear layers that gain from it multiply in 8 bits, in place; their weights and names stay.

    Args:
        model: changed in place.
        smallest: as in `float8_layers`.
        convert: torchao's `convert_to_float8_training` if None.

    Returns:
        Names of the layers that were converted.

    Example:
        >>> float8_(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 3)), smallest=64, convert=lambda *_, **__: None)
        ['0']
    """
    names, _ = float8_layers(model, smallest)
    given = {}
    if convert is None:
        library = importlib.import_module("torchao.float8")
        convert = library.convert_to_float8_training
        given = {"config": library.Float8LinearConfig(pad_inner_dim=True)}  # a batch need not be a multiple of 16
    convert(model, module_filter_fn=lambda _, name: name in names, **given)
    return names


@dataclasses.dataclass(frozen=True)
class Float8(Method):
    """Multiply large matrices in 8 bits.

    Args:
        smallest: rows or columns that the longer side of a matrix must have, and the shorter one half as many.
    """

    smallest: int = setting(2048, low=16)

    slot: ClassVar[str] = "products"
    needs: ClassVar[frozenset[str]] = frozenset({"cuda"})
    choices: ClassVar = {"smallest": (1024, 2048, 4096)}

    def model(self, model: nn.Module) -> nn.Module:
        if lacking := missing_for(next(model.parameters()).device):
            raise BadWorkload(f"Float8 needs {lacking}: leave it out")
        names, left = float8_layers(model, self.smallest)
        if not names:
            reasons = ", ".join(f"{name} ({why})" for name, why in left.items()) or "there is none"
            raise BadWorkload(f"Float8 finds no linear layer that would gain: {reasons}: leave it out")
        float8_(model, self.smallest)
        model.float8 = names, left  # type: ignore[assignment]
        return model

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        names, left = model.float8  # type: ignore[misc]
        kept = "; left as they are: " + ", ".join(f"{name} ({why})" for name, why in left.items())
        return Notes([f"Float8: {len(names)} linear layers in 8 bits: {', '.join(names)}{kept * bool(left)}"])
