"""The speed receipt: one JSON document that can be verified, and one page that shows it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from halftime.errors import writing
from halftime.ledger.checkpoint import replace
from halftime.ledger.store import Ledger
from halftime.measure.ablation import Ablation
from halftime.measure.receipt import Content, keep
from halftime.report import bullets, questions, waterfall
from halftime.report.page import render, taken_apart
from halftime.report.words import NONE, duration, energy, exact, short, times

LOGO = "halftime speed receipt"
LEVELS = "The lower end of an interval holds at 97 %, the upper at 90 %, each on its own; of what was only timed, 95 %."


def receipt_page(receipt: Content, ablation: Ablation | None = None) -> str:
    """A receipt as an HTML document.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.
        ablation: the one that it holds, for its charts.

    Returns:
        The text of the file. It names no host, no user and no absolute path.
    """
    lines, marks = bullets.footnotes(bullets.bullets(receipt))
    search = receipt["search"]
    bars = [
        waterfall.Fall(**{k: bar[k] for k in ("change", "ratio", "low", "high")})
        for bar in (search or {}).get("bars") or ()
    ]
    return render(
        "receipt.html.jinja",
        title=f"Speed receipt: {receipt['workload']['name']} to {short(receipt['workload']['target'])}",
        receipt=receipt,
        ratio=_ratio(receipt),
        sides=[_side(receipt, name) for name in ("before", "after")],
        bullets=lines,
        marks=marks,
        questions=questions.questions(receipt),
        ablation=taken_apart(ablation) if ablation else None,
        kept=_kept(bars),
        levels=LEVELS,
        left_out=_left_out(search) if search else [],
        files=_files(receipt["source"]),
    )


def write(receipt: Content, folder: Path, ledger: Ledger, ablation: Ablation | None = None) -> None:
    """Write receipt.json and receipt.html, and keep the receipt in the ledger, to be verified with it.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.
        folder: made if it is not there.
        ledger: that has its records.
        ablation: the one that it holds.

    Raises:
        StorageError: the disk is full or read-only.
    """
    page = receipt_page(receipt, ablation)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    keep(receipt, ledger)
    replace(folder / "receipt.json", (json.dumps(receipt, indent=2) + "\n").encode())
    replace(folder / "receipt.html", page.encode())


def _ratio(receipt: Content) -> dict[str, str]:
    """The ratio as large as it may be said: nothing but a dash where no gain is claimed."""
    ratio = receipt["ratio"]
    gain = bullets.claimed(receipt)
    if not ratio or ratio["n"] < 2 or "there is no ratio" in receipt["words"]:
        return {"big": NONE, "interval": "no interval"}
    high = "no upper end" if ratio["high"] is None else times(ratio["high"])
    low = times(ratio["low"]) if ratio["low"] > 0 else "no lower end"
    return {
        "big": bullets.cut(gain) if gain else NONE,
        "interval": f"{ratio['bound']} {times(ratio['estimate'])}, {receipt['interval']} {low} to {high}".strip(),
    }


def _side(receipt: Content, name: str) -> dict[str, Any]:
    side = receipt[name]

    def two(field: str, words: Any = duration) -> str:
        value = side[field]
        return f"{words(value['median'])} / {words(value['minimum'])}" if value else "not known"

    hit = side["seconds_to_target"]
    return {
        "name": name,
        "style": {"before": "base", "after": "fast"}[name],
        "recipe": side["recipe_words"],
        "json": json.dumps(side["recipe"], indent=2),
        "reached": f"{side['reached']} of {side['n']}",
        "median": "not reached" if hit["median"] is None else duration(hit["median"]),
        "minimum": "not reached" if hit["minimum"] is None else duration(hit["minimum"]),
        "score": exact(side["score"]["median"]),
        "training": two("training_seconds"),
        "device": two("device_seconds"),
        "energy": two("joules", energy) if side["joules"] else "not counted",
        "money": two("money", lambda v: f"{v:.3g}") if side["money"] else "no price given",
        "tuning": side["tuning"],
    }


def _kept(bars: list[waterfall.Fall]) -> Any:
    """The waterfall of the search that ended in the proof, if there was one."""
    if not bars:
        return ""
    product = 1.0
    for bar in bars:
        product *= bar.ratio or 1.0
    whole = waterfall.Fall("in all", product, product, product)
    return waterfall.chart("kept", "What the search kept", bars, whole)


def _left_out(search: Content) -> list[dict[str, str]]:
    """Each change that the search left out of the final recipe: how soon the target is met then, what became of it."""
    rows = []
    for one in search["left_out"]:
        fall = waterfall.Fall(one["change"], one["ratio"], one["low"] or 0.0, one["high"] or math.inf)
        ratio = NONE if fall.ratio is None else times(fall.ratio)
        ends = waterfall.interval(fall) if fall.ratio is not None else ""
        said = {name: one[name] for name in ("change", "verdict", "why")}
        rows.append(said | {"ratio": ratio, "interval": ends, "runs": str(len(one["runs"]))})
    return rows


def _files(source: Content) -> list[tuple[str, str, str]]:
    """(record, file, SHA-256) of everything that the receipt follows from."""
    found = [(f"run {name}", file, told) for name, files in source["runs"].items() for file, told in files.items()]
    for kind in ("proof", "ablation", "search"):
        found += [(kind, file, told) for file, told in source.get(kind, {}).items()]
    return found
