"""List the runs in the ledger."""

from __future__ import annotations

import argparse
import json
import time

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(given: argparse.Namespace) -> int:
    """Print one line a run, oldest first."""
    from halftime.ledger.index import refresh
    from halftime.ledger.store import Ledger
    from halftime.report.tables import table

    ledger = Ledger()
    rows = refresh(ledger)
    if given.json:
        for row in rows:
            row["recipe"] = json.loads(row.pop("content"))
            row.pop("seen")
        print_json(rows)
    elif not rows:
        print(f"no runs yet in {ledger.root}: try `halftime train digits`")
    else:
        head = ["run", "when", "workload", "recipe", "seed", "state", "score", "to target s", "seconds", "part of"]
        print(
            table(
                head,
                [
                    [
                        r["id"],
                        time.strftime("%m-%d %H:%M", time.localtime(r["started"])),
                        r["workload"],
                        r["recipe"][:60],
                        r["seed"],
                        r["verdict"],
                        r["score"],
                        r["hit_by"],
                        r["seconds"],
                        r["part"],
                    ]
                    for r in rows
                ],
            )
        )
    return 0
