"""Measure how much runs differ by luck, and what it costs to show a gain."""

from __future__ import annotations

import argparse

from halftime.cli import arguments as read

TABLE = (5.0, 10.0, 20.0, 50.0)  # per cent


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument(
        "--recipe", required=True, metavar="RECIPE", help="what is trained: JSON or Python file, or a name"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of the pilot, 3 or more")
    parser.add_argument(
        "--gain", type=float, default=10.0, metavar="PERCENT", help="the gain to price: so much less time (10)"
    )
    parser.add_argument(
        "--power", type=float, default=0.8, metavar="P", help="how likely the gain, if real, is to show (0.8)"
    )
    parser.add_argument("--price", type=float, metavar="PER_HOUR", help="money for an hour of the device")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="noise and prices as one JSON document")


def run(given: argparse.Namespace) -> int:
    """Train the pilot, then print its spread and the prices."""
    from halftime.measure.noise import check, price, to_dict
    from halftime.report.tables import table
    from halftime.search.pilot import pilot

    check(given.gain, given.power, given.price)
    workload, known, source = read.workload(given.workload)
    recipe = read.recipe(given.recipe, known)
    name, found = pilot(
        workload, recipe, given.seeds, device=given.device, source=source, quiet=True if given.json else None
    )
    asked, *prices = (price(found, gain, given.power, given.price) for gain in (given.gain, *TABLE))
    if given.json:
        read.print_json(
            {"pilot": name, "workload": workload.name, "recipe": recipe.to_dict()} | to_dict(found, [asked, *prices])
        )
        return 0
    print(f"{found.words}\n{asked.words}")
    print(
        f"  two-sided {asked.level:g}, power {given.power:g}; both arms, seeds that do not pair, runs as long as these;"
        f" the range is what {found.n} seeds leave open"
    )
    rows = [
        [f"{p.gain:g} %", p.seeds, p.low, p.high, p.hours, *([] if given.price is None else [p.money])] for p in prices
    ]
    names = ["gain", "seeds per arm", "at least", "at most", "device-hours"]
    print("\n" + table([*names, *([] if given.price is None else ["price"])], rows))
    print(f"\n  pilot {name}: {recipe}")
    if found.of == "log time to target":
        print(f"  halftime prove … --sequential --gain {given.gain:g} uses it, and stops as soon as it is settled")
    return 0
