"""Train without dropout, stochastic depth and the like.

What: every rate at which a network drops something at random is set to zero; what was removed is said.
Paper: none of its own; the contests for the fastest training leave dropout out (Jordan 2024, "94% on CIFAR-10 in 3.29
Seconds on a Single GPU"), and Srivastava et al. 2014 say of dropout that it takes two to three times as long.
Costs: nothing; it saves the drawing of masks.
Fails when: the training is long enough to overfit: then dropping pays again.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from halftime.notes import Notes
from halftime.places import Method, Places

ANYWHERE = (
    *("dropout", "dropout_p", "dropout_rate", "dropout_prob", "drop_rate", "drop_prob", "drop_path", "layerdrop"),
    *("attn_dropout", "attention_dropout", "hidden_dropout", "activation_dropout", "resid_pdrop", "attn_pdrop"),
)
IN_A_DROPPER = ("p", "rate", "prob")  # of a module whose class has "drop" or "stochastic" in its name
MARK = "rates_removed"  # a module remembers its own


def without_stochastic(model: nn.Module) -> list[str]:
    """Set every rate of random dropping to zero, in place.

    Found are rates above zero in torch's dropout layers and in any module whose class is named after dropping
    (such as DropPath or StochasticDepth), and numbers called dropout, drop_rate and the like in any other module.

    Args:
        model: changed in place; parameters and their names stay as they are.

    Returns:
        What was removed, a line for each kind, class, name and rate, with its count; empty where there was none.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), nn.Linear(4, 4), nn.Dropout(0.1))
        >>> without_stochastic(network)
        ['2 of Dropout(p=0.1)']
    """
    for module in model.modules():
        kind = type(module).__name__.lower()
        names = ANYWHERE + (IN_A_DROPPER if "drop" in kind or "stochastic" in kind else ())
        rates = {name: vars(module).get(name) for name in names}
        found = {name: rate for name, rate in rates.items() if isinstance(rate, float) and rate > 0}
        for name in found:
            setattr(module, name, 0.0)
        if found:
            setattr(module, MARK, found)
    return removed(model)


def removed(model: nn.Module) -> list[str]:
    """What `without_stochastic` removed from a network.

    Args:
        model: it has been through `without_stochastic`, or not.

    Returns:
        A line for each class, name and rate, with its count.

    Example:
        >>> removed(nn.Dropout(0.5))
        []
    """
    counts = Counter(
        f"{type(module).__name__}({name}={rate:g})"
        for module in model.modules()
        for name, rate in getattr(module, MARK, {}).items()
    )
    return [f"{count} of {what}" for what, count in counts.items()]


@dataclasses.dataclass(frozen=True)
class DropStochastic(Method):
    """Train without dropout, stochastic depth and the like, and say what was removed."""

    slot: ClassVar[str] = "stochastic"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")

    def model(self, model: nn.Module) -> nn.Module:
        without_stochastic(model)
        return model

    def idle(self, model: nn.Module, dataset: Any) -> str:
        """Why it would change nothing here: nothing in the network drops at random; empty where it may."""
        return "" if without_stochastic(copy.deepcopy(model)) else "nothing in the network is dropped at random"

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        found = removed(model)
        return Notes([f"DropStochastic: {', '.join(found) or 'nothing there'} {'removed' if found else 'to remove'}"])
