"""Is there shared memory for the batches that processes hand over? In containers there often is next to none.

For whatever serves through processes of its own; a keeper goes by what it measures (`gauge.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from halftime.data.limits import shared_memory

PLENTY = 2 << 30  # bytes of free shared memory with which nobody need count
RAISE = "in a container, raise it with --shm-size=8g or --ipc=host"


def fitting(size: Callable[[], int], workers: int, ahead: int, free: int | None = None) -> tuple[int, int, str]:
    """(workers, ahead, what to tell): as many as shared memory has room for, and none where it has no room.

    Args:
        size: bytes of a batch; only asked where there is little room.
        workers: wanted.
        ahead: batches of each, wanted.
        free: bytes; looked up if None.

    Example:
        >>> fitting(lambda: 8 << 20, workers=4, ahead=2, free=60 << 20)[:2]
        (4, 1)
    """
    free = _free() if free is None else free
    if free is None or free >= PLENTY:
        return workers, ahead, ""
    each = max(1, size())
    room = int(free * 0.8) // each - 1  # one more is in use by the step
    fits_ahead = min(ahead, max(1, room // workers))
    fits = min(workers, room // fits_ahead) if room > 0 else 0
    if (fits, fits_ahead) == (workers, ahead):
        return workers, ahead, ""
    instead = f"{fits} with {fits_ahead} ahead each" if fits else "none: batches are made in turn"
    need = (workers * ahead + 1) * each
    return fits, fits_ahead, (
        f"shared memory has {free >> 20} MiB free, {workers} loader processes with {ahead} batches ahead each need "
        f"{-(-need // 2**20)} MiB; used instead: {instead}; {RAISE}"
    )  # fmt: skip


def _free() -> int | None:
    """Free bytes of shared memory; None where it is not a file system."""
    if not sys.platform.startswith("linux"):
        return None
    return shared_memory() or 0
