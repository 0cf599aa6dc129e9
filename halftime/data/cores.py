"""How many cores this process may use: the affinity mask and the control group's quota, whichever is less."""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def cores(groups: Path = _GROUPS) -> float:
    """Cores that may be used, possibly a fraction.

    Args:
        groups: where control groups are mounted.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(own), *(q for q in (_second(groups), _first(groups / "cpu")) if q)])


def _second(folder: Path) -> float | None:
    """Version 2 of control groups: "quota period", or "max period"."""
    fields = _text(folder / "cpu.max").split()
    return int(fields[0]) / int(fields[1]) if len(fields) == 2 and fields[0].isdigit() else None


def _first(folder: Path) -> float | None:
    """Version 1: two files; a quota of -1 is none."""
    quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
