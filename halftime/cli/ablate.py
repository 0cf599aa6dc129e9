"""Take a recipe apart: what each of its changes is worth, added alone, left out, and averaged over orders."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from halftime.cli import arguments as read

if TYPE_CHECKING:
    from halftime.measure.ablation import Ablation


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument(
        "--recipe", required=True, metavar="RECIPE", help="what to take apart: JSON or Python file, or a name"
    )
    parser.add_argument("--base", metavar="RECIPE", help="where it begins; by default the recipe's optimizer alone")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each part; 2 or more give intervals")
    parser.add_argument(
        "--orders", type=int, default=8, metavar="N", help="orders of adding, drawn where there are over 3 changes (8)"
    )
    parser.add_argument(
        "--stretch",
        type=int,
        default=4,
        metavar="N",
        help="a part that misses the target is trained again, with up to N times its budget (4; 1: never)",
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="the table as one JSON document")
    parser.add_argument("--csv", metavar="FILE", help="write the table there, a row for each number")
    parser.add_argument("--out", metavar="FILE.html", help="write the page about it here")


def run(given: argparse.Namespace) -> int:
    """Train the parts, then print the waterfall and the table."""
    from halftime.report.page import ablation_page
    from halftime.report.waterfall import to_csv
    from halftime.search.ablate import ablate

    read.check_out(given.out)
    read.check_out(given.csv, "--csv")
    workload, known, source = read.workload(given.workload)
    found = ablate(
        workload,
        read.recipe(given.recipe, known),
        read.recipe(given.base, known) if given.base else None,
        given.seeds,
        orders=given.orders,
        stretch=given.stretch,
        device=given.device,
        source=source,
        quiet=True if given.json else None,
        told=lambda line: print(line, file=sys.stderr),
    )
    if given.csv:
        read.write_page(given.csv, to_csv(found))
    if given.out:
        read.write_page(given.out, ablation_page(found))
    read.print_json(found.to_dict()) if given.json else print(shown(found, shutil.get_terminal_size().columns))
    return 0


def shown(found: Ablation, width: int = 80) -> str:
    """The waterfall and the table, for a terminal."""
    from halftime.report import waterfall
    from halftime.report.tables import table

    whole = waterfall.Fall.of("in all", found.whole)
    parts = [found.words, "", "order-averaged shares multiply to the whole:"]
    parts += [f"  {line}" for line in waterfall.lines(waterfall.shares_of(found), width - 2, whole)]
    parts += ["", "added to the base alone, and what is missing then:"]
    parts += [f"  {line}" for line in waterfall.lines(waterfall.alone_of(found), width - 2, whole)]
    names = ["change", "add one in", "leave one out", "share", "in its place"]
    rows = [[r["name"], r["alone"], r["without"], r["share"], r["verdict"]] for r in waterfall.rows(found)]
    wide = table(names, rows)
    if max(map(len, wide.splitlines())) > width:  # a block for each change, where the table does not fit
        blocks = (
            [row[0], *(f"  {name}: {value}" for name, value in zip(names[1:], row[1:], strict=True))] for row in rows
        )
        wide = "\n".join(line for block in blocks for line in block)
    parts += ["", wide, "", *waterfall.notes(found)]
    return "\n".join([*parts, f"ablation {found.id}: {found.recipe} against {found.base}"])
