"""Places whose code looks something up by a name that the script can simply write down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from halftime.export.words import literal

Written = Callable[[Any], tuple[str, str]]  # (what the place returns, in the names of the method's file; a library)


def any_optimizer(method: Any) -> tuple[str, str]:
    """The optimizer by its own name, with its options."""
    weights = "[p for p in model.parameters() if p.requires_grad]"
    if method.weight_decay is not None:
        weights = "decay_groups(model, self.weight_decay)"
    options = "".join(f", {name}={literal(value)}" for name, value in method.options.items())
    kind, library = {
        "torch": (f"torch.optim.{method.name}", ""),
        "timm": (f'timm.optim.get_optimizer_class("{method.name}", bind_defaults=True)', "timm.optim"),
        "pytorch_optimizer": (f'pytorch_optimizer.load_optimizer("{method.name}")', "pytorch_optimizer"),
    }[method.source]
    return f"{kind}({weights}, lr=self.lr{options})", library


def schedule_free(method: Any) -> tuple[str, str]:
    """The library's optimizer."""
    kind, memory = "SGD", "momentum=self.beta"
    if method.algorithm == "adamw":
        kind, memory = "AdamW", "betas=(self.beta, 0.999)"
    groups = "decay_groups(model, self.weight_decay)"
    return f"schedulefree.{kind}ScheduleFree({groups}, lr=self.lr, {memory})", "schedulefree"


SPECIAL: Mapping[str, Mapping[str, Written]] = {
    "AnyOptimizer": {"optimizer": any_optimizer},
    "ScheduleFree": {"optimizer": schedule_free},
}
