"""Priors: what a method may be expected to gain, from what halftime itself measured, before anything is tried here.

`evidence/<method>.json` holds what a method gained on halftime's own workloads, an entry for each and each class of
device. A method without evidence is not tried unless it is asked for by name; where no evidence is at hand at all, each
method counts as promising as any other.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

from halftime.measure.statistics import spread
from halftime.places import Method

DEFAULT = (0.0, 0.15)  # mean and standard deviation of the log of the gain in time
WIDEST = 0.5  # another workload may well behave otherwise: evidence is never worth more than so little spread ...
NARROWEST = 0.08  # ... nor less than that
PACKAGE = Path(__file__).parent.parent
FOLDERS = (PACKAGE / "_evidence", PACKAGE.parent / "evidence")  # installed, or in a checkout


def prior(method: type[Method], device: str = "cpu", folders: tuple[Path, ...] = FOLDERS) -> tuple[float, float] | None:
    """What a method may be expected to gain.

    Args:
        method: a class of methods.
        device: class of device, "cpu" or the name of a GPU; what was measured on another says nothing.
        folders: where evidence may lie; the first that is there counts.

    Returns:
        Mean and standard deviation of the log of the gain in time; None where there is evidence for others and none
        for this one.
    """
    known = _evidence(device, folders)
    if not known:
        return DEFAULT
    logs = known.get(method.__module__.rpartition(".")[2])
    if not logs:
        return None
    mean = math.fsum(logs) / len(logs)
    return mean, min(WIDEST, max(NARROWEST, 2 * (spread(logs) or NARROWEST)))


@functools.cache
def _evidence(device: str, folders: tuple[Path, ...]) -> dict[str, list[float]]:
    """Logs of the gains in time that were measured on a class of device, by the method's file."""
    folder = next((path for path in folders if path.is_dir()), None)
    found: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*.json")) if folder else []:
        try:
            entries = json.loads(path.read_text())["entries"]
            logs = [_log(entry) for entry in entries if entry["device"] == device]
        except (ValueError, KeyError, TypeError):  # not a file of evidence
            continue
        if any(log is not None for log in logs):
            found[path.stem] = [log for log in logs if log is not None]
    return found


def _log(entry: dict[str, Any]) -> float | None:
    estimate = (entry.get("ratio") or {}).get("estimate")
    return math.log(estimate) if isinstance(estimate, (int, float)) and 0 < estimate < math.inf else None
