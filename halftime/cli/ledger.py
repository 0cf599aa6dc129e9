"""Rebuild the ledger's index from the records, or verify that no record was changed."""

from __future__ import annotations

import argparse

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "what", choices=("rebuild", "verify"), help="rebuild the index | recompute every digest and verdict"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(given: argparse.Namespace) -> int:
    """Do it; exit code 1 if a record was changed."""
    from halftime.ledger.index import refresh
    from halftime.ledger.store import Ledger
    from halftime.measure.verify import verify

    ledger = Ledger()
    if given.what == "rebuild":
        rows = refresh(ledger, rebuild=True)
        print_json({"runs": len(rows)}) if given.json else print(f"indexed {len(rows)} runs in {ledger.root}")
        return 0
    checked = verify(ledger)
    if given.json:
        print_json(vars(checked))
    else:
        print(f"{checked.runs} runs and {checked.proofs} proofs checked, {checked.open} of them not ended yet")
        for line in checked.wrong:
            print(f"changed: {line}")
    return 1 if checked.wrong else 0
