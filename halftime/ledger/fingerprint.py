"""Fingerprint: which code, packages and machine made a run."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("halftime", "torch", "numpy", "safetensors", "scikit-learn")


def fingerprint(device: torch.device) -> dict[str, Any]:
    """Commit and dirty-diff hash of the working folder, packages, machine.

    Args:
        device: the one that trains; its model is noted.
    """
    return {"code": _code(Path.cwd()), "packages": _packages(), "machine": machine(device.type)}


def machine(device: str) -> dict[str, Any]:
    """What the machine is made of and how the process uses it now; no names of people or hosts."""
    precision = torch.get_float32_matmul_precision()
    now = {"threads": torch.get_num_threads(), **({"matmul": precision} if precision != "highest" else {})}
    return {name: now.get(name, value) for name, value in _made_of(device).items()} | now


@functools.cache
def _made_of(device: str) -> dict[str, Any]:
    """What does not change while the process lives; "threads" holds its place."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found |= {
            "gpu": properties.name,
            "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return found


@functools.cache
def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _code(folder: Path) -> dict[str, Any]:
    """The commit, and a hash of what differs from it in tracked files; empty outside a git checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    diff = _git(folder, "diff", "HEAD")
    return {"commit": commit.decode().strip(), "dirty": hashlib.sha256(diff).hexdigest()[:12] if diff else None}


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
