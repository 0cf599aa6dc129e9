"""Blame: which samples stood out in bad batches, and leaving out those for which that was no chance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from halftime.data.batch import mapped, suspects

FEW = 5  # samples that can be blamed at once: where more stand out, it is not them


class Blame:
    """Counts how often samples alone stood out in a bad batch; one blamed for two batches is left out from then on.

    Example:
        >>> blame, broken = Blame(), torch.tensor([[1.0], [float("nan")], [2.0]])
        >>> [blame.on(broken, torch.tensor([4, 5, 6])) for _ in range(2)]
        [([5], []), ([5], [5])]
        >>> blame.without(broken, torch.zeros(3), torch.tensor([4, 5, 6]))[0].tolist()
        [[1.0], [2.0]]
    """

    def __init__(self) -> None:
        self.times = Counter[int]()

    def on(self, inputs: Any, ids: Tensor) -> tuple[list[int], list[int]]:
        """The samples that may be to blame for a bad batch, and those that are left out because of it.

        Args:
            inputs: of the batch, nested tensors with B rows.
            ids: of its samples, [B].
        """
        found = suspects(inputs, ids)
        if len(found) >= min(FEW, len(ids)):
            return found, []
        self.times.update(found)
        return found, [sample for sample in found if self.times[sample] == 2]

    def without(self, inputs: Any, targets: Any, ids: Tensor) -> tuple[Any, Any, Tensor]:
        """A batch and its ids without the samples that are left out; as it is where nothing else would be left."""
        out = [sample for sample, times in self.times.items() if times > 1]
        stay = ~torch.isin(ids, torch.tensor(out)) if out else None
        if stay is None or stay.all() or not stay.any():
            return inputs, targets, ids
        rows = stay.nonzero()[:, 0]
        return *(mapped(part, lambda t: t[rows.to(t.device)]) for part in (inputs, targets)), ids[stay]
