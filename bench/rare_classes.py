"""Do `FocalPrior` and `RepeatFactor` find more of the rare cells than the plain recipe in the same seconds? (Figure 4)

Workload `blood_cells`: of each fourteen boxes twelve are red cells, one a white cell, one a platelet. The loss is the
focal one in every arm; `FocalPrior` adds the bias from the frequencies of the boxes. White cells are rare among the
boxes but stand on nearly every photograph, platelets on about half of them: by the share of photographs, which is what
`RepeatFactor` goes by, the tail is short, and only a threshold near one repeats anything at all.

How: every arm is the workload's own recipe with the same budget in seconds of training; the clock has started before a
method looks at the data. Arms take turns within a seed, in an order drawn anew for each. "plain again" is the plain
recipe once more with the same seeds: what it seems to gain is noise. Differences of average precision are paired by
seed; the interval is a bootstrap over seeds (10,000 resamples of the mean, 2.5 % to 97.5 %), which is somewhat too
narrow at few seeds. Half of the seconds is looked at, too: a better start may be gone at the end.

Alone on the machine the default takes about eleven minutes:

    python -m bench.rare_classes --json bench/results/rare_classes.json
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
from typing import Any

import numpy as np

import halftime as ht
from bench import tables
from bench.workloads import recipe_of
from halftime import methods
from halftime.methods import FocalPrior
from halftime.workloads import get

RARE = ("AP Platelets", "AP WBC")
PLAIN, AGAIN = "plain", "plain again"
PREDICTED = {  # differences of AP against the plain recipe, in points
    (AGAIN, "end"): "-1 to 1",
    ("FocalPrior", "half"): "0 to 8: the first steps need not learn that there is mostly nothing",
    ("FocalPrior", "end"): "-2 to 2: a decayed training forgets its start",
    ("RepeatFactor", "half"): "-3 to 3",
    ("RepeatFactor", "end"): "-1 to 3: a third more platelets, of the same photographs",
    ("both", "half"): "0 to 8",
    ("both", "end"): "-2 to 3",
}
RESAMPLES = 10_000


def arms() -> tuple[dict[str, tuple[ht.Method, ...]], str]:
    """The methods of each arm, and a word where one is left out."""
    repeat = getattr(methods, "RepeatFactor", None)
    found: dict[str, tuple[ht.Method, ...]] = {PLAIN: (), AGAIN: (), "FocalPrior": (FocalPrior(),)}
    if repeat is None:
        return found, "RepeatFactor is not here: its arms are left out"
    return found | {"RepeatFactor": (repeat(threshold=1.0),), "both": (FocalPrior(), repeat(threshold=1.0))}, ""


def trained(workload: ht.Workload, recipe: ht.Recipe, seed: int) -> dict[str, dict[str, float]]:
    """The scores at half of the time and at the end; that of both rare kinds is their mean."""
    with tempfile.TemporaryDirectory() as folder:
        run = ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=True)
    if run.state != "finished" or len(run.evaluations) < 2:
        raise SystemExit(f"{recipe}, seed {seed}: {run.state} {run.reason}")
    found = {}
    for when, look in (("half", run.evaluations[0]), ("end", run.evaluations[-1])):
        rare = {"AP of the rare": sum(look.scores[name] for name in RARE) / len(RARE)}
        found[when] = {"mAP": look.score, **look.scores, **rare, "seconds": look.seconds, "steps": float(look.step)}
    return found


def bootstrapped(differences: list[float], seed: int = 0) -> tuple[float, float, float]:
    """The mean and the 95 % interval of the mean, over seeds drawn with replacement.

    >>> bootstrapped([1.0, 1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    values = np.asarray(differences)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def gain(name: str, when: str, key: str, results: dict[str, list[Any]]) -> tables.Figure:
    """An arm's difference against the plain one, in points of AP."""
    pairs = zip(results[name], results[PLAIN], strict=True)
    differences = [100.0 * (own[when][key] - plain[when][key]) for own, plain in pairs]
    middle, low, high = bootstrapped(differences)
    after = {"half": "after half of the seconds", "end": "at the end"}[when]
    return {
        "name": f"{name}, {when}: {key}",
        "question": f"{key}: points by which {name} lies above the plain recipe {after}",
        "predicted": PREDICTED.get((name, when), "-2 to 2") if key == "AP of the rare" else "not predicted",
        "unit": "points",
        "n": len(differences),
        "median": middle,
        "spread": [low, high],
        "spread_is": "mean; 95 % interval",
    }


def measure(seeds: int, seconds: float) -> tuple[dict[str, list[Any]], str]:
    """The scores of every arm by seed."""
    several, left_out = arms()
    workload = dataclasses.replace(get("blood_cells"), evaluations=2)
    base = recipe_of("blood_cells")[1].replace(minutes=seconds / 60.0)
    trained(
        workload, base.plus(FocalPrior()).replace(steps=2), 0
    )  # the first training of a process imports for a while
    results: dict[str, list[Any]] = {name: [] for name in several}
    for seed in range(seeds):
        turns = list(several)
        random.Random(seed).shuffle(turns)
        for name in turns:
            results[name].append(trained(workload, base.plus(*several[name]), seed))
            print(f"seed {seed}: {name}: {results[name][-1]['end']}", flush=True)
    return results, left_out


def rows(results: dict[str, list[Any]], when: str) -> list[dict[str, Any]]:
    """The mean scores of each arm."""
    keys = list(next(iter(results.values()))[0][when])
    return [
        {"arm": name, "n": len(found), **{k: float(np.mean([one[when][k] for one in found])) for k in keys}}
        for name, found in results.items()
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="runs of each arm (default 8)")
    parser.add_argument("--seconds", type=float, default=13.0, metavar="S", help="of training in a run (default 13)")
    given: argparse.Namespace = parser.parse_args(arguments)
    results, left_out = measure(given.seeds, given.seconds)
    whole = [(AGAIN, "end"), *((n, w) for n in results if n not in (PLAIN, AGAIN) for w in ("half", "end"))]
    keys = ("AP of the rare", *RARE, "mAP")
    figures = [gain(name, when, key, results) for name, when in whole for key in keys]
    title = f"means over seeds, {given.seconds:g} seconds of training{'; ' * bool(left_out)}{left_out}"
    by_time = {f"at the end: {title}": rows(results, "end"), f"after half: {title}": rows(results, "half")}
    tables.publish(given, figures, by_time)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
