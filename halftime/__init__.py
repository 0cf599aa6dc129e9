"""halftime: make the training of your network reach your target sooner, and prove it.

import halftime as ht
from halftime.methods import AdamW, OneCycle

workload = ht.Workload(name="mine", model=make_model, train=train_set, valid=valid_set,
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.92)
run = ht.train(workload, ht.Recipe([AdamW(lr=3e-3), OneCycle()], epochs=8), seed=0)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from halftime.data.keeper import Keeper
    from halftime.diagnose.watching import watch
    from halftime.errors import HalftimeError, InputError, Stopped, StorageError
    from halftime.ledger.store import Ledger
    from halftime.measure.plan import Plan
    from halftime.measure.proof import Proof
    from halftime.measure.score import accuracy
    from halftime.places import Method, Places
    from halftime.recipe import Recipe
    from halftime.run import Run
    from halftime.search.prove import prove
    from halftime.settings import setting
    from halftime.train import train
    from halftime.workload import Workload

# The menu. Names are fetched when first used, so that `halftime --help` need not wait for torch.
_MENU = {
    "HalftimeError": "errors", "InputError": "errors", "Stopped": "errors", "StorageError": "errors",
    "Keeper": "data.keeper", "Ledger": "ledger.store", "Method": "places", "Places": "places", "Plan": "measure.plan",
    "Proof": "measure.proof", "Recipe": "recipe", "Run": "run", "Workload": "workload", "accuracy": "measure.score",
    "prove": "search.prove", "setting": "settings", "train": "train", "watch": "diagnose.watching",
}  # fmt: skip

__all__ = [
    "HalftimeError",
    "InputError",
    "Keeper",
    "Ledger",
    "Method",
    "Places",
    "Plan",
    "Proof",
    "Recipe",
    "Run",
    "Stopped",
    "StorageError",
    "Workload",
    "accuracy",
    "prove",
    "setting",
    "train",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _MENU:
        raise AttributeError(f"module 'halftime' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"halftime.{_MENU[name]}"), name)
    globals()[name] = value
    return value


class _Menu(ModuleType):
    """Keeps `halftime.train` the function, although a file of that name is imported too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MENU and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Menu
