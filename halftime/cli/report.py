"""Write one self-contained HTML page about a proof, or about runs."""

from __future__ import annotations

import argparse
from typing import Any

from halftime.cli import arguments as read
from halftime.errors import BadValue


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("records", nargs="+", metavar="PROOF|RUN", help="ids, or the unique starts of them")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="where to write the page")
    parser.add_argument("--json", action="store_true", help="what the page shows, as one JSON document on stdout")


def run(given: argparse.Namespace) -> int:
    """Render the page."""
    from halftime.ledger.store import Ledger
    from halftime.measure.proof import Proof
    from halftime.report.page import proof_page, runs_page

    read.check_out(given.out)
    ledger = Ledger()
    folders = [ledger.find(name) for name in given.records]
    if folders[0].parent.name == "proofs":
        if len(folders) > 1:
            raise BadValue("a page is about one proof, or about runs: give one proof")
        proof = Proof.load(folders[0], ledger)
        content: Any = proof.to_dict()
        page = proof_page(proof)
    else:
        runs = [ledger.run(name) for name in given.records]
        content, page = [one.to_dict() for one in runs], runs_page(runs)
    read.write_page(given.out, page)
    read.print_json(content) if given.json else print(f"wrote {given.out}")
    return 0
