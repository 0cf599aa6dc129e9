"""Which rule for several heads gives the best score in the same seconds? Workload `multitask_small`.

How: every arm is the ground's own recipe with the same budget in seconds of training; whatever a rule costs, it pays in
steps. Arms take turns within a seed, in an order drawn anew for each. "sum again" is the plain sum once more with the
same seeds: what it seems to gain is noise. All arms have the rate that suits the plain sum. Differences of the mean
accuracy over the three heads are paired by seed; the interval is Student's, at 95 %.

Alone on the machine the default takes about seven minutes:

    python -m bench.tasks --json bench/results/tasks.json
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
import statistics
import tempfile
from typing import Any

from scipy.stats import t

import halftime as ht
from bench import tables
from halftime.evidence.grounds import ground
from halftime.methods import ConflictMeter, EasyTasksFirst, GradientSurgery, TaskWeights

PLAIN, AGAIN = "sum", "sum again"
ARMS: dict[str, tuple[ht.Method, ...]] = {
    PLAIN: (),
    AGAIN: (),
    "uncertainty": (TaskWeights(),),
    "dwa": (TaskWeights(rule="dwa"),),
    "gradnorm": (TaskWeights(rule="gradnorm"),),
    "easy first": (EasyTasksFirst(),),
    "any first": (EasyTasksFirst(first="any"),),
    "UPGrad": (GradientSurgery(),),
    "PCGrad": (GradientSurgery(aggregator="PCGrad"),),
    "meter": (ConflictMeter(),),
}
PREDICTED = {  # differences of the mean accuracy against the plain sum, in points
    AGAIN: "-1 to 1",
    "uncertainty": "-2 to 1: the class counts for less, since its loss is the largest",
    "dwa": "-1 to 1: its weights stay near one",
    "gradnorm": "-2 to 1: it costs steps",
    "easy first": "-2 to 1",
    "any first": "-2 to 1",
    "UPGrad": "-4 to 0: two thirds of the steps, and few conflicts between class and animal",
    "PCGrad": "-4 to 0",
    "meter": "-1 to 0.5: a twentieth of the steps costs twice as much",
}


def trained(workload: ht.Workload, recipe: ht.Recipe, seed: int) -> dict[str, float]:
    """The scores at the end, and how many steps the seconds bought."""
    with tempfile.TemporaryDirectory() as folder:
        run = ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=True)
    if run.state != "finished" or not run.evaluations:
        raise SystemExit(f"{recipe}, seed {seed}: {run.state} {run.reason}")
    last = run.evaluations[-1]
    return {"mean": last.score, **last.scores, "steps": float(run.steps), "seconds": run.seconds}


def interval(values: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval by Student's t.

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    mean = statistics.fmean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def gain(name: str, key: str, results: dict[str, list[dict[str, float]]]) -> tables.Figure:
    """An arm's difference against the plain sum, in points of accuracy."""
    pairs = zip(results[name], results[PLAIN], strict=True)
    middle, low, high = interval([100.0 * (own[key] - plain[key]) for own, plain in pairs])
    return {
        "name": f"{name}: {key}",
        "question": f"{key}: points by which {name} lies above the plain sum in the same seconds",
        "predicted": PREDICTED[name] if key == "mean" else "not predicted",
        "unit": "points",
        "n": len(results[PLAIN]),
        "median": middle,
        "spread": [low, high],
        "spread_is": "mean; 95 % interval",
    }


def measure(seeds: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    """The scores of every arm by seed."""
    place = ground("multitask_small")
    workload = dataclasses.replace(place.make(), evaluations=1)
    base = place.recipe.replace(minutes=seconds / 60.0)
    trained(workload, base.plus(GradientSurgery()).replace(steps=2), 0)  # imports take a while
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for seed in range(seeds):
        turns = list(ARMS)
        random.Random(seed).shuffle(turns)
        for name in turns:
            results[name].append(trained(workload, base.plus(*ARMS[name]), seed))
            print(f"seed {seed}: {name}: {results[name][-1]}", flush=True)
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="runs of each arm, at least two (default 8)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="of training in a run (default 4)")
    given: argparse.Namespace = parser.parse_args(arguments)
    results = measure(given.seeds, given.seconds)
    heads = [key for key in results[PLAIN][0] if key not in ("steps", "seconds")]
    figures = [gain(name, key, results) for name in ARMS if name != PLAIN for key in heads]
    rows: list[dict[str, Any]] = [
        {"arm": name, "n": len(found), **{k: statistics.fmean(one[k] for one in found) for k in found[0]}}
        for name, found in results.items()
    ]
    tables.publish(given, figures, {f"means over seeds, {given.seconds:g} seconds of training": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
