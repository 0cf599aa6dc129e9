"""Verify: recompute what the records say of themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from halftime.errors import HalftimeError
from halftime.ledger.lines import Record, read
from halftime.ledger.store import Ledger
from halftime.measure.ablation import Ablation
from halftime.measure.proof import Proof
from halftime.measure.receipt_check import check
from halftime.run import attempt_files


@dataclasses.dataclass
class Checked:
    """How much was looked at, and what is wrong."""

    runs: int = 0
    proofs: int = 0
    ablations: int = 0
    receipts: int = 0
    open: int = 0  # without an end record, so without a digest to check
    wrong: list[str] = dataclasses.field(default_factory=list)


def verify(ledger: Ledger) -> Checked:
    """Compare every file with the digest in its end record, every proof, ablation and receipt with its runs."""
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
    for folder in (*ledger.tunes, *ledger.searches):
        _digests(folder, checked)
    for folder in ledger.ablations:
        checked.ablations += 1
        _ablation(folder, _digests(folder, checked), ledger, checked)
    for folder in ledger.receipts:
        checked.receipts += 1
        for record in _digests(folder, checked):
            if record["kind"] == "receipt":
                content = record["content"]
                checked.wrong += [f"receipt of proof {content.get('proof')}: {line}" for line in check(content, ledger)]
    return checked


def _ablation(folder: Path, records: list[Record], ledger: Ledger, checked: Checked) -> None:
    """Compare the runs of an ablation with those that it was worked out from, and its words with what they say now."""
    judged = [record for record in records if record["kind"] == "judged"]
    for run, digest in judged[-1]["runs"].items() if judged else ():
        if _digest_of(run, ledger) != digest:
            checked.wrong.append(f"run {run} is not the one that ablation {folder.name} was worked out from")
    if not judged:
        return
    try:
        now = Ablation.load(folder, ledger)
    except (HalftimeError, KeyError, ValueError, TypeError) as error:
        checked.wrong.append(f"ablation {folder.name} can no longer be worked out: {error}")
        return
    if now.complete and now.words != judged[-1]["words"]:
        checked.wrong.append(f"ablation {folder.name} said '{judged[-1]['words']}', its runs say '{now.words}'")


def _digest_of(run: str, ledger: Ledger) -> str | None:
    """What the end record of a run says that it digests to."""
    files = attempt_files(ledger.root / "runs" / run)
    records = read(files[-1])[0] if files else []
    return records[-1].get("digest") if records else None


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
        if _digest_of(run, ledger) != digest:
            checked.wrong.append(f"run {run} is not the one that proof {folder.name} was judged by")
    try:
        now = Proof.load(folder, ledger)
    except (HalftimeError, KeyError, ValueError, TypeError) as error:
        checked.wrong.append(f"proof {folder.name} can no longer be judged: {error}")
        return
    if now.verdict != judged["verdict"] or now.words != judged["words"]:
        checked.wrong.append(f"proof {folder.name} was '{judged['verdict']}' and is '{now.verdict}' by its runs now")
