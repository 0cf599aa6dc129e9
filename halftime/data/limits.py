"""What this process may use: processors, memory and shared memory, as its container and its control groups allow."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path("/")
MIB = 2**20


def cores(root: Path = ROOT) -> float:
    """Processors that this process may use: its affinity, or less if its control group has a quota.

    Example:
        >>> cores() > 0
        True
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder))]
    return min([float(mine), *shares])


def memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that are free: of the machine, or of the control group if it has less. None: not known."""
    lines = _read(root / "proc/meminfo").splitlines()
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    free += [left for folder in _groups(root, "memory") if (left := _left(folder)) is not None]
    return min(free, default=None)


def shared_memory(root: Path = ROOT) -> int | None:
    """Bytes that are free in /dev/shm, through which workers hand over batches. None: there is no such place.

    Elsewhere than on Linux they hand them over without one, and nothing but memory bounds them.
    """
    if root == ROOT and not sys.platform.startswith("linux"):
        return sys.maxsize
    place = root / "dev/shm"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return None
    about = os.statvfs(place)
    return about.f_bavail * about.f_frsize


def private(pids: Iterable[int], root: Path = ROOT) -> list[int]:
    """Bytes that each process holds for itself alone; pages shared with its parent cost nothing."""
    found = []
    for pid in pids:
        lines = _read(root / f"proc/{pid}/smaps_rollup").splitlines()
        found.append(sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_C", "Private_D"))))
    return found


def resident(root: Path = ROOT) -> int:
    """Bytes of this process in memory, shared ones with them: what a worker may come to hold at worst."""
    words = _read(root / "proc/self/statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if words else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):  # not this kernel, not this container
        return ""


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control groups, from its own up to the root; version 2 and version 1."""
    base, found = root / "sys/fs/cgroup", []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = base / controller if controllers else base
        own = top / path.lstrip("/")
        found += [own, *(p for p in own.parents if p.is_relative_to(top))]
    return [*dict.fromkeys([*found, base, base / controller])]


def _quota(folder: Path) -> float | None:
    """Processors by quota; version 2 writes both numbers into one file."""
    words = _read(folder / "cpu.max").split()
    words = words or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    with contextlib.suppress(ValueError, ZeroDivisionError, IndexError):
        quota, period = int(words[0]), int(words[1])
        return quota / period if quota > 0 else None
    return None


def _left(folder: Path) -> int | None:
    """Bytes below the limit; file pages that can be dropped count as free."""
    names = [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")]
    for limit, used in names:
        with contextlib.suppress(ValueError):
            cap, now = int(_read(folder / limit)), int(_read(folder / used))
            stat = dict(line.split()[:2] for line in _read(folder / "memory.stat").splitlines() if " " in line)
            cached = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
            return max(0, cap - max(0, now - cached))
    return None


def capability(device: Any) -> tuple[int, int]:
    """What generation of processor computes.

    Args:
        device: a `torch.device`.

    Returns:
        CUDA's compute capability, such as (8, 0); (0, 0) for any other device.

    Example:
        >>> import torch
        >>> capability(torch.device("cpu"))
        (0, 0)
    """
    import torch  # late: helpers look at limits without it

    there = device.type == "cuda" and torch.cuda.is_available()
    return torch.cuda.get_device_capability(device) if there else (0, 0)
