"""Workload: what is learned and how it is judged. Nothing about speed: it is the control of every experiment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from halftime.data.feed import as_dataset
from halftime.errors import BadValue, shorten
from halftime.places import Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What is learned, from which data, and when it is good enough.

    Args:
        name: a short name; the ledger groups runs by it.
        model: makes a fresh network; called once a run, after seeding.
        train: training samples: a map-style data set, or a tuple of tensors (inputs, targets).
        valid: validation samples, likewise.
        loss: (outputs, targets) -> a scalar tensor, or a dict of them (their sum is minimised).
        score: (outputs, targets) -> one value a sample, or the batch's mean; or an object with `reset`,
            `update(outputs, targets)` and `compute()`, as torchmetrics has.
        target: the validation score that is good enough, if there is one.
        better: whether a "higher" or a "lower" score is better.
        margin: how much worse a final score still counts as the same quality; 0.5 % of the target if None.
        evaluations: how many times a run is judged, evenly over its progress.

    A sample is a tensor (input and target at once), a pair (inputs, targets), or a dict whose targets stand
    under "targets", "target", "labels" or "label". Dict inputs reach the network as keyword arguments.

    Raises:
        BadValue, BadData: at once, where a field cannot be right.

    Example:
        >>> import halftime as ht, torch
        >>> x = torch.randn(64, 4)
        >>> w = ht.Workload(name="sign", model=lambda: nn.Linear(4, 2), train=(x, (x[:, 0] > 0).long()),
        ...                 valid=(x, (x[:, 0] > 0).long()), loss=nn.functional.cross_entropy,
        ...                 score=ht.accuracy, target=0.9)
        >>> w.reached(0.95)
        True
    """

    name: str
    model: Callable[[], nn.Module]
    train: Any
    valid: Any
    loss: Loss
    score: Any
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"
    margin: float | None = None
    evaluations: int = 20

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise BadValue(f"a workload's name must be a printable text, not {shorten(self.name)}")
        for field in ("model", "loss"):
            if not callable(getattr(self, field)) or (isinstance(getattr(self, field), nn.Module) and field == "model"):
                raise BadValue(
                    f"{field} must be a function, not {shorten(getattr(self, field))}"
                    + ("; a run needs a fresh network: give a function that makes one" * (field == "model"))
                )
        if self.better not in ("higher", "lower"):
            raise BadValue(f"better must be 'higher' or 'lower', not {shorten(self.better)}")
        for field, value, low in (("target", self.target, -math.inf), ("margin", self.margin, 0)):
            if value is not None and not (isinstance(value, (int, float)) and low <= value < math.inf):
                raise BadValue(f"{field} must be a finite number{' of at least 0' * (low == 0)}, not {shorten(value)}")
        limits = getattr(self.score, "range", None)
        if self.target is not None and limits and not limits[0] <= self.target <= limits[1]:
            raise BadValue(f"target {self.target:g} is outside the score's range {limits[0]:g} to {limits[1]:g}")
        if isinstance(self.evaluations, bool) or not isinstance(self.evaluations, int) or self.evaluations < 1:
            raise BadValue(f"evaluations must be a whole number of at least 1, not {shorten(self.evaluations)}")
        for field in ("train", "valid"):
            object.__setattr__(self, field, as_dataset(getattr(self, field), f"{self.name}: {field}"))

    @property
    def tolerance(self) -> float:
        """The margin of non-inferiority, as given or 0.5 % of the target."""
        return self.margin if self.margin is not None else 0.005 * abs(self.target or 0.0)

    def signed(self, score: float) -> float:
        """The score with its sign turned so that higher is better."""
        return score if self.better == "higher" else -score

    def reached(self, score: float) -> bool:
        """Whether a score meets the target."""
        return self.target is not None and self.signed(score) >= self.signed(self.target)
