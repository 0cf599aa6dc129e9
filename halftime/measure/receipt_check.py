"""Whether a receipt is what the records say: its digest, the files behind it, and every number in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from halftime.errors import BadData, HalftimeError, shorten
from halftime.ledger.store import Ledger
from halftime.measure.ablation import Ablation
from halftime.measure.proof import Proof
from halftime.measure.receipt import FORMAT, Content, digest, made_from, search_of, sums

MOST = 20  # differing numbers that are named
SINCE = {"search": {"devices", "money", "proofs", "notes", "left_out", "runs"}, "ablation": {"verdicts"}}  # format 2
OTHERWISE = ("parts", "interaction", "workload", "refused")  # of an ablation, since format 3
KNOWN_THEN = ("digest", "source", "context", "before.tuned", "before.tuning", "after.tuned", "after.tuning")


def load_receipt(path: str | Path) -> Content:
    """A receipt from its file, or from the folder that holds it.

    Raises:
        BadData: it is none.
    """
    path = Path(path)
    path = path / "receipt.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadData(f"there is no receipt {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(f"{path} is not a receipt: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("receipt"), int):
        raise BadData(f"{path} is not a receipt: halftime report PROOF --receipt DIR writes one")
    if content["receipt"] > FORMAT:
        raise BadData(f"{path} is of format {content['receipt']}, newer than {FORMAT}: update halftime")
    return content


def check(content: Content, ledger: Ledger) -> list[str]:
    """What is wrong with a receipt, in lines that name it; empty if nothing is.

    What the ledger knew of other runs at the time (`context` and `tuning`) is held by the digest alone: a ledger may
    learn of older runs later, when another one is merged into it.

    Args:
        content: of the receipt.
        ledger: that has its records.
    """
    wrong = [] if content.get("digest") == digest(content) else ["the receipt was edited: its digest is another"]
    try:
        wrong += list(_files(content["source"], ledger, content))
        again = _again(content, ledger)
        strange = set(content["source"]["runs"]) ^ set(again["source"]["runs"])
        wrong += [f"run {name} is in the receipt's source or in the records, not in both" for name in sorted(strange)]
        found = list(differences(content, again))
    except (HalftimeError, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        return [*wrong, f"the receipt cannot be made again from the records: {type(error).__name__} {error}"]
    more = [f"and {len(found) - MOST} more differ"] if len(found) > MOST else []
    return wrong + found[:MOST] + more


def _again(content: Content, ledger: Ledger) -> Content:
    """The same receipt, made from the records as they are now."""
    made = content["made"]
    proof = Proof.load(ledger.root / "proofs" / content["proof"], ledger)
    taken = content["ablation"]
    ablation = taken and Ablation.load(ledger.root / "ablations" / taken["ablation"], ledger, until=made)
    search = search_of(content["proof"], ledger) if content["search"] else None
    again = made_from(proof, ablation, search, ledger, made, content["price_per_hour"])
    if content["receipt"] < FORMAT:  # an older one is held to what it has
        again["receipt"] = content["receipt"]
        for part, names in SINCE.items():
            given = content[part] or {}
            gone = names - set(given)
            again[part] = again[part] and {name: one for name, one in again[part].items() if name not in gone}
        if taken:  # worked out otherwise since: held by the digest alone
            again["ablation"] |= {name: taken[name] for name in OTHERWISE if name in taken}
    return again


def _files(source: Content, ledger: Ledger, content: Content) -> Iterator[str]:
    """Records that are gone or are not what they were."""
    records = [("run", name, ledger.root / "runs" / name, files) for name, files in source["runs"].items()]
    taken = (("proof", content["proof"], "proofs"),
             ("ablation", (content["ablation"] or {}).get("ablation"), "ablations"),
             ("search", (content["search"] or {}).get("id"), "searches"))  # fmt: skip
    records += [(kind, name, ledger.root / room / name, source[kind]) for kind, name, room in taken if name]
    for kind, name, folder, files in records:
        now = sums(folder)
        if not now:
            yield f"{kind} {name} is not in the ledger {ledger.root}"
            continue
        for file, told in files.items():
            if now.get(file) != told:
                yield f"{kind} {name}: {file} {'was edited' if file in now else 'is gone'}"
        if kind == "run" and set(now) - set(files):
            yield f"run {name}: {', '.join(sorted(set(now) - set(files)))} came later"


def differences(told: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where a receipt and the one that the records give differ.

    Args:
        told: as the receipt has it.
        now: as the records give it.
        where: its place in the document.

    Example:
        >>> list(differences({"ratio": {"low": 2.5}}, {"ratio": {"low": 2.1}}))
        ['ratio.low: the receipt says 2.5, the records give 2.1']
    """
    if isinstance(told, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*told, *now)):
            here = f"{where}.{key}".lstrip(".")
            if here not in KNOWN_THEN:
                yield from differences(told.get(key), now.get(key), here)
    elif isinstance(told, list) and isinstance(now, list) and len(told) == len(now):
        for i, (a, b) in enumerate(zip(told, now, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif not _same(told, now):
        yield f"{where}: the receipt says {shorten(told)}, the records give {shorten(now)}"


def _same(told: Any, now: Any) -> bool:
    numbers = [isinstance(v, (int, float)) and not isinstance(v, bool) for v in (told, now)]
    if all(numbers):
        return math.isclose(told, now, rel_tol=1e-9, abs_tol=1e-12)
    return bool(type(told) is type(now) and told == now)
