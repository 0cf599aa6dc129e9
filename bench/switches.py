"""Is any exact switch that the search keeps slower than leaving it off? `python -m bench.switches --json FILE`

Over a zoo of small networks of different kinds: the search's own stages of threads and switches decide what is kept;
each one that is kept is then timed once more, on its own, in longer and more blocks that had no part in the decision,
against the same recipe without it. A switch whose estimate then lies below 1 counts as slower, even where its interval
holds 1. A search of switches that ran out of its seconds on a network tried only the first of them there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import halftime as ht
from bench import tables
from bench.zoo import BATCH, zoo
from halftime.errors import unknown
from halftime.ledger.store import Ledger
from halftime.methods import AdamW, OneCycle
from halftime.search.journal import Journal
from halftime.search.machine import kept_settings, settings, try_settings
from halftime.search.records import Pace
from halftime.search.switches import switches, try_switches
from halftime.search.timing import pace
from halftime.search.view import View
from halftime.search.work import Place, Work

PREDICTED = "none"
STEPS = 1500  # of the run that a start-up must be earned back in: a compiler's is not, on networks this small
SHORT = 40  # steps of the training that tells how long a step takes
BLOCK = 0.03  # seconds of a block in the decision; the second look takes several times as long
AGAIN, LONGER = 8, 3  # blocks of the second look, and how many times longer they are
LIMIT = 13.0  # seconds for the switches of a network


def decided(name: str, workload: ht.Workload, block: float, limit: float) -> list[dict[str, Any]]:
    """What the search decides about every switch on a network, and what a second look says of those it kept."""
    rows, recipe = [], ht.Recipe([AdamW(), OneCycle()], steps=STEPS, batch_size=BATCH)
    looks: dict[str, Callable[[], Pace]] = {}
    offered = settings(torch.device("cpu"))  # before one of them holds
    with tempfile.TemporaryDirectory() as folder, kept_settings():
        ledger = Ledger(folder)
        journal = Journal(ledger, ledger.new("search"))
        work = Work(
            Place(workload, ledger, "bench", "cpu"), journal, View(quiet=True), limit, block=block, stage="switches"
        )
        with journal.log:
            work.train(recipe.replace(steps=SHORT), [0])
            try_settings(work, recipe)
            final = try_switches(work, recipe, STEPS, list(switches(recipe)))
        how = {"device": "cpu", "rounds": AGAIN, "longer": LONGER, "least": block}
        for setting in offered:
            looks[setting.name] = partial(pace, workload, final, final, within=setting.within, **how)
        for method in final.methods:
            looks[type(method).__name__] = partial(pace, workload, final.minus(type(method).__name__), final, **how)
        for one in work.decisions:
            row = {"network": name, "switch": one.change.removeprefix("+ "), "verdict": one.verdict}
            row |= {"a step": one.gain.ratio if one.gain else None, "low": one.gain.low if one.gain else None}
            here = next(iter(one.methods), one.change)  # a faster one of its slot may have taken its place since
            if one.verdict == "kept" and here in looks:
                row |= looked_again(looks.pop(here), one.change in {s.name for s in offered})
            rows.append(row)
    return rows


def looked_again(look: Callable[[], Pace], setting: bool) -> dict[str, Any]:
    """With a switch against without it, in blocks of their own."""
    if setting:
        torch.set_num_threads(1)  # as it was before it was kept
    found = look()
    return {"again": found.ratio, "again low": found.low, "again high": found.high}


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("--networks", metavar="A,B", help="only these; all if not given")
    parser.add_argument("--block", type=float, default=BLOCK, metavar="S", help=f"seconds of a block ({BLOCK})")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="S", help=f"seconds a network ({LIMIT:g})")
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks = zoo()
    chosen = given.networks.split(",") if given.networks else list(networks)
    for name in chosen:
        if name not in networks:
            parser.error(str(unknown("network", name, networks)))
    rows = []
    for name in chosen:
        rows += decided(name, networks[name], given.block, given.limit)
        print(f"{name}: {sum(row['verdict'] == 'kept' for row in rows)} kept so far", file=sys.stderr, flush=True)
    again = [row for row in rows if row.get("again") is not None]
    if not again:
        parser.exit(1, "no switch was kept on any network, so nothing was shown: measure alone on the machine\n")
    slower, shown = sum(row["again"] < 1 for row in again), sum(row["again high"] < 1 for row in again)
    question = f"How many switches that were kept, over {len(chosen)} networks, are slower when timed again?"
    figures = [tables.count("switches: kept and slower", question, PREDICTED, "slower", slower, len(again))]
    question = "And how many are so beyond their interval?"
    figures.append(tables.count("switches: shown to be slower", question, PREDICTED, "slower", shown, len(again)))
    kept = [row for row in rows if row["verdict"] == "kept"]
    counts = {v: sum(row["verdict"] == v for row in rows) for v in ("kept", "dropped", "too long", "refused", "failed")}
    harm = [row for row in rows if row["a step"] is not None and row["a step"] < 0.97]
    tables.publish(given, figures, {
        "kept": kept or [{"network": "none"}],
        "verdicts": [{"networks": len(chosen), "tried": len(rows), **counts, "slower by 3 % or more": len(harm)}],
        "slower by 3 % or more, and left off": harm or [{"network": "none"}],
    })  # fmt: skip


if __name__ == "__main__":
    main()
