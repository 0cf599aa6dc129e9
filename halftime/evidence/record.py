"""The record of a measurement: one entry for each workload and class of device, in one file a method."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halftime.diagnose.misfit import FACTS
from halftime.evidence.grounds import Comparison
from halftime.ledger.checkpoint import replace
from halftime.measure.judge import PROVED, Arm, judge
from halftime.measure.prior import FORMAT, Entry, read, stem
from halftime.measure.statistics import Interval, Pair, speedup
from halftime.measure.tuned import Tuning
from halftime.recipe import Recipe
from halftime.run import Run

_VERDICTS = {"proved": "gain", "provisional": "provisional", "worse": "harm"}


def entry(
    comparison: Comparison,
    workload: dict[str, Any],
    runs: dict[str, list[Run]],
    rates: dict[str, dict[str, Any]],
    head: dict[str, Any],
) -> Entry:
    """What came of a comparison.

    Args:
        comparison: what was trained.
        workload: the record of it in a run.
        runs: of each arm, in the order of the seeds.
        rates: of each arm: the rate, why, and what finding it cost.
        head: key, device, date, code, packages, machine.
    """
    arms = {name: _arm(found[0].recipe, found) for name, found in runs.items()}
    found = judge(arms["base"], arms["fast"], workload, len(runs["base"]))
    beside = speedup(_pairs(runs["control"], runs["fast"])) if "control" in runs else None
    verdict = _VERDICTS.get(found["verdict"], "no gain")
    if beside is not None and verdict in ("gain", "provisional") and beside.low <= 1.0:
        verdict = "no gain"  # as many samples drawn at random do as well
    return {
        **_about(comparison, head),
        "workload": workload,
        "verdict": verdict,
        "words": _words(verdict, found["ratio"], beside, workload["target"], runs),
        "seeds": len(runs["base"]),
        "ratio": _interval(found["ratio"]),
        "quality": _interval(found["quality"]),
        "cost": _cost(runs["base"], runs["fast"]),
        "against_control": _interval(beside),
        "arms": {name: _told(name, found, rates) for name, found in runs.items()},
        "device_seconds": math.fsum(run.device_seconds for found in runs.values() for run in found),
    }


def unmeasured(comparison: Comparison, reason: str, head: dict[str, Any]) -> Entry:
    """The entry of a method that cannot work on a ground, and why not."""
    return {
        **_about(comparison, head),
        "workload": {"name": comparison.ground.name},
        "verdict": "no evidence here",
        "words": f"not measured: {reason}",
        "ratio": None,
    }


def written(folder: Path, method: str, entries: Sequence[Entry]) -> Path:
    """Put entries into a method's file, each in the place of the one of its workload and class of device.

    One that rests on more seeds stays.

    Args:
        folder: of evidence; made where it is not there.
        method: name of the class.
        entries: new ones.

    Returns:
        The file. It holds the old content or the new, whole, whatever happens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem(method)}.json"
    old = read(path) if path.is_file() else []
    found: dict[tuple[str, str], Entry] = {}
    for one in (*old, *entries):
        place = one["device"], one["workload"]["name"]
        if place not in found or one.get("seeds", 0) >= found[place].get("seeds", 0):
            found[place] = one
    content = {"format": FORMAT, "method": method, "entries": [found[key] for key in sorted(found)]}
    replace(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return path


def _about(comparison: Comparison, head: dict[str, Any]) -> Entry:
    replaced = sorted(
        {type(m).__name__ for m in comparison.base.methods} - {type(m).__name__ for m in comparison.fast.methods}
    )
    return {
        "written": str(comparison.method),
        "against": " + ".join(replaced) or "the recipe without it",
        "facts": sorted(comparison.ground.facts & {*FACTS}),
        **head,
    }


def _arm(recipe: Recipe, runs: list[Run]) -> Arm:
    return Arm(recipe, tuple(runs), Tuning(None, (), None))


def _pairs(base: list[Run], fast: list[Run]) -> list[Pair]:
    return [(b.hit and b.hit[1], b.seconds, f.hit and f.hit[1], f.seconds) for b, f in zip(base, fast, strict=True)]


def _cost(base: list[Run], fast: list[Run]) -> float | None:
    """How many times as long a whole training takes, whatever it reaches."""
    logs = [math.log(f.seconds / b.seconds) for b, f in zip(base, fast, strict=True) if f.state == b.state]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def _told(name: str, runs: list[Run], rates: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "recipe": runs[0].recipe.to_dict(),
        "tuning": rates[name],
        "runs": [run.id for run in runs],
        "states": [run.state for run in runs],
        "seconds_to_target": [run.hit[1] if run.hit else None for run in runs],
        "seconds": [run.seconds for run in runs],
        "scores": [run.score if run.score is not None and math.isfinite(run.score) else None for run in runs],
        "joules": [run.joules for run in runs],
    }


def _interval(one: Interval | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(one).items()}


def _words(verdict: str, ratio: Interval, beside: Interval | None, target: float, runs: dict[str, list[Run]]) -> str:
    """The verdict in a sentence."""
    missed = {name: sum(run.hit is None for run in found) for name, found in runs.items()}
    text = f"{verdict}: reaches {target:g} {shown(_interval(ratio))} as soon, over {ratio.n} pairs of seeds"
    if any(missed.values()):
        text += "; missed by " + ", ".join(f"{n} {name}" for name, n in missed.items() if n) + " runs"
    if beside is not None:
        text += f"; {shown(_interval(beside))} as soon as with as many samples drawn at random"
    return text if ratio.n >= PROVED else f"{text}; too few to be sure"


def shown(interval: dict[str, Any] | None) -> str:
    """A ratio with its interval, for a table.

    >>> shown({"estimate": 1.234, "low": 1.1, "high": None, "n": 5})
    '1.23× (1.10 to ∞)'
    """
    if interval is None:
        return "–"
    high = "∞" if interval["high"] is None else f"{interval['high']:.2f}"
    return f"{interval['estimate']:.2f}× ({interval['low']:.2f} to {high})"
