"""The terminal's view of a search: what is tried, what was kept, what it cost, and the best so far."""

from __future__ import annotations

import shutil
import sys
import time

PAUSE = 10.0  # seconds at least between two plain lines about what is being tried


class View:
    """Lines that stay, and on a terminal one line at the bottom that changes; writes to stderr only.

    Args:
        quiet: True shows nothing.
        price: money for an hour of a device, shown as spent so far.
        devices: that are held.

    Example:
        >>> View(quiet=True).say("kept")
        'kept'
    """

    def __init__(self, quiet: bool | None = None, price: float | None = None, devices: int = 1) -> None:
        self.quiet, self.price, self.devices, self.best = quiet is True, price, devices, "the base"
        self.terminal = not self.quiet and quiet is None and sys.stderr.isatty()
        self._spoke = 0.0

    def say(self, text: str) -> str:
        """Show a line that stays, and return it."""
        if not self.quiet:
            print(("\r\x1b[2K" if self.terminal else "") + text, file=sys.stderr, flush=True)
        return text

    def trying(self, what: str, spent: float, limit: float) -> None:
        """Show what is being done now.

        Args:
            what: in a few words.
            spent: seconds of the search so far.
            limit: seconds it has in all.
        """
        if self.quiet:
            return
        text = f"{clock(spent)} of {clock(limit)}{self.money(spent)} · best: {self.best} · {what}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r\x1b[2K" + text[:width], end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._spoke > PAUSE:
            self._spoke = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def money(self, seconds: float) -> str:
        """What so much time costs on all devices, if an hour has a price."""
        return "" if self.price is None else f" · {self.price * self.devices * seconds / 3600:.2f} spent"

    def close(self) -> None:
        """Leave the changing line."""
        if self.terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds.

    >>> clock(75.4), clock(4.2)
    ('1:15', '0:04')
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
