"""Measure methods: each against the same recipe without it, on workloads that it is meant for."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.evidence.gather import Gathering
    from halftime.evidence.grounds import Comparison
    from halftime.places import Method

FEWEST = 3  # seeds; fewer give a hint at most, which would be written down as no gain


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "method", metavar="METHOD", help='a method, written as in Python, such as "EMA(decay=0.9)"; or all'
    )
    parser.add_argument("--workload", action="append", metavar="W", help="measure there; else on two it is meant for")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="pairs of runs on each workload (5)")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="begin no training after so long; call again to go on"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--out", metavar="FOLDER", help="where the files go; else evidence/")
    parser.add_argument("--json", action="store_true", help="the new entries as one JSON document")


def run(given: argparse.Namespace) -> int:
    """Say how long it will take, measure what is missing, write the files; exit code 1 where time was too short."""
    from halftime.evidence.gather import Gathering, TimeUp
    from halftime.evidence.grounds import ground
    from halftime.evidence.record import written
    from halftime.ledger.store import Ledger
    from halftime.measure.device import pick
    from halftime.measure.prior import home
    from halftime.measure.prior import read as read_entries

    read.check_out(given.out, folder=True)
    for name, value, least in (("seeds", given.seeds, FEWEST), ("minutes", given.minutes, 0)):
        if value is not None and not least <= value < math.inf:
            raise BadValue(f"--{name} must be at least {least}, not {value}")
    chosen = _methods(given.method)
    [ground(name) for name in given.workload or ()]
    until = math.inf if given.minutes is None else time.monotonic() + 60 * given.minutes
    work = Gathering(Ledger(), pick(given.device), given.seeds, until, True if given.json else None)
    folder = Path(given.out) if given.out else home()
    done, whole = [], True
    try:
        for comparison in _planned(work, chosen, given.workload, folder):
            name, entry = type(comparison.method).__name__, work.measure(comparison)
            path = written(folder, name, [entry])
            if entry["key"] not in [one.get("key") for one in read_entries(path)]:
                work.say(f"{path} keeps what it has of {name} on {entry['workload']['name']}: that rests on more seeds")
            done.append({"method": name, **entry})
    except TimeUp:
        whole = False
        work.say("the time is up: the same call goes on from here")
    if given.json:
        read.print_json(done)
    for entry in [] if given.json else done:
        print(f"{entry['method']} on {entry['workload']['name']}, {entry['device']}: {entry['words']}")
    return 0 if whole else 1


def _methods(text: str) -> list[Method]:
    from halftime.methods import ALL

    return [kind() for kind in ALL] if text == "all" else [read.method(text)]


def _planned(work: Gathering, methods: list[Method], names: list[str] | None, folder: Path) -> list[Comparison]:
    """What has to be measured: not what the files already hold; and a line about how long that takes."""
    from halftime.evidence.grounds import comparison, meant_for
    from halftime.measure.prior import evidence

    wanted = []
    for method in methods:
        there = {entry.get("key") for entry in evidence(type(method).__name__, [folder])}
        grounds = meant_for(type(method), names or ())
        if not grounds:
            work.say(f"{type(method).__name__}: no workload to measure on has {', '.join(sorted(method.needs))}")
        asked = [comparison(method, where) for where in grounds]
        wanted += [one for one in asked if work.key(one) not in there]
    work.say("one training on each workload, to know how long it takes")
    seconds = work.seconds(wanted)
    count = len({type(one.method).__name__ for one in wanted})
    work.say(f"{count} method{'s' * (count != 1)}, {len(wanted)} measurements, about {seconds / 60:.0f} minutes")
    return wanted
