"""Places whose code looks something up by a name that the script can simply write down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from halftime.export.words import literal

Written = Callable[[Any], str]


def any_optimizer(method: Any) -> str:
    """The optimizer by its own name, with its options."""
    weights = "[p for p in model.parameters() if p.requires_grad]"
    if method.weight_decay is not None:
        weights = "decay_groups(model, self.weight_decay)"
    options = "".join(f", {name}={literal(value)}" for name, value in method.options.items())
    if method.source == "torch":
        kind = f"torch.optim.{method.name}"
    elif method.source == "timm":
        kind = f'importlib.import_module("timm.optim").get_optimizer_class("{method.name}", bind_defaults=True)'
    else:
        kind = f'importlib.import_module("pytorch_optimizer").load_optimizer("{method.name}")'
    return f"{kind}({weights}, lr=self.lr{options})"


def schedule_free(method: Any) -> str:
    """The library's optimizer."""
    kind, memory = (
        ("AdamW", "betas=(self.beta, 0.999)") if method.algorithm == "adamw" else ("SGD", "momentum=self.beta")
    )
    library = 'importlib.import_module("schedulefree")'
    return f"{library}.{kind}ScheduleFree(decay_groups(model, self.weight_decay), lr=self.lr, {memory})"


SPECIAL: Mapping[str, Mapping[str, Written]] = {
    "AnyOptimizer": {"optimizer": any_optimizer},
    "ScheduleFree": {"optimizer": schedule_free},
}
