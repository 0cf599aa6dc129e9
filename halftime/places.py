"""The places in the training loop through which a method acts, and `Method`, the frozen description of one.

A run reaches the places in the order in which they stand below. A method overrides one or two of them; the
loop keeps, for each place, only the methods that override it, so a method costs nothing where it does nothing.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Self

from halftime.errors import BadValue, unknown
from halftime.settings import checked

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from halftime.data.feed import Feed

Loss = Callable[[Any, Any], Any]  # (outputs, targets) -> a scalar tensor, or a dict of them
Backward = Callable[[Any], None]  # takes what `Loss` returned
ComputeLoss = Callable[..., None]  # compute_loss(backward=...): forward and backward over every micro-batch
Update = Callable[[ComputeLoss, "Optimizer"], bool]


class Places:
    """The places. Each default changes nothing."""

    # once, in this order; the optimizer comes last, so that surgery can never miss it
    def data(self, data: Feed) -> Feed:
        """Change what is served in training, and in which order."""
        return data

    def model(self, model: nn.Module) -> nn.Module:
        """Change or wrap the network; it is already on its device."""
        return model

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        """Set initial weights; `sample` holds a few training batches, (inputs, targets) each."""

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        """Change the training loss; evaluation keeps the workload's own."""
        return loss

    def optimizer(self, model: nn.Module, optimizer: Optimizer) -> Optimizer:
        """Replace, wrap or hook the optimizer."""
        return optimizer

    # each step
    def lr_factor(self, progress: float) -> float:
        """A factor on every group's learning rate, from progress in [0, 1]; factors of methods multiply."""
        return 1.0

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        """Change one batch, already on the device."""
        return inputs, targets

    def forward(self) -> AbstractContextManager[Any]:
        """A context around network and loss."""
        return nullcontext()

    def update(self, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        """Do one optimizer step and say whether it was applied; at most one method of a recipe may."""
        return plain_update(compute_loss, optimizer)

    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        """Around the update: may undo it, or do it again; says whether a step was applied in the end."""
        return update(compute_loss, optimizer)

    def after_step(self, progress: float) -> None:
        """Act after a step that was applied."""

    # around evaluation
    def evaluating(self) -> AbstractContextManager[Any]:
        """A context around evaluation and around the saving of the final weights."""
        return nullcontext()

    def evaluated(self, score: float) -> None:
        """Hear the validation score, signed so that higher is better."""

    def events(self) -> list[str]:
        """What happened since it was last asked, in lines for the record."""
        return []

    # what must survive a stop: tensors, numbers, strings, and lists or dicts of them
    def state_dict(self) -> dict[str, Any]:
        """State to store in a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""


PLACES = tuple(name for name in vars(Places) if not name.startswith("_") and not name.endswith("state_dict"))


def total_loss(loss: Any) -> Tensor:
    """The scalar to minimise: the loss itself, or the sum of a dict of them."""
    if isinstance(loss, Mapping):
        return sum(value.reshape(()) for value in loss.values())  # type: ignore[no-any-return]
    return loss  # type: ignore[no-any-return]


def plain_backward(loss: Any) -> None:
    """Gradients of the loss, or of the sum of several."""
    total_loss(loss).backward()  # type: ignore[no-untyped-call]


def plain_update(compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
    """Clear gradients, forward, backward, step."""
    optimizer.zero_grad(set_to_none=True)
    compute_loss()
    optimizer.step()
    return True


def overrides(thing: Places, place: str) -> bool:
    """Whether `thing` does something of its own at `place`."""
    return getattr(type(thing), place) is not getattr(Places, place)


@dataclasses.dataclass(frozen=True)
class Method(Places):
    """One speed-up: fields are hyper-parameters, class variables are facts. State never lives here."""

    slot: ClassVar[str] = ""  # at most one method of a recipe may fill a slot
    after: ClassVar[tuple[str, ...]] = ()  # methods or slots that act earlier wherever both act
    exact: ClassVar[bool] = False  # changes results by rounding at most
    needs: ClassVar[frozenset[str]] = frozenset()  # facts about workload and machine, see `diagnose.misfit.FACTS`
    devices: ClassVar[tuple[str, ...]] = ()  # proved on several that "replicate" the network, or "shard" it
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = types.MappingProxyType({})  # what a search may try

    def __init_subclass__(cls) -> None:
        for name in cls.__annotations__:
            if name in (*PLACES, "start"):  # the field would hide the place
                raise BadValue(f"{cls.__name__}.{name}: a field may not have the name of a place: choose another")

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            where = f"{type(self).__name__}.{field.name}"
            value = checked(where, getattr(self, field.name), hints[field.name], field.metadata)
            object.__setattr__(self, field.name, value)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        """What acts inside the loop: this description itself, or an object that owns the method's state."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from names and values; an unknown name is refused."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown(f"argument of {cls.__name__} called", str(name), known)
        return cls(**values)

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"
