"""What a step changes, to go back to: copies in memory, and where the generators stood."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Snapshots:
    """The last two snapshots of a network and its optimizer: going back takes the older, the newer may hold the harm.

    Weights, buffers and the optimizer's tensors are kept, and the numbers in its groups, such as the steps that an
    average has seen; the rates are not, a schedule sets them.

    Args:
        model: the network.
        optimizer: of its weights.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> kept, before = Snapshots(net, torch.optim.SGD(net.parameters(), lr=0.1)), net.weight.item()
        >>> kept.keep()
        >>> _ = net.weight.data.fill_(float("nan"))
        >>> kept.go_back()
        >>> net.weight.item() == before
        True
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self._kept: deque[tuple[list[Tensor], list[dict[str, Any]]]] = deque(maxlen=2)

    @torch.no_grad()
    def keep(self) -> None:
        """Make one; the oldest of more than two is given up."""
        tensors, numbers = self._tensors(), [_numbers(g) for g in self.optimizer.param_groups]
        old = self._kept.popleft()[0] if len(self._kept) == 2 else []
        if [t.shape for t in old] != [t.shape for t in tensors]:
            old = [t.clone() for t in tensors]
        else:  # into the same memory: fresh memory costs more than the copy
            torch._foreach_copy_(old, tensors)
        self._kept.append((old, numbers))

    @torch.no_grad()
    def go_back(self) -> None:
        """Put the older one back, and give up the newer; what the optimizer had not gathered yet, it gathers anew."""
        tensors, numbers = self._kept[0]
        while len(self._kept) > 1:
            self._kept.pop()
        if len(tensors) < len(self._tensors()):  # older than some of the optimizer's state
            self.optimizer.state.clear()
        now = self._tensors()
        torch._foreach_copy_(now, tensors[: len(now)])
        for group, own in zip(self.optimizer.param_groups, numbers, strict=True):
            group.update(own)

    def _tensors(self) -> list[Tensor]:
        state = [t for s in self.optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
        return [t.detach() for t in (*self.model.parameters(), *self.model.buffers(), *state)]


class Generators:
    """The generators from which a step draws: that of the processor, and that of a CUDA device.

    Args:
        device: where the network lies.

    Example:
        >>> generators = Generators(torch.device("cpu"))
        >>> before, first = generators.states(), torch.rand(3)
        >>> generators.put_back(before)
        >>> torch.equal(first, torch.rand(3))
        True
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None

    def states(self) -> list[Tensor]:
        """Where they stand."""
        states = [torch.get_rng_state()]
        return states if self._cuda is None else [*states, torch.cuda.get_rng_state(self._cuda)]

    def put_back(self, states: list[Tensor]) -> None:
        """Let them stand there again, any number of times."""
        torch.set_rng_state(states[0])
        if self._cuda is not None:
            torch.cuda.set_rng_state(states[1], self._cuda)


def _numbers(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if isinstance(v, (int, float)) and k not in ("lr", "initial_lr")}
