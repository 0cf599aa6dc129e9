"""Notes: what a method did once, in lines for the record of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from halftime.places import Places


class Notes(Places):
    """Says its lines when it is first asked, and never again in the same run, over any number of stops.

    Args:
        lines: what happened, one fact each.

    Example:
        >>> notes = Notes(["Dropout removed"])
        >>> notes.events(), notes.events()
        (['Dropout removed'], [])
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines, self.said = lines, False

    def events(self) -> list[str]:
        """The lines, once."""
        told, self.said = ([] if self.said else self.lines), True
        return told

    def state_dict(self) -> dict[str, Any]:
        """Whether they were said."""
        return {"said": self.said}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take that back."""
        self.said = state["said"]


class Later:
    """Numbers on their way from a device, for a line in the record: nothing waits for them.

    Example:
        >>> later = Later()
        >>> later.come()
        []
        >>> later.send(torch.tensor([1.0, 2.0]))
        >>> later.come(), later.come()
        ([1.0, 2.0], [])
    """

    def __init__(self) -> None:
        self._numbers: Tensor | None = None
        self._event: Any = None

    @property
    def free(self) -> bool:
        """Whether nothing is on its way."""
        return self._numbers is None

    def send(self, numbers: Tensor) -> None:
        """Start a copy to the host."""
        cuda = numbers.is_cuda
        self._numbers = numbers.detach().to("cpu", non_blocking=cuda)
        self._event = torch.cuda.current_stream(numbers.device).record_event() if cuda else None

    def come(self) -> list[Any]:
        """The numbers, once, if they have come by now; else nothing."""
        if self._numbers is None or not (self._event is None or self._event.query()):
            return []
        found, self._numbers = self._numbers.tolist(), None
        return found
