"""Stop training the first layers before the end.

What: from some progress on, layers are frozen one after another, the first ones first, so that gradients need not
reach them any more.
Paper: Brock et al. 2017, "FreezeOut: Accelerate Training by Progressively Freezing Layers".
Costs: a little quality; saves a growing part of the backward pass.
Fails when: the first layers are cheap, still learning, or not first in the order in which they were defined.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from halftime.places import Method, Places
from halftime.settings import setting


def frozen_count(progress: float, layers: int, begin: float = 0.5, share: float = 0.5) -> int:
    """How many layers are frozen.

    Args:
        progress: share of the training done, 0 to 1.
        layers: how many there are.
        begin: the progress at which freezing begins; it grows evenly from there to the end.
        share: of the layers, frozen at the end.

    Returns:
        From 0 to `layers` - 1: the last one always learns.

    Example:
        >>> [frozen_count(p, layers=8, begin=0.5, share=0.5) for p in (0, 0.5, 0.75, 1)]
        [0, 0, 2, 4]
    """
    if progress <= begin:
        return 0
    return max(0, min(layers - 1, int(share * layers * (progress - begin) / (1.0 - begin) + 1e-9)))


class Freezer:
    """The layers of a network in their order, and how many of them are frozen.

    A layer is a module with parameters of its own. One that shares a parameter with a later layer freezes with that
    one, and what was frozen before stays so.

    Args:
        model: its parameters get and lose `requires_grad`.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        >>> freezer = Freezer(network)
        >>> freezer.freeze(1)
        >>> [p.requires_grad for p in network.parameters()]
        [False, False, True, True]
    """

    def __init__(self, model: nn.Module) -> None:
        own = [[p for p in m.parameters(recurse=False) if p.requires_grad] for m in model.modules()]
        last = {p: i for i, layer in enumerate(own) for p in layer}
        self.layers = [[p for p in layer if last[p] == i] for i, layer in enumerate(own) if layer]
        self.count = 0

    def freeze(self, count: int) -> None:
        """Freeze the first layers.

        Args:
            count: how many.
        """
        for i in range(min(count, self.count), max(count, self.count)):
            for parameter in self.layers[i]:
                parameter.requires_grad_(i >= count)
                parameter.grad = None  # an optimizer passes over what has none
        self.count = count


@dataclasses.dataclass(frozen=True)
class FreezeEarly(Method):
    """Stop training the first layers before the end.

    Args:
        begin: the progress at which freezing begins.
        share: of the layers, frozen at the end.
    """

    begin: float = setting(0.5, low=0, below=1)
    share: float = setting(0.5, above=0, high=1)

    slot: ClassVar[str] = "freezing"
    choices: ClassVar = {"begin": (0.3, 0.5, 0.7), "share": (0.3, 0.5, 0.7)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Freezing(Freezer(model), self.begin, self.share)


class _Freezing(Places):
    def __init__(self, freezer: Freezer, begin: float, share: float) -> None:
        self.freezer, self.begin, self.share = freezer, begin, share
        self.told = 0

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        count = frozen_count(progress, len(self.freezer.layers), self.begin, self.share)
        if count != self.freezer.count:
            self.freezer.freeze(count)
        return inputs, targets

    def events(self) -> list[str]:
        before, self.told = self.told, self.freezer.count
        return [f"FreezeEarly: {self.told} of {len(self.freezer.layers)} layers frozen"] if self.told != before else []

    def state_dict(self) -> dict[str, Any]:
        return {"told": self.told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.told = state["told"]
