"""Notes: what a method did once, in lines for the record of a run."""

from __future__ import annotations

from typing import Any

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
