"""The whole story in a few minutes, offline too: tune a textbook recipe, prove a faster one, write the page."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadData

if TYPE_CHECKING:
    from halftime.ledger.store import Ledger
    from halftime.measure.tuned import Tuning
    from halftime.places import Method
    from halftime.recipe import Recipe
    from halftime.workload import Workload

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  # learning rates that the textbook recipe is given a chance with
TUNING_SEED = 1000  # not one of the proof's
PAGE = "demo.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes: nothing."""


def run(given: argparse.Namespace) -> int:  # noqa: ARG001
    """Tell the story."""
    from halftime.ledger.store import Ledger
    from halftime.report.page import proof_page
    from halftime.search.prove import prove

    ledger = Ledger()
    ledger.check_writable()
    workload, plain, fast, seeds = _story()
    _say(
        f"halftime demo on {workload.name}: who reaches a validation score of {workload.target:g} sooner?\n"
        "  base: plain SGD at a constant learning rate, as in a textbook, its rate chosen with care\n"
        f"  fast: {' + '.join(map(str, fast.methods))}"
    )
    _say(f"\n1. The base gets the best of {len(RATES)} learning rates, a full training each.")
    base = _tuned(workload, plain, ledger)
    _say(f"\n2. Both train on the same {seeds} seeds, in random order within each.")
    proof = prove(workload, base, fast, seeds, ledger=ledger, source=workload.name)
    read.write_page(PAGE, proof_page(proof))
    medians = f"base: {_median(proof.base.typical)}, fast: {_median(proof.fast.typical)} (medians)"
    _say(
        f"\n3. {proof.words}.\n   {medians}\n"
        f"   The page with all of it: {PAGE}    The records: halftime runs\n"
        f"   Yours next: halftime train my_workload.py, then halftime prove my_workload.py --base … --fast …"
    )
    return 0 if proof.verdict in ("proved", "provisional") else 1


def _median(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds:.1f} s"


def _story() -> tuple[Workload, Recipe, Recipe, int]:
    """(workload, base recipe, fast recipe, seeds): Fashion-MNIST if it can be had, else the digits."""
    from halftime import workloads
    from halftime.methods import SGD, AdamW, OneCycle
    from halftime.recipe import Recipe

    def arms(fast: list[Method], slow: float, quick: float, size: int) -> tuple[Recipe, Recipe]:
        return Recipe([SGD(momentum=0.0)], epochs=slow, batch_size=size), Recipe(fast, epochs=quick, batch_size=size)

    try:
        fast = [AdamW(lr=0.006, beta2=0.98), OneCycle(warmup=0.15)]
        return workloads.get("fashion_mnist_textbook"), *arms(fast, slow=10, quick=3.5, size=128), 5
    except BadData as error:
        _say(f"Fashion-MNIST cannot be had ({error}); taking the digits instead.\n")
        return workloads.get("digits"), *arms([AdamW(lr=0.02), OneCycle()], slow=40, quick=12, size=64), 10


def _tuned(workload: Workload, plain: Recipe, ledger: Ledger) -> Recipe:
    """The base recipe at the best of `RATES`; rates that the ledger knows are not tried again."""
    from halftime.ledger.resume import identity
    from halftime.ledger.store import load_all
    from halftime.measure.tuned import tuning
    from halftime.methods import SGD
    from halftime.report.tables import table
    from halftime.train import train

    about = identity(workload, plain, TUNING_SEED, "")["workload"]

    def known(recipe: Recipe) -> Tuning:
        return tuning(recipe, about, load_all(ledger))

    for rate in RATES:
        if rate not in [tried for tried, _, _ in known(plain).tries]:
            train(workload, plain.plus(SGD(lr=rate, momentum=0.0)), TUNING_SEED, ledger=ledger, source=workload.name)
    found = known(plain)
    chosen = found.best if found.best is not None else RATES[2]
    rows = [[f"{rate:g}{' *' if rate == chosen else ''}", hit, score] for rate, hit, score in found.tries]
    _say(table(["learning rate", f"seconds to {workload.target:g}", "final score"], rows))
    return plain.plus(SGD(lr=chosen, momentum=0.0))


def _say(text: str) -> None:
    print(text, flush=True)
    sys.stderr.flush()
