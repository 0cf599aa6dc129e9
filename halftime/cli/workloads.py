"""List the workloads that can be trained out of the box."""

from __future__ import annotations

import argparse

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(given: argparse.Namespace) -> int:
    """Print the name of each and a line about it."""
    from halftime.workloads import ALL

    if given.json:
        print_json([{"name": name, "about": one.about} for name, one in ALL.items()])
        return 0
    for name, one in ALL.items():
        print(f"{name:24} {one.about}")
    return 0
