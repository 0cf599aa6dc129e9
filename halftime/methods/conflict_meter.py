"""Tell how often the heads of a network pull its trunk in opposite directions.

What: every few steps, the gradient of each head's loss is taken alone, and the cosine of each two in the weights that
both reach goes into the record: the share of the steps in which they oppose one another, and the mean.
Paper: Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", which calls a negative cosine a conflict.
Costs: one more backward pass for each head in the steps that are looked at, and memory for as many gradients.
Fails when: the heads share no weights, or batches are so small that their gradients are mostly noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.heads import Rows, added, graph_kept, head_gradients, jacobian, trunk_of
from halftime.notes import Later
from halftime.places import Backward, ComputeLoss, Method, Places, Update, plain_backward
from halftime.settings import setting

LOOKS = 10  # steps looked at for each line in the record


def cosines(matrix: Tensor) -> Tensor:
    """The cosine of each two rows.

    Args:
        matrix: [heads, n].

    Returns:
        [pairs], in the order (0, 1), (0, 2), ..., (1, 2), ...; zero where a row is zero.

    Example:
        >>> cosines(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]]))
        tensor([-1.,  0.,  0.])
    """
    unit = torch.nn.functional.normalize(matrix, dim=1)
    first, second = torch.triu_indices(len(matrix), len(matrix), 1, device=matrix.device)
    return (unit @ unit.T)[first, second]


class ConflictCounter:
    """Counts conflicts, on the device.

    Args:
        weights: of the network.

    Example:
        >>> w = torch.ones(1, requires_grad=True)
        >>> counter = ConflictCounter([w])
        >>> counter.look({"up": w.sum(), "down": -w.sum()})
        >>> counter.pairs, counter.counts
        (['up and down'], tensor([[ 1., -1.]]))
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = list(weights)
        self.pairs, self.counts = list[str](), torch.zeros(0, 2)  # of each pair: conflicts, and the sum of cosines

    def looking(self, compute_loss: ComputeLoss) -> ComputeLoss:
        """The same forward and backward passes, which are looked at on the way; done again, the last one counts."""
        before = self.counts

        def compute(backward: Backward = plain_backward) -> None:
            rows: Rows = []

            def both(losses: Any) -> None:
                rows[:] = added(rows, self._rows(losses))
                backward(losses)

            compute_loss(backward=both)
            self._count(rows, before)

        return compute

    def look(self, losses: Mapping[str, Tensor]) -> None:
        """Look at the losses of one step, before their backward pass."""
        self._count(self._rows(losses), self.counts)

    def _rows(self, losses: Mapping[str, Tensor]) -> Rows:
        names = list(losses)
        self.pairs = [f"{one} and {other}" for i, one in enumerate(names) for other in names[i + 1 :]]
        return head_gradients(losses, [w for w in self.weights if w.requires_grad])  # some may be frozen by now

    def _count(self, rows: Rows, before: Tensor) -> None:
        trunk = trunk_of(rows)
        found = cosines(jacobian(rows, trunk)) if trunk else torch.zeros(len(self.pairs), device=self.weights[0].device)
        self.counts = torch.stack([(found < 0).to(found), found], 1) + (before if len(before) else 0.0)


@dataclasses.dataclass(frozen=True)
class ConflictMeter(Method):
    """Tell how often the heads pull the trunk in opposite directions.

    Args:
        every: steps from one that is looked at to the next.
    """

    every: int = setting(20, low=1)

    slot: ClassVar[str] = "meter"
    after: ClassVar[tuple[str, ...]] = ("guard",)
    exact: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"heads"})

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Metering(ConflictCounter([*model.parameters()]), self.every)


class _Metering(Places):
    def __init__(self, counter: ConflictCounter, every: int) -> None:
        self.counter, self.every, self.later = counter, every, Later()
        self.tried, self.looks = 0, 0

    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        self.tried += 1
        looking, before = self.tried % self.every == 0, self.counter.counts
        with graph_kept():  # in every step: the one that compiles need not be one that is looked at
            applied = update(self.counter.looking(compute_loss) if looking else compute_loss, optimizer)
        if looking and applied:
            self.looks += 1
        elif looking:  # what was left out is no step
            self.counter.counts = before
        return applied

    def events(self) -> list[str]:
        if self.looks >= LOOKS and self.later.free:
            self.later.send(self.counter.counts / self.looks)
            self.counter.counts, self.looks = torch.zeros(0, 2), 0
        found = self.later.come()
        each = [f"{p} in {n:.0%} (mean cosine {c:.2f})" for p, (n, c) in zip(self.counter.pairs, found, strict=False)]
        return [f"ConflictMeter: by step {self.tried}, opposed were {', '.join(each)}".replace("%", " %")] * bool(each)

    def state_dict(self) -> dict[str, Any]:
        counter = {"pairs": self.counter.pairs, "counts": self.counter.counts}
        return {"tried": self.tried, "looks": self.looks, **counter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tried, self.looks = state["tried"], state["looks"]
        self.counter.pairs = state["pairs"]
        device = self.counter.weights[0].device
        self.counter.counts = state["counts"].to(device)
