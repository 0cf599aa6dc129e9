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
from halftime.measure.judge import PROVED
from halftime.measure.matched import matched, timed
from halftime.measure.prior import FORMAT, Entry, read, stem
from halftime.measure.statistics import Interval, difference
from halftime.run import Run

Runs = list[list[Run]]  # of an arm: for each seed one a length, the whole length last


def entry(
    comparison: Comparison,
    workload: dict[str, Any],
    runs: dict[str, Runs],
    rates: dict[str, dict[str, Any]],
    head: dict[str, Any],
) -> Entry:
    """What came of a comparison.

    Args:
        comparison: what was trained.
        workload: the record of it in a run.
        runs: of each arm.
        rates: of each arm: the rate, why, and what finding it cost.
        head: key, device, date, code, packages, machine.
    """
    sign = 1.0 if workload["better"] == "higher" else -1.0
    target, judging = sign * workload["target"], comparison.method.slot == "judging"
    ratio = _soon(runs["base"], runs["fast"], sign, target, exact=comparison.method.exact, judging=judging)
    beside = _soon(runs["control"], runs["fast"], sign, target) if "control" in runs else None
    verdict = "no evidence here" if _nothing(comparison, runs) else _verdict(ratio)
    if beside is not None and verdict in ("gain", "provisional") and beside.low <= 1.0:
        verdict = "no gain"  # as many samples drawn at random do as well
    whole = {name: [one[-1] for one in found] for name, found in runs.items()}
    return {
        **_about(comparison, head),
        "workload": workload,
        "verdict": verdict,
        "words": _words(verdict, ratio, beside, workload["target"], whole),
        "seeds": len(runs["base"]),
        "ratio": _interval(ratio),
        "quality": _interval(_better(whole["base"], whole["fast"], sign)),
        "cost": _cost(whole["base"], whole["fast"]),
        "against_control": _interval(beside),
        "arms": {name: _told(name, found, rates) for name, found in runs.items()},
        "device_seconds": math.fsum(run.device_seconds for found in runs.values() for one in found for run in one),
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


def _soon(
    base: Runs, fast: Runs, sign: float, target: float, *, exact: bool = False, judging: bool = False
) -> Interval:
    """How many times as soon a training of the fast arm ends at the target.

    Of an exact method the seconds alone count; those of one that acts where a network is judged, judging included.
    """

    def point(run: Run) -> tuple[float, float | None]:
        score = _score(run)
        return run.device_seconds if judging else run.seconds, None if score is None else sign * score

    slow, quick = ([[point(run) for run in one] for one in arm] for arm in (base, fast))
    if not exact or any(score is None for arm in (slow, quick) for one in arm for _, score in one):
        return matched(slow, quick, target)
    return timed(*([[seconds for seconds, _ in one] for one in arm] for arm in (slow, quick)))


def _nothing(comparison: Comparison, runs: dict[str, Runs]) -> bool:
    """Whether a method that may change results changed none: there was nothing for it to do."""
    scores = [[_score(run) for one in runs[arm] for run in one] for arm in ("base", "fast")]
    return not comparison.method.exact and scores[0] == scores[1] and None not in scores[0]


def _verdict(ratio: Interval) -> str:
    if ratio.high < 1.0:
        return "harm"
    if ratio.low > 1.0:
        return "gain" if ratio.n >= PROVED else "provisional"
    return "no gain"


def _better(base: list[Run], fast: list[Run], sign: float) -> Interval | None:
    ended = [(_score(b), _score(f)) for b, f in zip(base, fast, strict=True)]
    both = [(sign * b, sign * f) for b, f in ended if b is not None and f is not None]
    return difference([b for b, _ in both], [f for _, f in both]) if both else None


def _score(run: Run) -> float | None:
    """Its final score, None where it did not come to its end: what it had on the way cannot be compared."""
    ended = run.state == "finished" and run.score is not None and math.isfinite(run.score)
    return run.score if ended else None


def _cost(base: list[Run], fast: list[Run]) -> float | None:
    """How many times as long a whole training takes, whatever it reaches."""
    logs = [math.log(f.seconds / b.seconds) for b, f in zip(base, fast, strict=True) if f.state == b.state]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def _told(name: str, runs: Runs, rates: dict[str, dict[str, Any]]) -> dict[str, Any]:
    whole = [one[-1] for one in runs]
    return {
        "recipe": whole[0].recipe.to_dict(),
        "tuning": rates[name],
        "runs": [[run.id for run in one] for one in runs],
        "states": [[run.state for run in one] for one in runs],
        "seconds_to_target": [run.hit[1] if run.hit else None for run in whole],
        "seconds": [[run.seconds for run in one] for one in runs],
        "scores": [[_score(run) for run in one] for one in runs],
        "joules": [run.joules for run in whole],
    }


def _interval(one: Interval | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(one).items()}


def _words(verdict: str, ratio: Interval, beside: Interval | None, target: float, runs: dict[str, list[Run]]) -> str:
    """The verdict in a sentence."""
    text = f"{verdict}: a training ends at {target:g} {shown(_interval(ratio))} as soon, over {ratio.n} pairs of seeds"
    if verdict == "no evidence here":
        return f"{verdict}: it changed nothing on any of {ratio.n} seeds"
    failed = {name: sum(run.state == "failed" for run in found) for name, found in runs.items()}
    if any(failed.values()):
        text += "; failed: " + ", ".join(f"{n} {name}" for name, n in failed.items() if n) + " runs"
    elif (ratio.low, ratio.high) == (0.0, math.inf):
        return f"{verdict}: longer training does not clearly end better on {ratio.n} seeds, so nothing is concluded"
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
