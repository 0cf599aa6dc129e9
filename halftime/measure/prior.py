"""What was measured about methods: the files of `evidence/`, and what a search may expect of a method before it tries.

One file a method, with an entry for each workload and class of device. An entry from a GPU stands beside one from a CPU
and is never mixed with it: nothing is concluded from one about the other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from halftime.errors import BadData
from halftime.measure.statistics import quantile

FORMAT = 2  # of a file
VERDICTS = ("gain", "provisional", "no gain", "harm", "no evidence here")
NEEDED = ("workload", "facts", "device", "date", "verdict", "words", "machine", "packages")
UNKNOWN = 0.2  # standard deviation of the log of gains between methods: what is expected where nothing was measured
TRANSFER = 0.15  # of the log of one method's gain between workloads that share every fact
STRANGE = 0.3  # what is added to it, in proportion to the facts that are not shared
UNCLEAR = 0.5  # standard error of a log gain where a side missed its target, so that the interval is open

Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Prior:
    """What to expect of a method: the log of how many times sooner, its standard deviation, and the cost.

    `cost` is the time of a whole training with the method over that without; `measured` the number of entries behind
    it; `helps` is False where the method was measured on this class of device and gained nowhere: "no evidence here".
    `step` is the log of the gain were its steps as long as those without it; `against` names what it was measured
    against, where that was another method.
    """

    gain: float
    spread: float
    cost: float
    measured: int
    helps: bool
    step: float = 0.0
    against: tuple[str, ...] = ()


def stem(name: str) -> str:
    """The name of a method's file, from that of its class.

    >>> stem("ScheduleFree"), stem("EMA"), stem("AdamW")
    ('schedule_free', 'ema', 'adamw')
    """
    return "adamw" if name == "AdamW" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def folders() -> list[Path]:
    """Where evidence lies, the later before the earlier: what came with halftime, and the working folder's own."""
    package = Path(__file__).resolve().parents[1]
    found = (package / "_evidence", home(), Path("evidence").resolve())
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def home() -> Path:
    """Where evidence is written: in a checkout beside the package, else in the working folder."""
    root = Path(__file__).resolve().parents[2]
    return root / "evidence" if (root / "pyproject.toml").is_file() else Path("evidence").resolve()


def read(path: Path) -> list[Entry]:
    """The entries of one file; none of an older format, which measured something else.

    Args:
        path: `<method>.json`.

    Raises:
        BadData: it is not such a file.
    """
    try:
        content = json.loads(path.read_text())
        entries = content["entries"]
        if content["format"] in range(1, FORMAT):
            return []
        wrong = content["format"] != FORMAT or [e for e in entries for n in NEEDED if n not in e]
        wrong = wrong or [e for e in entries if e["verdict"] not in VERDICTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path} is no evidence ({type(error).__name__}): measure it again") from None
    if wrong:
        raise BadData(f"{path} is of another format or lacks a field: measure it again")
    return list(entries)


def evidence(name: str, places: Iterable[Path] | None = None) -> list[Entry]:
    """All entries about a method, one for each workload and class of device.

    Args:
        name: of the method's class.
        places: folders to look in; a later one replaces what an earlier one says.
    """
    found: dict[tuple[str, str], Entry] = {}
    for folder in folders() if places is None else places:
        path = folder / f"{stem(name)}.json"
        for entry in read(path) if path.is_file() else []:
            found[entry["workload"]["name"], entry["device"]] = entry
    return [found[key] for key in sorted(found)]


def helps(entries: Iterable[Entry], device: str) -> bool | None:
    """Whether a method gained anywhere on a class of device; None where nobody has looked."""
    verdicts = [e["verdict"] for e in entries if e["device"] == device and e["verdict"] != "no evidence here"]
    return any(verdict in ("gain", "provisional") for verdict in verdicts) if verdicts else None


def prior(name: str, facts: Collection[str] = (), device: str = "cpu", places: Iterable[Path] | None = None) -> Prior:
    """What a search may expect of a method on a workload that it has not tried it on.

    What was measured elsewhere counts the more, the clearer it was and the more facts the workloads share; it is drawn
    towards no gain at all, which is what most methods turn out to give.

    Args:
        name: of the method's class.
        facts: of the workload, as `halftime.diagnose.misfit.inspect` finds them.
        device: the class of device, "cpu" or the name of a GPU.
        places: folders to look in; those of `folders` if None.

    Example:
        >>> prior("EMA", places=[]).gain, prior("EMA", places=[]).measured
        (0.0, 0)
    """
    entries = [e for e in evidence(name, places) if e["device"] == device]
    usable = [e for e in entries if e.get("ratio")]
    weights, total, step = [1 / UNKNOWN**2], 0.0, 0.0
    for entry in usable:
        log, error = _log(entry["ratio"])
        weights.append(1 / (error**2 + (TRANSFER + STRANGE * _strange(facts, entry["facts"])) ** 2))
        total += weights[-1] * log
        step += weights[-1] * (log + math.log(entry.get("cost") or 1.0))
    costs = [math.log(entry["cost"]) for entry in usable if entry.get("cost")]
    return Prior(
        gain=total / math.fsum(weights),
        spread=1 / math.sqrt(math.fsum(weights)),
        cost=math.exp(math.fsum(costs) / len(costs)) if costs else 1.0,
        measured=len(usable),
        helps=helps(entries, device) is not False,
        step=step / math.fsum(weights),
        against=tuple(sorted({str(entry.get("against", "")) for entry in usable})),
    )


def _log(ratio: Mapping[str, Any]) -> tuple[float, float]:
    """A ratio's logarithm and its standard error."""
    low, high, n = ratio["low"], ratio["high"], ratio["n"]
    if not low or not high or n < 2:
        return math.log(ratio["estimate"]), UNCLEAR
    return math.log(ratio["estimate"]), math.log(high / low) / (2 * quantile(0.975, n - 1))


def _strange(one: Collection[str], other: Collection[str]) -> float:
    """The share of facts that two workloads do not share; 0 where nothing is known of one."""
    union = {*one, *other}
    return 1 - len({*one} & {*other}) / len(union) if one and union else 0.0
