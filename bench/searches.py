"""What does a whole search find on real workloads? `python -m bench.searches --minutes 60 --json FILE`

For each workload: `halftime search` from a textbook base (gradient descent with momentum at a constant rate; the search
tunes it and proves its recipe against it), then a proof of the recipe against a second base, AdamW + OneCycle of the
length of the found recipe, with the same batch, at its own rate (`halftime tune`). Where that misses the target it is
made longer until three seeds meet it, so that the second ratio is one to a base that arrives. The minutes are those of
a search; tuning and proving the second base come on top. Measure alone on the machine.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import torch

import halftime as ht
from bench import tables
from halftime.errors import HalftimeError, unknown
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.measure.sequential import Design
from halftime.methods import SGD, AdamW, OneCycle
from halftime.search.machine import kept_settings, settings
from halftime.search.outcome import STANDS
from halftime.search.prove import prove
from halftime.search.records import Found
from halftime.search.retune import of_length
from halftime.search.search import search
from halftime.search.tune import tune
from halftime.workloads import get

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PREDICTED = {"fashion_mnist": ("at least 5", "at least 1.5"), "cifar10": ("at least 3", "at least 1.3"),
             "digits": ("at least 2", "at least 1")}  # fmt: skip
FIRST = 70_000  # seeds of the second proof: neither the search nor its own proof had them
EFFECT, MOST = 2.0, 12  # of it: standard deviations between pairs that the gain is hoped to have; pairs
LENGTHS, SEEDS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2), 3  # of the second base, until all seeds meet the target


def base_of(name: str) -> ht.Recipe:
    """The textbook recipe of a workload: its own, or the usual one."""
    paths = sorted(RECIPES.glob(f"{name}_textbook_*.py"))
    if paths:
        found: ht.Recipe = runpy.run_path(str(paths[-1]))["recipe"]
        return found
    return ht.Recipe([SGD(lr=0.1, momentum=0.9)], epochs=40, batch_size=64)


def second_base(workload: ht.Workload, found: ht.Recipe, ledger: Ledger) -> tuple[ht.Recipe, float]:
    """AdamW + OneCycle at its own rate, as long as the found recipe, or longer where it misses the target; how long."""
    plain = ht.Recipe([AdamW(lr=0.01, weight_decay=0.05), OneCycle()], steps=found.steps, batch_size=found.batch_size)
    tuned = tune(workload, plain, device="cpu", ledger=ledger).recipe
    for longer in LENGTHS:
        recipe = of_length(tuned, round((found.steps or 1) * longer))
        met = 0
        for seed in range(FIRST + 1000, FIRST + 1000 + SEEDS):
            run = ht.train(workload, recipe, seed, device="cpu", ledger=ledger, group="second base", quiet=True)
            met += run.hit is not None
            if run.hit is None:
                break
        print(f"AdamW + OneCycle, {recipe.steps} steps: target met by {met} of {SEEDS} seeds", file=sys.stderr)
        if met == SEEDS:
            return recipe, longer
    return recipe, longer


def against(workload: ht.Workload, found: Found, ledger: Ledger) -> tuple[Proof, float] | None:
    """The found recipe against the second base, with the settings of the process that the search kept."""
    recipe = ht.Recipe.from_dict(found.recipe)
    with kept_settings():
        for setting in settings(torch.device("cpu")):
            if setting.written in found.settings:
                setting.apply()
        try:
            base, longer = second_base(workload, recipe, ledger)
            plan = Design(EFFECT, most=MOST)
            proof = prove(workload, base, recipe, sequential=plan, first=FIRST, device="cpu", ledger=ledger, quiet=True)
            return proof, longer
        except HalftimeError as error:
            print(f"no second proof: {error}", file=sys.stderr)
            return None


def figure(name: str, over: str, predicted: str, ratio: Any, shown: bool) -> tables.Figure:
    """A ratio with its interval as its proof has them, None where there is none; whether it is shown stands beside."""
    low, middle, high = ratio or (None, None, None)
    question = f"How many times sooner does the found recipe meet the target of {name} than {over}?"
    about = {"name": f"search: {name} over {over}", "question": question, "predicted": predicted, "unit": "times"}
    about |= {"n": int(ratio is not None), "shown": shown}
    return {**about, "median": middle, "spread": [low, high], "spread_is": "interval of its proof"}


def told(name: str, found: Found, second: tuple[Proof, float] | None, bases: int = 2) -> tuple[Any, Any, Any]:
    """(figures, row, bars) of one workload."""
    both: list[Any] = [found.ratio and (found.ratio[1] or None, found.ratio[0], found.ratio[2])]
    other = second[0].ratio if second else None
    both.append(other and (other.low or None, other.estimate, other.high if other.high < float("inf") else None))
    overs = ("the textbook base", "AdamW + OneCycle")[: bases if found.verdict == "faster" else 1]
    shown = [found.verdict == "faster", second is not None and second[0].verdict in STANDS]
    figures = [figure(name, *one) for one in zip(overs, PREDICTED[name], both, shown, strict=False)]
    kinds = " + ".join(found.recipe["methods"])
    row = {
        "workload": name, "verdict": found.verdict, "over textbook": both[0] and both[0][1],
        "low": both[0] and both[0][0], "over AdamW + OneCycle": both[1] and both[1][1],
        "its low": both[1] and both[1][0], "its verdict": second[0].verdict if second else "",
        "its length": second[1] if second else None, "minutes": found.seconds / 60, "pays back": found.pays_back,
        "recipe": f"{kinds}, {found.recipe.get('steps')} steps, batch {found.recipe['batch_size']}",
        "settings": ", ".join(found.settings),
    }  # fmt: skip
    bars = [{"workload": name, "change": bar.change, "times": bar.ratio, "low": bar.low, "high": bar.high,
             "measured": "no: what remains" if bar.rest else "yes"} for bar in found.bars]  # fmt: skip
    return figures, row, bars


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("names", nargs="*", metavar="workload", help="default: fashion_mnist cifar10")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M", help="of each search (default 60)")
    parser.add_argument("--one-base", action="store_true", help="leave out the second base, AdamW + OneCycle")
    parser.add_argument(
        "--ledger", type=Path, metavar="DIR", help="where the runs go; the working folder's if not given"
    )
    given = parser.parse_args()
    names = given.names or ["fashion_mnist", "cifar10"]
    for name in names:
        if name not in PREDICTED:
            parser.error(str(unknown("workload with a prediction", name, PREDICTED)))
    ledger, rows, figures, bars = Ledger(given.ledger), [], [], []
    for name in names:
        workload = get(name)
        found = search(workload, base_of(name), minutes=given.minutes, device="cpu", ledger=ledger, quiet=False)
        print(found.words, file=sys.stderr, flush=True)
        wanted = found.verdict == "faster" and not given.one_base
        second = against(workload, found, ledger) if wanted else None
        some, row, more = told(name, found, second, 1 if given.one_base else 2)
        figures, rows, bars = [*figures, *some], [*rows, row], [*bars, *more]
    tables.publish(given, figures, {"searches": rows, "waterfalls": bars})


if __name__ == "__main__":
    main()
