"""An optimizer by its name: torch's own, or one of the collections that others keep.

What: the class is looked up in torch, or in timm or pytorch_optimizer where these are installed, and made
with a rate, a weight decay and whatever other options it takes.
Paper: none; each optimizer has its own.
Costs: what that optimizer costs.
Fails when: it wants more than gradients at each step (a closure, second derivatives), or keeps state that is not
tensors and numbers, which a checkpoint cannot hold.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.errors import BadRecipe, BadValue, shorten, unknown
from halftime.methods.sgd import decay_groups
from halftime.places import Method
from halftime.settings import Options, setting

SOURCES = ("torch", "timm", "pytorch_optimizer")  # heavyball keeps pickled bytes in its state: no checkpoint of ours
UNFIT = {"LBFGS": "computes the loss several times in a step", "SparseAdam": "steps along sparse gradients alone"}


def optimizer_names(source: str = "torch") -> list[str]:
    """The names of the optimizers that a source has.

    Args:
        source: "torch", "timm" or "pytorch_optimizer".

    Returns:
        Names, sorted; those that cannot be stepped by gradients alone are left out of torch's.

    Example:
        >>> "NAdam" in optimizer_names()
        True
    """
    library = _library(source)
    if source == "timm":
        return sorted(library.list_optimizers())
    if source == "pytorch_optimizer":
        return sorted(library.get_supported_optimizers())
    found = {name: thing for name, thing in vars(library).items() if isinstance(thing, type)}
    usable = (n for n, kind in found.items() if issubclass(kind, Optimizer) and kind is not Optimizer)
    return sorted(n for n in usable if not n.startswith("_") and n not in UNFIT)


def find_optimizer(name: str, source: str = "torch") -> Callable[..., Optimizer]:
    """The optimizer of a name.

    Args:
        name: as the source spells it.
        source: "torch", "timm" or "pytorch_optimizer"; imported here, and not before.

    Returns:
        What makes the optimizer of parameters and options.

    Example:
        >>> find_optimizer("NAdam").__name__
        'NAdam'
    """
    if name in UNFIT:
        raise BadValue(f"AnyOptimizer.name: {name} {UNFIT[name]}, which the loop does not: choose another")
    known = optimizer_names(source)
    if name not in known:
        raise unknown(f"optimizer of {source} called", name, known)
    library = _library(source)
    if source == "timm":
        return library.get_optimizer_class(name, bind_defaults=True)  # type: ignore[no-any-return]
    if source == "pytorch_optimizer":
        return library.load_optimizer(name)  # type: ignore[no-any-return]
    return getattr(library, name)  # type: ignore[no-any-return]


def make_optimizer(
    model: nn.Module,
    name: str,
    lr: float,
    source: str = "torch",
    weight_decay: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Optimizer:
    """An optimizer for a network, by name.

    Args:
        model: its trained parameters are optimized.
        name: as the source spells it.
        lr: learning rate.
        source: "torch", "timm" or "pytorch_optimizer".
        weight_decay: on matrices and kernels alone; None leaves it to the optimizer.
        options: other arguments of the optimizer.

    Returns:
        The optimizer.

    Example:
        >>> type(make_optimizer(nn.Linear(2, 2), "NAdam", 0.01)).__name__
        'NAdam'
    """
    kind = find_optimizer(name, source)
    weights: Any = [p for p in model.parameters() if p.requires_grad]
    given = dict(options or {})
    try:
        made = kind(weights if weight_decay is None else decay_groups(model, weight_decay), lr=lr, **given)
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadValue(f"AnyOptimizer: {name} does not take {shorten({'lr': lr, **given})}: {reason}") from error
    return made


def _library(source: str) -> Any:
    try:
        return importlib.import_module({"torch": "torch.optim", "timm": "timm.optim"}.get(source, source))
    except (ImportError, RuntimeError, OSError) as error:  # not there, or not of one build with torch
        package = source.replace("_", "-")
        raise BadRecipe(
            f"AnyOptimizer(source={source!r}) needs the package {package} ({error}): pip install {package}"
        ) from None


@dataclasses.dataclass(frozen=True)
class AnyOptimizer(Method):
    """An optimizer by its name.

    Args:
        name: as its source spells it.
        source: where it is looked up; all but "torch" are packages of their own.
        lr: learning rate at the schedule's peak.
        weight_decay: pull towards zero, on matrices and kernels alone; None leaves it to the optimizer.
        options: other arguments of the optimizer.
    """

    name: str = setting("NAdam")
    source: str = setting("torch", among=SOURCES)
    lr: float = setting(1e-3, above=0)
    weight_decay: float | None = setting(None, low=0)
    options: Options = setting(Options())  # noqa: RUF009 - it cannot be changed

    slot: ClassVar[str] = "optimizer"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    choices: ClassVar = {"lr": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in {"params", "lr", "weight_decay"} & set(self.options):
            raise BadValue(f"AnyOptimizer.options: {name!r} is given by a field of its own or not at all: leave it out")
        if self.source == "torch":  # it is at hand: a wrong name or option is refused where it is written
            self._make(_scratch())

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        self._try()
        return self._make(model)

    def _make(self, model: nn.Module) -> Optimizer:
        return make_optimizer(model, self.name, self.lr, self.source, self.weight_decay, self.options)

    def _try(self) -> None:
        """Take one step of a scratch weight: what fails at that fails here, before anything is written."""
        scratch, wrong = _scratch(), f"AnyOptimizer: {self.name} of {self.source}"
        optimizer = self._make(scratch)
        if callable(getattr(optimizer, "eval", None)):
            raise BadRecipe(f"{wrong} trains other weights than it judges, and wants to be told: use ScheduleFree")
        for p in scratch.parameters():
            p.grad = torch.ones_like(p)
        try:
            with torch.random.fork_rng(devices=[]):
                optimizer.step()
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, NotImplementedError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadRecipe(f"{wrong} wants more than gradients at a step: choose another ({reason})") from error
        if not _plain(optimizer.state_dict()):
            raise BadRecipe(f"{wrong} keeps state that a checkpoint cannot hold: choose another")


def _scratch() -> nn.Module:
    """A network of one matrix, made without a random number."""
    return nn.ParameterDict({"weight": nn.Parameter(torch.zeros(2, 2))})


def _plain(state: Any) -> bool:
    """Whether it is tensors, numbers and texts all through."""
    if isinstance(state, Mapping):
        return all(_plain(value) for value in state.values())
    if isinstance(state, (list, tuple)):
        return all(_plain(value) for value in state)
    return state is None or isinstance(state, (bool, int, float, str, torch.Tensor))
