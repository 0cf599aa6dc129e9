"""Let torch compile the network.

What: the forward pass is traced into graphs and compiled, whole or one repeated block after the other, with its
backward pass. Training calls the compiled code; evaluation calls the network as it is written.
Paper: Ansel et al. 2024, "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph
Compilation".
Costs: the time to compile, which counts, and again for each kind of input that no graph fits yet; each time is told.
Fails when: the training is too short to earn it back, shapes keep changing, or Python code breaks the graph.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sysconfig
import time
import types
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.errors import BadRecipe, shorten
from halftime.places import Method, Places
from halftime.settings import setting

BACKENDS = ("inductor", "aot_eager", "eager")
SIZES = {"auto": None, "fixed": False, "any": True}


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a network: layers of layers that stand side by side, two or more of a class.

    Args:
        model: any network.

    Returns:
        Outermost ones, in their order; none where nothing is repeated.

    Example:
        >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> len(blocks(nn.Sequential(nn.Linear(2, 2), block(), block(), nn.Linear(2, 1))))
        2
    """
    children = [child for child in model.children() if next(child.parameters(), None) is not None]
    counts = Counter(type(child) for child in children if next(child.children(), None) is not None)
    lined_up = isinstance(model, (nn.Sequential, nn.ModuleList))
    found: list[nn.Module] = []
    for child in children:
        found += [child] if lined_up and counts[type(child)] > 1 else blocks(child)
    return found


def missing_for(backend: str, device: str) -> str:
    """What a backend would need and this machine does not have.

    Args:
        backend: "inductor", "aot_eager" or "eager".
        device: "cpu", "cuda" or "mps".

    Returns:
        In words; nothing where all is there.

    Example:
        >>> missing_for("eager", "cpu")
        ''
    """
    if backend != "inductor":
        return ""
    if device == "cuda":
        return "" if importlib.util.find_spec("triton") else "the package triton"
    builder = importlib.import_module("torch._inductor.cpp_builder")  # no public name says it
    try:
        builder.get_cpp_compiler()
    except RuntimeError:
        return "a C++ compiler, such as g++"
    there = Path(sysconfig.get_path("include"), "Python.h").exists()
    return "" if there else "the header files of Python (Python.h)"


def compiled_(layers: Sequence[nn.Module], backend: str = "inductor", sizes: str = "auto") -> None:
    """Compile layers in place, for training; in evaluation they run as they are written.

    Names, weights and hooks stay. Layers of one class share their graphs; nothing is shared with other networks.

    Args:
        layers: a whole network alone, or its blocks.
        backend: "inductor" makes kernels; "aot_eager" and "eager" only trace, to find out what breaks.
        sizes: "auto": a size that has changed once is left open; "fixed": a graph for each; "any": all open at once.

    Returns:
        Nothing.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> compiled_([net], backend="eager")
        >>> net(torch.ones(3, 2)).shape
        torch.Size([3, 1])
    """
    options: Any = {"options": {"fallback_random": True}} if backend == "inductor" else {}  # dropout draws as it did
    made: dict[type, Any] = {}
    layer: Any
    for layer in layers:
        # graphs are kept with the code: with a copy of it they end with the network, and their limit is its own
        twin = types.FunctionType(_call.__code__.replace(), globals(), "forward")
        fast = made.setdefault(type(layer), torch.compile(twin, backend=backend, dynamic=SIZES[sizes], **options))
        layer.written = layer.forward
        layer.forward = types.MethodType(_while_training(fast), layer)  # of the layer: a copy of it calls the copy


def _call(layer: Any, *inputs: Any, **named: Any) -> Any:
    return layer.written(*inputs, **named)


def _while_training(fast: Any) -> Any:
    failures = importlib.import_module("torch._dynamo.exc").TorchDynamoException

    def forward(layer: Any, *inputs: Any, **named: Any) -> Any:
        if not layer.training:
            return layer.written(*inputs, **named)
        try:
            return fast(layer, *inputs, **named)
        except failures as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise BadRecipe(f"Compile: torch cannot compile this network: {shorten(reason, 160)}") from error

    return forward


def compilations(since: float) -> list[tuple[str, str]]:
    """What torch has compiled in this process since a time; it remembers the last few dozen.

    Args:
        since: seconds since 1970.

    Returns:
        (what happened, why) each: "compiled", "compiled again", or "no longer compiled" where there were too many.

    Example:
        >>> compilations(time.time())
        []
    """
    utils = importlib.import_module("torch._dynamo.utils")  # no public name gives this in torch 2.10 to 2.15
    found = []
    for one in utils.get_compilation_metrics():
        if (one.start_time_us or 0) < since * 1e6 or not (one.co_name or one.fail_type):
            continue
        reason = (one.recompile_reason or "").partition("\n")[0]
        what = "no longer compiled" if one.fail_type else "compiled again" if reason else "compiled"
        found.append((what, reason.partition(": ")[2]))
    return found


@dataclasses.dataclass(frozen=True)
class Compile(Method):
    """Let torch compile the network.

    Args:
        where: the "whole" network, or its repeated "blocks" one by one, which compiles sooner.
        backend: "inductor" makes kernels; "aot_eager" and "eager" only trace.
        sizes: "auto" leaves a size open once it has changed, "fixed" compiles for each, "any" leaves all open.
    """

    where: str = setting("whole", among=("whole", "blocks"))
    backend: str = setting("inductor", among=BACKENDS)
    sizes: str = setting("auto", among=tuple(SIZES))

    slot: ClassVar[str] = "compiler"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    exact: ClassVar[bool] = True
    choices: ClassVar = {"where": ("whole", "blocks")}

    def model(self, model: nn.Module) -> nn.Module:
        device = next(model.parameters()).device.type
        if lacking := missing_for(self.backend, device):
            raise BadRecipe(f"Compile needs {lacking}, which is not here: install it, or leave Compile out")
        if not (layers := blocks(model) if self.where == "blocks" else [model]):
            raise BadRecipe("Compile: the network has no repeated blocks: use where='whole'")
        compiled_(layers, self.backend, self.sizes)
        return model

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Counting(time.time())


class _Counting(Places):
    def __init__(self, since: float) -> None:
        self.since, self.again = since, 0

    def events(self) -> list[str]:
        done, self.since = compilations(self.since), time.time()
        lines = []
        for what, why in done:
            self.again += bool(why)
            lines.append(f"Compile: {what}" + (f" (number {self.again}): {shorten(why, 200)}" if why else ""))
        return lines
