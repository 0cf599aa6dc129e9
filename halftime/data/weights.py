"""Weights that travel with the targets of a batch to its loss, and the losses of single samples that come back.

A loss that is the mean over samples is taken apart, weighed and put together again. What it said of each sample is
written into the tag, so that micro-batches, which are slices of it, write into the same place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from halftime.data.batch import mapped, size

Loss = Callable[[Any, Any], Any]


def tagged(targets: Any, weights: Tensor) -> dict[str, Any]:
    """Targets with a weight for each sample and room for its loss.

    Args:
        targets: a nest of tensors with B rows.
        weights: float32 [B], on their device.

    Example:
        >>> tagged(torch.tensor([3, 4]), torch.ones(2))["targets"]
        tensor([3, 4])
    """
    return {"targets": targets, "weights": weights, "losses": torch.full_like(weights, torch.nan)}


class Apart:
    """The loss of each sample, from a loss that is their mean.

    Args:
        loss: (outputs, targets) -> a scalar.

    Example:
        >>> Apart(torch.nn.functional.l1_loss)(torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1))
        tensor([1., 2.])
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._plain = "reduction" in _parameters(loss)  # torch's own say it themselves
        self._together = True

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Losses [B]."""
        if self._plain:
            losses: Tensor = self.loss(outputs, targets, reduction="none")  # type: ignore[call-arg]
            return losses.flatten(1).mean(1) if losses.ndim > 1 else losses
        if self._together:
            try:
                return self._at_once(outputs, targets)
            except RuntimeError:  # a loss that looks at values, or picks rows by them
                self._together = False
        rows = [itemgetter(slice(i, i + 1)) for i in range(size(outputs))]
        return torch.stack([self._of(mapped(outputs, row), mapped(targets, row)) for row in rows])

    def _at_once(self, outputs: Any, targets: Any) -> Tensor:
        def one(output: Any, target: Any) -> Tensor:
            return self._of(mapped(output, lambda t: t[None]), mapped(target, lambda t: t[None]))

        made: Tensor = torch.vmap(one, in_dims=(_rows(outputs), _rows(targets)))(outputs, targets)
        return made

    def _of(self, outputs: Any, targets: Any) -> Tensor:
        made: Tensor = self.loss(outputs, targets)
        return made.reshape(())


def weighed(apart: Apart, outputs: Any, targets: Mapping[str, Any]) -> Tensor:
    """The mean of the weighed losses; each sample's own is left in the tag.

    Args:
        apart: gives the losses of single samples.
        outputs: of the network, B rows.
        targets: what `tagged` returned, or a slice of it.

    Returns:
        A scalar.

    Example:
        >>> tag = tagged(torch.zeros(2, 1), torch.tensor([1.0, 3.0]))
        >>> weighed(Apart(torch.nn.functional.l1_loss), torch.tensor([[1.0], [2.0]]), tag), tag["losses"]
        (tensor(3.5000), tensor([1., 2.]))
    """
    losses = apart(outputs, targets["targets"])
    with torch.no_grad():
        targets["losses"].copy_(losses)
    total: Tensor = (losses * targets["weights"]).mean()
    return total


def _rows(tree: Any) -> Any:
    """What `torch.vmap` wants to know: 0 for a tensor with a row for each sample, None for anything else."""
    if isinstance(tree, Tensor):
        return 0
    if isinstance(tree, Mapping):
        return {key: _rows(value) for key, value in tree.items()}
    return type(tree)(map(_rows, tree)) if type(tree) in (list, tuple) else None


def _parameters(loss: Any) -> Any:
    try:
        found = inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return ()
    named = found.get("reduction")
    return found if named is not None and named.default == "mean" else ()
