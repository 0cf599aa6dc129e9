"""Priors: what a method may be expected to gain, from what halftime itself measured, before anything is tried here.

`evidence/<method>.json` holds what a method gained on halftime's own workloads. A method without evidence is not tried
unless it is asked for by name; where no evidence is at hand at all, each method counts as promising as any other.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from halftime.measure.statistics import spread
from halftime.places import Method

DEFAULT = (0.0, 0.15)  # mean and standard deviation of the log of the gain in time
WIDEST = 0.5  # another workload may well behave otherwise: evidence is never worth more than so little spread ...
NARROWEST = 0.08  # ... nor less than that
PACKAGE = Path(__file__).parent.parent


def prior(method: type[Method]) -> tuple[float, float] | None:
    """What a method may be expected to gain.

    Args:
        method: a class of methods.

    Returns:
        Mean and standard deviation of the log of the gain in time; None where there is evidence for others and none
        for this one.
    """
    known = _evidence()
    if not known:
        return DEFAULT
    logs = known.get(method.__name__)
    if not logs:
        return None
    mean = math.fsum(logs) / len(logs)
    return mean, min(WIDEST, max(NARROWEST, 2 * (spread(logs) or NARROWEST)))


@functools.cache
def _evidence() -> dict[str, list[float]]:
    """Logs of the gains in time that were measured, by the class of the method."""
    folders = (PACKAGE / "_evidence", PACKAGE.parent / "evidence")  # installed, or in a checkout
    folder = next((path for path in folders if path.is_dir()), None)
    found: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*.json")) if folder else []:
        try:
            content = json.loads(path.read_text())
        except ValueError:
            continue
        logs = [math.log(ratio) for ratio in _ratios(content)]
        if logs:
            found[str(content.get("method", path.stem))] = logs
    return found


def _ratios(content: Any) -> Iterator[float]:
    """Every estimated ratio of times in a file of evidence."""
    for row in content.get("results", []) if isinstance(content, dict) else []:
        ratio = row.get("ratio") if isinstance(row, dict) else None
        ratio = ratio.get("estimate") if isinstance(ratio, dict) else ratio
        if isinstance(ratio, (int, float)) and 0 < ratio < math.inf:
            yield float(ratio)
