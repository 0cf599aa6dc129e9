"""Short sequences first.

What: sequences are cut into pieces that stand in the batch as samples of their own, so that a step sees as many tokens
as ever; the pieces grow to whole sequences, in steps, before the training ends.
Paper: Li et al. 2022, "The Stability-Efficiency Dilemma: Investigating Sequence Length Warmup for Training GPT Models".
Costs: early steps learn nothing that reaches further than a piece. Saves: attention costs the square of the length.
Fails when: attention is a small part of a step, or what must be learned reaches far from the beginning on.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from torch import Tensor

from halftime.data.batch import mapped
from halftime.places import Method
from halftime.settings import setting


def pieces_at(progress: float, shortest: float = 0.25, until: float = 0.6) -> int:
    """Into how many pieces each sequence is cut.

    Args:
        progress: share of the training done, 0 to 1.
        shortest: the first length as a share of the full one; a little less where that is no whole number of pieces.
        until: the progress from which sequences are whole.

    Returns:
        1 for whole sequences.

    Example:
        >>> [pieces_at(p) for p in (0, 0.1, 0.3, 0.5, 0.6, 1)]
        [4, 3, 2, 2, 1, 1]
    """
    if progress >= until:
        return 1
    wanted = shortest + (1.0 - shortest) * progress / until
    return math.ceil(1.0 / wanted - 1e-9)


def cut(tokens: Tensor, pieces: int) -> Tensor:
    """Sequences cut into pieces of equal length.

    Args:
        tokens: [B, T].
        pieces: how many of each; what does not fill the last one is left out.

    Returns:
        [B * pieces, T // pieces], the pieces of a sequence one after the other; the very same tensor for one piece.

    Example:
        >>> import torch
        >>> cut(torch.tensor([[1, 2, 3, 4, 5]]), pieces=2).tolist()
        [[1, 2], [3, 4]]
    """
    if pieces == 1:
        return tokens
    length = tokens.shape[1] // pieces
    return tokens[:, : length * pieces].reshape(-1, length)


@dataclasses.dataclass(frozen=True)
class SequenceGrowth(Method):
    """Short sequences first.

    Args:
        shortest: the first length as a share of the full one.
        until: the progress from which sequences are whole.
    """

    shortest: float = setting(0.25, above=0, high=1)
    until: float = setting(0.6, low=0, high=1)

    slot: ClassVar[str] = "size"
    needs: ClassVar[frozenset[str]] = frozenset({"tokens"})
    choices: ClassVar = {"shortest": (0.125, 0.25, 0.5), "until": (0.4, 0.6, 0.8)}

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        def shorter(tensor: Tensor) -> Tensor:
            pieces = min(pieces_at(progress, self.shortest, self.until), tensor.shape[1]) if tensor.ndim == 2 else 1
            return cut(tensor, pieces)

        return mapped(inputs, shorter), mapped(targets, shorter)
