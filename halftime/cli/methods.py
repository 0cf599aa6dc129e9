"""List the speed-ups there are."""

from __future__ import annotations

import argparse

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(given: argparse.Namespace) -> int:
    """Print each method as it is written with its defaults, and one line about it."""
    from halftime.methods import ALL

    rows = [
        {
            "name": m.__name__,
            "written": str(m()),
            "about": (m.__doc__ or "").splitlines()[0],
            "slot": m.slot,
            "exact": m.exact,
            "needs": sorted(m.needs),
        }
        for m in ALL
    ]
    if given.json:
        print_json(rows)
        return 0
    for row in rows:
        print(f"{row['name']:18} {row['about']}\n{'':18} {row['written']}")
    return 0
