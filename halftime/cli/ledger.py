"""Rebuild the ledger's index from the records, or verify that no record, and no receipt, was changed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from halftime.cli.arguments import print_json
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.ledger.store import Ledger


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "what", choices=("rebuild", "verify"), help="rebuild the index | recompute every digest, verdict and receipt"
    )
    parser.add_argument(
        "receipt", nargs="?", metavar="RECEIPT", help="verify this receipt alone: its file, or the folder that holds it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(given: argparse.Namespace) -> int:
    """Do it; exit code 1 if a record or a receipt was changed."""
    from halftime.ledger.index import refresh
    from halftime.ledger.store import Ledger
    from halftime.measure.verify import verify

    ledger = Ledger()
    if given.what == "rebuild":
        if given.receipt is not None:
            raise BadValue(f"rebuild takes no receipt, such as {given.receipt}: did you mean verify?")
        rows = refresh(ledger, rebuild=True)
        print_json({"runs": len(rows)}) if given.json else print(f"indexed {len(rows)} runs in {ledger.root}")
        return 0
    if given.receipt is not None:
        return _receipt(given, ledger)
    checked = verify(ledger)
    if given.json:
        print_json(vars(checked))
    else:
        more = f", {checked.ablations} ablations and {checked.receipts} receipts"
        print(f"{checked.runs} runs and {checked.proofs} proofs{more} checked, {checked.open} of them not ended yet")
        for line in checked.wrong:
            print(f"changed: {line}")
    return 1 if checked.wrong else 0


def _receipt(given: argparse.Namespace, ledger: Ledger) -> int:
    """Make one receipt again from the records, and compare."""
    from halftime.measure.receipt_check import check, load_receipt

    content = load_receipt(given.receipt)
    wrong = check(content, ledger)
    runs = len((content.get("source") or {}).get("runs") or ())
    if given.json:
        print_json({"receipt": given.receipt, "proof": content.get("proof"), "runs": runs, "wrong": wrong})
    else:
        state = f"{len(wrong)} things do not fit" if wrong else "every number follows from the records"
        print(f"receipt of proof {content.get('proof')}, {runs} runs: {state}")
        for line in wrong:
            print(f"changed: {line}")
    return 1 if wrong else 0
