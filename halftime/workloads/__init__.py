"""The built-in workloads, on real data. Listing them loads no data and no torch.

Each is judged on validation data that training never sees, and its target is one that a tuned training reaches and a
trivial model does not; the docstring of each function says what the trivial ones reach.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING

from halftime.errors import unknown

if TYPE_CHECKING:
    from halftime.workload import Workload


@dataclasses.dataclass(frozen=True)
class Builtin:
    """A workload that comes with halftime.

    Args:
        name: what `get` knows it by.
        about: what it is, in one line.
        module: where its function of the same name stands, under `halftime.workloads`.
    """

    name: str
    about: str
    module: str

    def make(self) -> Workload:
        """Build it; this loads its data, and downloads them if they are nowhere here."""
        made: Workload = getattr(importlib.import_module(f"halftime.workloads.{self.module}"), self.name)()
        return made


_TABLE = (
    Builtin("digits", "8x8 digits, a small convolutional network; seconds on two CPU cores", "digits"),
    Builtin("fashion_mnist", "28x28 clothes, a small convolutional network; for CPUs", "fashion_mnist"),
    Builtin("fashion_mnist_textbook", "28x28 clothes, a network without normalisation; the demo's", "fashion_mnist"),
    Builtin("cifar10", "32x32 colour photographs, a small convolutional network; for CPUs", "cifar10"),
    Builtin("shakespeare", "characters of Shakespeare, a small GPT; for CPUs", "shakespeare"),
    Builtin("blood_cells", "boxes of blood cells in photographs, a small detector; for CPUs", "blood_cells"),
    Builtin("multitask", "three tasks on 32x32 colour photographs, one trunk with three heads; for CPUs", "multitask"),
    Builtin("digits_resnet18", "8x8 digits, ResNet-18; for a GPU", "digits"),
    Builtin("fashion_mnist_resnet18", "28x28 clothes, ResNet-18; for a GPU", "fashion_mnist"),
    Builtin("cifar10_resnet18", "32x32 colour photographs to 94 %, ResNet-18; for a GPU", "cifar10"),
    Builtin("shakespeare_gpt", "characters of Shakespeare, a GPT of six layers; for a GPU", "shakespeare"),
)

ALL: dict[str, Builtin] = {builtin.name: builtin for builtin in _TABLE}


def get(name: str, target: float | None = None) -> Workload:
    """A built-in workload.

    Args:
        name: a key of `ALL`.
        target: a validation score to reach instead of the workload's own.

    Raises:
        UnknownName: no such workload; points to the nearest right name.
        BadData: its data are nowhere here and cannot be downloaded, or are damaged.
        BadValue: the target cannot be a score of this workload.

    Example:
        >>> get("digits").name
        'digits'
    """
    if name not in ALL:
        raise unknown("workload", name, ALL)
    workload = ALL[name].make()
    return workload if target is None else dataclasses.replace(workload, target=target)
