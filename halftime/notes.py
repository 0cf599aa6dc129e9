"""What a method has to tell: lines for the record, numbers for them, and scores found before the first step."""

from __future__ import annotations

import time
from collections.abc import Callable
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


class Beforehand(Places):
    """Finds scores of the samples right before the first step, inside the clock; kept over stops, so found once.

    Args:
        find: () -> scores [N]; called by the thread that trains, when network and optimizer stand.
        use: hears the scores, also those that a checkpoint kept.
        said: (seconds) -> a line about it.

    Example:
        >>> heard = []
        >>> once = Beforehand(lambda: 7, heard.append, lambda seconds: "found")
        >>> once.lr_factor(0.0), once.lr_factor(0.1), heard, once.events()
        (1.0, 1.0, [7], ['found'])
    """

    def __init__(self, find: Callable[[], Tensor], use: Callable[[Tensor], Any], said: Callable[[float], str]) -> None:
        self.find, self.use, self.said = find, use, said
        self.found: Tensor | None = None
        self.told: list[str] = []

    def lr_factor(self, progress: float) -> float:  # noqa: ARG002 - only when it is called counts
        """One; the place is the first that a step reaches, before its batch is made and its wait is timed."""
        if self.found is None:
            began = time.perf_counter()
            self.found = self.find()
            self.use(self.found)
            self.told.append(self.said(time.perf_counter() - began))
        return 1.0

    def events(self) -> list[str]:
        """The line, once."""
        told, self.told = self.told, []
        return told

    def state_dict(self) -> dict[str, Any]:
        """The scores."""
        return {} if self.found is None else {"found": self.found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back and use them."""
        if "found" in state:
            self.found = state["found"]
            self.use(self.found)
