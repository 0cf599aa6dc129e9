"""Keep a bad step from ending a training.

What: a step whose loss or gradient is no number, or whose loss leaps, is tried once more. If it is still bad, a layer
that overflowed leaves 16 bits, or the batch is skipped; if the next is bad too, the weights go back to a snapshot.
Paper: Chowdhery et al. 2022, "PaLM" (section 5.1): batches around a spike, skipped by hand.
Costs: a look at loss and gradient each step, which waits for the device, and two copies of weights and optimizer state.
Fails when: more steps are bad than may be: the training stops and says why. Averages that others keep stay.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.blame import Blame
from halftime.errors import Diverged
from halftime.overflow import agreed, in_32_bits, noting, overflow_hooks
from halftime.places import Backward, ComputeLoss, Method, Places, Update, plain_backward, plain_update
from halftime.settings import setting
from halftime.snapshots import Generators, Snapshots

COUNTS = ("rate", "steps", "bad", "row", "refused")  # what a guard counts, and stores
MOST, FEW, MEMORY = 0.01, 5, 64  # share of steps that may be bad, and how many always; losses remembered


class _Bad(Exception):
    """A step that must not be applied, and why."""


class StepGuard:
    """Does optimizer steps, and none that would do harm; multiply your learning rate by `rate`, which it may halve.

    Args:
        model: the network.
        optimizer: its optimizer.
        spike: a loss above this many times the largest remembered one is a leap.
        every: steps between two snapshots of weights and optimizer state; the last two are kept.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> guard = StepGuard(net, torch.optim.SGD(net.parameters(), lr=0.1))
        >>> guard.step(lambda backward: backward(net(torch.ones(1)).sum() * float("nan")), samples=lambda: [7])
        False
        >>> guard.told
        ['skipped a batch: the loss is nan, the gradient nan, also when tried once more: samples [7], or the weights']
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, spike: float = 3.0, every: int = 25) -> None:
        self.model, self.optimizer, self.spike, self.every = model, optimizer, spike, every
        self.losses = deque[float](maxlen=MEMORY)
        self.rate, self._loss = 1.0, 0.0
        self.steps, self.bad, self.row, self.refused = 0, 0, 0, 0
        self.raised, self.told = list[str](), list[str]()  # layers that compute in 32 bits by now; what happened
        self._generators = Generators(next(model.parameters()).device)
        self.snapshots, self._buffers = Snapshots(model, optimizer), [*model.buffers()]

    def step(self, compute_loss: ComputeLoss, update: Update = plain_update, samples: Callable[[], Any] = list) -> bool:
        """One optimizer step or none; says which.

        `compute_loss` must call the `backward` it is given; `samples` gives the ids that may be to blame.
        """
        if self.steps % self.every == 0 and not self.row + self.refused:  # once at each count of steps: harm stays out
            self.snapshots.keep()
            self._buffers = [*self.model.buffers()]
        before = self._generators.states(), [b.clone() for b in self._buffers]
        why = self._why_not(compute_loss, update)
        if why and (why := self._once_more(why, compute_loss, update, before)):
            self._put_back(before)
            self._skip(why, samples())
            return False
        self.refused = 0 if self._applied else self.refused + 1
        if self.refused == FEW:
            self._go_back("loss scaling refused one step after another")
        if self._applied:
            self.losses.append(self._loss)
            self.steps, self.row = self.steps + 1, 0
        return self._applied

    def _once_more(self, why: str, compute_loss: ComputeLoss, update: Update, before: Any) -> str:
        """Try the batch again, with the layers that overflow in 32 bits; why that did not help, or nothing."""
        raised: dict[str, Callable[[], None]] = {}
        for _ in range(FEW):
            self._put_back(before)
            found: list[str] = []
            with overflow_hooks(self.model, found):
                again = self._why_not(compute_loss, update)
            if not again or not (layer := agreed(self.model, found)):
                break
            raised[layer] = in_32_bits(self.model.get_submodule(layer))
        if again:
            [undo() for undo in raised.values()]
            return again
        cure = f"{', '.join(raised)} in 32 bits" if raised else "no change: hardware or chance, not the data"
        self.told.append(f"a step was bad ({why}), and good with {cure}")
        self.raised += raised
        return ""

    def _why_not(self, compute_loss: ComputeLoss, update: Update) -> str:
        """Do the update, unless its loss or gradient forbids it; the reason, or nothing if it was done."""

        def looked_at(backward: Backward = plain_backward) -> None:
            seen: list[Tensor] = []
            compute_loss(backward=noting(backward, seen))
            self._check(torch.stack(seen).sum(), scaled=backward is not plain_backward)

        try:
            self._applied = update(looked_at, self.optimizer)
            return ""
        except _Bad as reason:
            return str(reason)

    def _check(self, loss: Tensor, scaled: bool) -> None:
        """Forbid the step where need be; a gradient that was scaled may overflow, its scaler looks after that."""
        grads = [] if scaled else [p.grad for p in self.model.parameters() if p.grad is not None]
        self._loss = size = float(loss)
        size = float(torch.stack(torch._foreach_norm(grads)).sum()) if grads else size
        most = max(self.losses, default=0.0)
        if not math.isfinite(self._loss + size):
            raise _Bad(f"the loss is {self._loss:g}, the gradient {size:g}")
        if self.steps >= FEW and self._loss > self.spike * most > 0:
            raise _Bad(f"the loss leapt to {self._loss:.3g} from {most:.3g} at most")

    def _put_back(self, before: tuple[list[Tensor], list[Tensor]]) -> None:
        self._generators.put_back(before[0])
        torch._foreach_copy_(self._buffers, before[1]) if before[1] else None

    def _skip(self, why: str, samples: Any) -> None:
        self.bad, self.row = self.bad + 1, self.row + 1
        self.told.append(f"skipped a batch: {why}, also when tried once more: samples {samples or '?'}, or the weights")
        if self.bad > max(FEW, MOST * self.steps):
            raise Diverged(f"{self.bad} of {self.steps + self.bad} steps were bad, the last since {why}: stopped")
        self._go_back("the next batch was bad too") if self.row > 1 else None

    def _go_back(self, why: str) -> None:
        self.snapshots.go_back()
        self.rate /= 2
        self.told.append(f"{why}: went back to a snapshot, at {self.rate:g} times the rate")


@dataclasses.dataclass(frozen=True)
class Guard(Method):
    """Keep a bad step from ending a training.

    Args:
        spike: a loss above this many times the largest remembered one is a leap.
        every: steps between two snapshots.
    """

    spike: float = setting(3.0, above=1)
    every: int = setting(25, low=1)

    slot: ClassVar[str] = "guard"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    exact: ClassVar[bool] = True

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Guarding(StepGuard(model, optimizer, self.spike, self.every), feed)


class _Guarding(Places):
    def __init__(self, guard: StepGuard, feed: Any) -> None:
        self.guard, self.feed, self.blame = guard, feed, Blame()

    def lr_factor(self, progress: float) -> float:
        return self.guard.rate

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.inputs, targets, self.feed.served.ids = self.blame.without(inputs, targets, self.feed.served.ids)
        return self.inputs, targets

    def suspects(self) -> list[int]:
        found, out = self.blame.on(self.inputs, self.feed.served.ids)
        self.guard.told += [f"samples {out} are left out from now on"] if out else []
        return found

    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        return self.guard.step(compute_loss, update, self.suspects)

    def events(self) -> list[str]:
        told, self.guard.told = self.guard.told, []
        return told

    def state_dict(self) -> dict[str, Any]:
        lists = {"losses": [*self.guard.losses], "blamed": [*self.blame.times.elements()]}
        return {n: getattr(self.guard, n) for n in (*COUNTS, "raised")} | lists

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self.guard).update({name: state[name] for name in (*COUNTS, "raised")})
        self.guard.losses.extend(state["losses"])
        self.blame.times.update(state["blamed"])
        for name in self.guard.raised:
            in_32_bits(self.guard.model.get_submodule(name))
        self.guard.snapshots.keep()  # of where it goes on: those before the stop are lost
