"""Verify: recompute what the records say of themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from halftime.errors import HalftimeError
from halftime.ledger.lines import Record, read
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.run import attempt_files


@dataclasses.dataclass
class Checked:
    """How much was looked at, and what is wrong."""

    runs: int = 0
    proofs: int = 0
    open: int = 0  # without an end record, so without a digest to check
    wrong: list[str] = dataclasses.field(default_factory=list)


def verify(ledger: Ledger) -> Checked:
    """Compare every file with the digest in its end record, and every proof with its runs and with its verdict."""
    checked = Checked()
    for folder in ledger.runs:
        checked.runs += 1
        _digests(folder, checked)
    for folder in ledger.noises:
        _digests(folder, checked)
    for folder in ledger.proofs:
        checked.proofs += 1
        records = _digests(folder, checked)
        judged = next((r for r in reversed(records) if r["kind"] == "judged"), None)
        if judged is not None:
            _verdict(folder, judged, ledger, checked)
    for folder in ledger.tunes:
        _digests(folder, checked)
    return checked


def _digests(folder: Path, checked: Checked) -> list[Record]:
    records: list[Record] = []
    for path in attempt_files(folder):
        found, intact = read(path)
        records += found
        if intact is None:
            checked.open += 1
        elif not intact:
            checked.wrong.append(f"{path} is not what its end record says")
    return records


def _verdict(folder: Path, judged: Record, ledger: Ledger, checked: Checked) -> None:
    for run, digest in judged["runs"].items():
        files = attempt_files(ledger.root / "runs" / run)
        if not files or read(files[-1])[0][-1].get("digest") != digest:
            checked.wrong.append(f"run {run} is not the one that proof {folder.name} was judged by")
    try:
        now = Proof.load(folder, ledger)
    except (HalftimeError, KeyError, ValueError, TypeError) as error:
        checked.wrong.append(f"proof {folder.name} can no longer be judged: {error}")
        return
    if now.verdict != judged["verdict"] or now.words != judged["words"]:
        checked.wrong.append(f"proof {folder.name} was '{judged['verdict']}' and is '{now.verdict}' by its runs now")
