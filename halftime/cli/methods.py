"""List the speed-ups there are, and what each was measured to give."""

from __future__ import annotations

import argparse
from typing import Any

from halftime.cli.arguments import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(given: argparse.Namespace) -> int:
    """Print each method as it is written with its defaults, with one line about it, and then the evidence."""
    from halftime.measure.prior import evidence
    from halftime.methods import ALL

    rows = [
        {
            "name": m.__name__,
            "written": str(m()),
            "about": (m.__doc__ or "").splitlines()[0],
            "slot": m.slot,
            "exact": m.exact,
            "needs": sorted(m.needs),
            "evidence": evidence(m.__name__),
        }
        for m in ALL
    ]
    if given.json:
        print_json(rows)
        return 0
    for row in rows:
        print(f"{row['name']:18} {row['about']}\n{'':18} {row['written']}")
    _table(rows)
    return 0


def _table(rows: list[dict[str, Any]]) -> None:
    """What was measured, a line for each method, workload and class of device; then what was not."""
    from halftime.measure.prior import helps
    from halftime.report.tables import table

    lines, nowhere = [], []
    for row in rows:
        lines += [[row["name"], *line(entry)] for entry in row["evidence"]]
        for device in sorted({entry["device"] for entry in row["evidence"]}):
            nowhere += [] if helps(row["evidence"], device) else [f"{row['name']} ({device})"]
    if lines:
        head = ["method", "workload", "device", "as soon at the target (95 %)", "score", "time of a run", "verdict"]
        print("\n" + table(head, lines))
        told = [entry for row in rows for entry in row["evidence"] if entry["ratio"]]
        print(f"{len(told)} comparisons: of so many, some {0.025 * len(told):.1f} would look like gains by luck alone")
    if nowhere:
        print(f"no evidence here, and off in a search: {', '.join(nowhere)}")
    if missing := [row["name"] for row in rows if not row["evidence"]]:
        print(f"not measured yet: {', '.join(missing)}")


def line(entry: dict[str, Any]) -> list[str]:
    """Workload, device, gain with its interval, score, cost and verdict of one entry."""
    from halftime.evidence.record import shown

    quality, cost = entry.get("quality"), entry.get("cost")
    return [
        entry["workload"]["name"],
        entry["device"],
        shown(entry["ratio"]),
        "–" if quality is None or quality["estimate"] is None else f"{quality['estimate']:+.4f}",
        "–" if cost is None else f"{cost:.2f}×",
        entry["verdict"],
    ]
