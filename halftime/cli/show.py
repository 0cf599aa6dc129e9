"""Show one run of the ledger."""

from __future__ import annotations

import argparse

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("run", metavar="RUN", help="a run's id, or the unique start of it")
    parser.add_argument("--json", action="store_true", help="the record as one JSON document")


def run(given: argparse.Namespace) -> int:
    """Print the record: summary, recipe, evaluations, events, fingerprint."""
    from halftime.ledger.store import Ledger
    from halftime.report.tables import summary, table

    found = Ledger().run(given.run)
    if given.json:
        print_json(found.to_dict())
        return 0
    print(summary(found))
    print("\nmethods\n" + ("\n".join(f"  {m}" for m in found.recipe.methods) or "  none: the bare loop"))
    names = list(dict.fromkeys(name for e in found.evaluations for name in e.scores))
    rows = [
        [e.step, f"{e.progress:.0%}", e.seconds, e.score, e.loss, *(e.scores.get(name) for name in names)]
        for e in found.evaluations
    ]
    print("\n" + table(["step", "progress", "seconds", "score", "loss", *names], rows))
    for event in found.events:
        print(f"event: {event}")
    machine, packages = found.fingerprint["machine"], found.fingerprint["packages"]
    print("\n" + ", ".join(f"{k} {v}" for k, v in {**machine, **packages}.items()))
    return 0
