"""Several heads on one trunk: the gradient of each alone, and weights of their losses that follow the training."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import apply
from halftime.notes import Later
from halftime.places import Backward, ComputeLoss, Places, Update, plain_backward

SAID = 100  # steps for each line in the record
Rows = list[list[Tensor | None]]  # of each head: its gradient in each weight, or none where it does not reach


def head_gradients(losses: Mapping[str, Tensor], weights: Sequence[Tensor], keep: bool = True) -> Rows:
    """The gradient of each head's loss alone; nothing is added to `.grad`.

    Args:
        losses: a scalar for each head.
        weights: what to differentiate in.
        keep: whether the graph is kept for a backward pass that follows.

    Returns:
        A list for each head, with a gradient or None for each weight.

    Example:
        >>> w = torch.ones(2, requires_grad=True)
        >>> head_gradients({"a": w[0], "b": 3 * w[1]}, [w])
        [[tensor([1., 0.])], [tensor([0., 3.])]]
    """
    last = len(losses) - 1
    return [
        list(torch.autograd.grad(loss.reshape(()), weights, retain_graph=keep or i < last, allow_unused=True))
        for i, loss in enumerate(losses.values())
    ]


def graph_kept() -> AbstractContextManager[Any]:
    """A context for steps whose graph is gone through more than once, also where torch compiles it.

    Returns:
        Inside, torch plans no graph whose buffers can be used but once.

    Example:
        >>> with graph_kept():
        ...     pass
    """
    config = importlib.import_module("torch._functorch.config")  # no public name says it, but its error message does
    kept: AbstractContextManager[Any] = config.patch(donated_buffer=False)
    return kept


def added(one: Rows, other: Rows) -> Rows:
    """The sum of the gradients of two pieces of a batch.

    Args:
        one: of a piece, or empty.
        other: of another.

    Returns:
        Rows of the same form.

    Example:
        >>> added([[torch.ones(1), None]], [[torch.ones(1), None]])
        [[tensor([2.]), None]]
    """
    if not one:
        return other
    pairs = [zip(a, b, strict=True) for a, b in zip(one, other, strict=True)]
    return [[b if a is None else a if b is None else a + b for a, b in row] for row in pairs]


def trunk_of(rows: Rows) -> list[int]:
    """Which weights more than one head reaches.

    Args:
        rows: gradients of each head.

    Returns:
        Their places in a row.

    Example:
        >>> trunk_of([[torch.ones(1), torch.ones(1), None], [torch.ones(1), None, torch.ones(1)]])
        [0]
    """
    columns = zip(*rows, strict=True)
    return [i for i, column in enumerate(columns) if sum(g is not None for g in column) > 1]


def jacobian(rows: Rows, trunk: Sequence[int]) -> Tensor:
    """The gradients of the heads in the trunk, one under another.

    Args:
        rows: gradients of each head.
        trunk: places in a row.

    Returns:
        [heads, all numbers in the trunk]; zeros where a head does not reach.

    Example:
        >>> jacobian([[torch.ones(2), None], [None, torch.ones(1)]], [0, 1])
        tensor([[1., 1., 0.],
                [0., 0., 1.]])
    """
    parts = []
    for i in trunk:
        column = [row[i] for row in rows]
        nothing = torch.zeros_like(next(g for g in column if g is not None))
        parts.append(torch.stack([nothing if g is None else g for g in column]).reshape(len(rows), -1))
    return torch.cat(parts, 1)


class HeadWeights:
    """Equal weights of several losses, and what every rule for others shares.

    In your own loop: the sum of `weighed(losses)` is what to differentiate; `step` follows each optimizer step.

    Example:
        >>> HeadWeights().weighed({"a": torch.tensor(2.0), "b": torch.tensor(3.0)})
        {'a': tensor(2.), 'b': tensor(3.)}
    """

    KEPT: tuple[str, ...] = ("weights",)  # tensors that survive a stop

    def __init__(self) -> None:
        self.names, self.steps = list[str](), 0
        self.weights, self.seen = torch.ones(0), torch.zeros(0)  # of each head; its loss in this step

    def begin(self) -> None:
        """Forget the losses of a step that is done once more."""
        self.seen = torch.zeros(0)

    def weighed(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a batch, or of a piece of it, each times its weight."""
        self.note(losses)
        return {name: weight * loss for weight, (name, loss) in zip(self.weights, losses.items(), strict=True)}

    def note(self, losses: Mapping[str, Tensor]) -> None:
        """Add the losses to those of the step."""
        found = torch.stack([loss.detach().reshape(()).float() for loss in losses.values()])
        self.seen = self.seen + found if len(self.seen) else found
        if not self.names:
            self.names, self.weights = list(losses), torch.ones_like(found)

    def step(self, progress: float = 0.0) -> None:  # noqa: ARG002 - a rule may go by it
        """Look at the losses of the step that was applied."""
        self.steps += 1
        self.begin()

    def state(self) -> dict[str, Any]:
        """What must survive a stop."""
        return {"names": self.names, "steps": self.steps, **{name: getattr(self, name) for name in self.KEPT}}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value.to(device) if isinstance(value, Tensor) else value)


def weighing(compute_loss: ComputeLoss, rule: HeadWeights) -> ComputeLoss:
    """The same forward and backward passes, with the losses weighed on the way.

    Args:
        compute_loss: called with `backward`, which takes a dict of losses.
        rule: weighs them.

    Returns:
        A function like it; the losses that the loop records stay as they were.

    Example:
        >>> seen = []
        >>> weighing(lambda backward: backward({"a": torch.ones(())}), HeadWeights())(seen.append)
        >>> seen
        [{'a': tensor(1.)}]
    """

    def compute(backward: Backward = plain_backward) -> None:
        rule.begin()
        compute_loss(backward=lambda losses: backward(rule.weighed(losses)))

    return compute


def heads_of(model: nn.Module, inputs: Any) -> list[str]:
    """The names of a network's heads; the network stays as it was.

    Args:
        model: gives a dict of outputs.
        inputs: of a batch.

    Returns:
        The names; none where its output is no dict.

    Example:
        >>> heads_of(nn.Identity(), {"input": {"near": torch.ones(1), "far": torch.ones(1)}})
        ['near', 'far']
    """
    training = model.training
    with torch.no_grad():
        model.eval()
        outputs = apply(model, inputs)
        model.train(training)
    return list(outputs) if isinstance(outputs, Mapping) else []


class Weighing(Places):
    """Weighs losses in the loop by a rule, and tells the record its weights now and then.

    Args:
        rule: the weights.
        device: of the network.
        teller: the method, for the record.

    Example:
        >>> acting = Weighing(HeadWeights(), torch.device("cpu"), "Equal")
        >>> acting.after_step(0.0)
        >>> acting.state_dict()["steps"]
        1
    """

    def __init__(self, rule: HeadWeights, device: torch.device, teller: str) -> None:
        self.rule, self.device, self.teller, self.later = rule, device, teller, Later()

    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        """The update, on weighed losses."""
        return update(weighing(compute_loss, self.rule), optimizer)

    def after_step(self, progress: float) -> None:
        """Let the rule look at a step that was applied."""
        self.rule.step(progress)
        if self.rule.steps % SAID == 0 and self.later.free:
            self.later.send(self.rule.weights)

    def events(self) -> list[str]:
        """The weights, now and then."""
        each = [f"{name} {w:.2f}" for name, w in zip(self.rule.names, self.later.come(), strict=False)]
        return [f"{self.teller}: by step {self.rule.steps} the losses weigh {', '.join(each)}"] * bool(each)

    def state_dict(self) -> dict[str, Any]:
        """That of the rule."""
        return self.rule.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.rule.restore(state, self.device)
