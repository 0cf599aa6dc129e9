"""False claims, power, and what a sequential proof saves: `python -m bench.claims --json bench/results/claims.json`.

Simulated comparisons (a minute), then real ones on the digits in which both arms are the same recipe (minutes). Each
real training is used twice: against its twin of the same seed, where only the clock differs, and against a run of
another seed, where the luck of learning counts as well. Measure alone on the machine.

With both errors at 2.5 %, no test can spend less than 45 % of the fixed number on average at either hypothesis, were
the spread even known (Wald and Wolfowitz); with a power of 0.8, not less than 63 % where the gain is real. The
predictions for the sequential design were written down after a first simulation had set its one constant.
"""

from __future__ import annotations

import dataclasses
import math
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import halftime as ht
from bench import tables
from halftime.ledger.store import Ledger
from halftime.measure.judge import Arm, judge
from halftime.measure.noise import power_of, seeds_for
from halftime.measure.sequential import FEWEST, Design, boundaries, design
from halftime.measure.statistics import sd_interval, speedup, spread
from halftime.measure.tuned import Tuning
from halftime.methods import AdamW
from halftime.run import Run
from halftime.workloads import get

NOISES = (0.02, 0.1, 0.27)  # standard deviations of the log time to target: a vision transformer, a small net, an MRI
EFFECTS = (0.3, 0.5, 0.7, 1.0, 1.5)
DRAWS = ("normal", "heavy tails")
PROVED = 5
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Counts = NDArray[np.int64]


def draw(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Floats:
    """Values of mean 0 and deviation 1: normal, or Student's t with 3 degrees of freedom."""
    found = rng.standard_normal(shape) if kind == "normal" else rng.standard_t(3, shape) / math.sqrt(3)
    return np.asarray(found, np.float64)


def replay(values: Floats, plan: Design) -> tuple[Booleans, Counts]:
    """(whether a gain was claimed, pairs spent), one test a row; a claim asks for 5 pairs, as `prove` does."""
    given_up, claimed = boundaries(plan)
    n = np.arange(1, plan.most + 1)
    sums, squares = values[:, : plan.most].cumsum(1), (values[:, : plan.most] ** 2).cumsum(1)
    error = np.sqrt(np.maximum(squares - sums**2 / n, 1e-300) / np.maximum(n - 1, 1) / n)
    t = sums / n / error
    t[:, : FEWEST - 1] = 0.0
    up, down = (t > claimed) & (n >= min(PROVED, plan.most)), t <= given_up
    stop = up | down
    at = np.where(stop.any(1), stop.argmax(1), plan.most - 1)
    return up[np.arange(len(up)), at], at + 1


def fixed_claims(rng: np.random.Generator, kind: str, noise: float, n: int) -> int:
    """How many of n comparisons of a recipe with itself, five seeds each, `prove` would call faster."""
    seconds = 20.0 * np.exp(noise * draw(rng, kind, (n, PROVED, 2)))
    return sum(speedup([(b, b, f, f) for b, f in rows.tolist()]).low > 1.0 for rows in seconds)


def simulated_claims(rng: np.random.Generator, n: int) -> list[tables.Figure]:
    """A/A by both rules, at every noise and tail."""
    found = []
    for noise in NOISES:
        plan = design(10, noise * math.sqrt(2))
        for kind in DRAWS:
            about = f"A/A, noise {noise:g}, {kind}: called faster"
            wrong = fixed_claims(rng, kind, noise, n)
            found.append(tables.count(f"aa-fixed-{noise:g}-{kind}", f"{about}, 5 seeds", "at most 5 %", "", wrong, n))
            values = noise * (draw(rng, kind, (n, plan.most)) - draw(rng, kind, (n, plan.most)))
            won = int(replay(values, plan)[0].sum())
            found.append(tables.count(f"aa-seq-{noise:g}-{kind}", f"{about}, sequential", "at most 5 %", "", won, n))
    return found


def powers(rng: np.random.Generator, n: int, pilots: int = 150) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Quoted and found power, where the noise is known, and where a pilot of five seeds has guessed it."""
    figures, rows = [], []
    for noise in NOISES:
        for gain in (5.0, 10.0, 20.0):
            distance, pair = -math.log1p(-gain / 100), noise * math.sqrt(2)
            seeds = seeds_for(distance, pair)
            assert seeds is not None
            row: dict[str, Any] = {"noise": noise, "gain %": gain, "seeds": seeds}
            row["quoted"] = power_of(seeds, distance, pair)
            row["found"] = _shown(rng, distance, pair, seeds, n)
            row["off"] = abs(row["found"] - row["quoted"])
            guesses = noise * np.sqrt(stats.chi2.rvs(4, size=pilots, random_state=rng) / 4)
            asked = [seeds_for(distance, float(sd) * math.sqrt(2), known_by=PROVED) or 10**5 for sd in guesses]
            row["by a pilot of 5"] = float(np.mean([power_of(max(PROVED, k), distance, pair) for k in asked]))
            inside = [low <= noise <= high for low, high in (sd_interval(float(sd), 5) for sd in guesses)]
            row["noise in its interval"] = float(np.mean(inside))
            rows.append(row)
    worst = [row["off"] * 100 for row in rows]
    question = "points between the power that was quoted and the power found, noise known"
    figures.append(tables.sample("power", question, "at most 5, all below 4", "points", worst))
    guessed = [row["by a pilot of 5"] for row in rows]
    question = "power found where a pilot of five seeds quotes 0.8 or, by the floor of five seeds, more"
    figures.append(tables.sample("power-pilot", question, "0.75 to 0.85, more at the floor", "", guessed))
    return figures, rows


def _shown(rng: np.random.Generator, distance: float, pair: float, seeds: int, n: int) -> float:
    values = distance + pair * rng.standard_normal((n, seeds))
    t = values.mean(1) / (values.std(1, ddof=1) / math.sqrt(seeds))
    return float((t > stats.t.ppf(0.975, seeds - 1)).mean())


def savings(rng: np.random.Generator, n: int) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Errors and expected pairs of the sequential design, over the fixed one of the same error rates."""
    rows = []
    for power in (0.975, 0.9, 0.8):
        for effect in EFFECTS:
            plan = Design(effect, power=power)
            row: dict[str, Any] = {"power asked": power, "effect sd": effect, "fixed pairs": plan.fixed}
            for name, mean in (("none", 0.0), ("as asked", effect), ("twice", 2 * effect)):
                won, spent = replay(mean + rng.standard_normal((n, plan.most)), plan)
                row[f"called, {name}"], row[f"runs, {name}"] = float(won.mean()), float(spent.mean()) / plan.fixed
            row["runs, mean"] = (row["runs, none"] + row["runs, as asked"]) / 2
            rows.append(row)
    even = [row for row in rows if row["power asked"] == 0.975 and row["fixed pairs"] >= 30]
    what = "expected runs of the sequential test over the fixed design, both errors 2.5 %, 30 pairs or more"
    figures = [
        tables.sample("runs", f"{what}, mean of no gain and the gain asked for", "0.46 to 0.51", "",
                      [row["runs, mean"] for row in even]),
        tables.sample("runs-none", f"{what}, no gain", "0.45 to 0.48", "", [row["runs, none"] for row in even]),
        tables.sample("runs-real", f"{what}, the gain asked for", "0.47 to 0.55: theory allows 0.45 at the least", "",
                      [row["runs, as asked"] for row in even]),
        tables.sample("runs-twice", f"{what}, twice the gain", "0.2 to 0.3", "", [row["runs, twice"] for row in even]),
        tables.sample("power-seq", "points by which the sequential test finds less than quoted, all designs",
                      "0 to 1", "points", [100 * max(0.0, r["power asked"] - r["called, as asked"]) for r in rows]),
    ]  # fmt: skip
    return figures, rows


def trained(comparisons: int, ledger: Ledger) -> dict[str, list[list[Run]]]:
    """Runs of one recipe as two arms: comparisons x five seeds each, interleaved in random order."""
    workload = dataclasses.replace(get("digits"), target=0.88)
    recipe = ht.Recipe([AdamW(lr=0.005)], epochs=5, batch_size=64)
    ht.train(workload, recipe.replace(steps=2), 0, device="cpu", ledger=ledger, quiet=True)
    arms: dict[str, list[list[Run]]] = {"base": [], "fast": []}
    for k in range(comparisons):
        for arm in arms.values():
            arm.append([])
        for seed in range(PROVED * k, PROVED * (k + 1)):
            order = list(arms)
            random.Random(seed).shuffle(order)
            for name in order:
                arms[name][k].append(ht.train(workload, recipe, seed, device="cpu", ledger=ledger, quiet=True))
    return arms


def real_claims(comparisons: int) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """A/A on the digits: by the fixed and by the sequential rule, paired by seed and not."""
    with tempfile.TemporaryDirectory() as folder:
        arms = trained(comparisons, Ledger(Path(folder)))
    figures, rows = [], []
    for kind, shift in (("same seeds", 0), ("other seeds", 1)):
        quick = arms["fast"][shift:] + arms["fast"][:shift]
        verdicts: dict[str, list[str]] = {"fixed": [], "sequential": []}
        logs = []
        for base, fast in zip(arms["base"], quick, strict=True):
            fast = [dataclasses.replace(f, seed=b.seed) for b, f in zip(base, fast, strict=True)]
            one, other = (Arm(base[0].recipe, tuple(runs), Tuning(None, (), None)) for runs in (base, fast))
            verdicts["fixed"].append(judge(one, other, base[0].workload, PROVED)["verdict"])
            plan = Design(effect=1.5, most=PROVED)
            verdicts["sequential"].append(judge(one, other, base[0].workload, PROVED, plan)["verdict"])
            logs += [math.log(b.hit[1] / f.hit[1]) for b, f in zip(base, fast, strict=True) if b.hit and f.hit]
        for rule, said in verdicts.items():
            wrong = sum(v in ("proved", "provisional") for v in said)
            about = f"real A/A on the digits, {kind}, {rule}: called faster"
            figures.append(
                tables.count(f"real-{rule}-{kind}", about, "0 to 3 of 40 (2.5 % expected)", "", wrong, len(said))
            )
            rows.append({"pairing": kind, "rule": rule, **{v: said.count(v) for v in sorted(set(said))}})  # type: ignore[arg-type]
        rows[-1]["pair sd"] = rows[-2]["pair sd"] = spread(logs)
        rows[-1]["pairs met"] = rows[-2]["pairs met"] = len(logs)
    return figures, rows


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("--simulations", type=int, default=1000, metavar="N", help="of each A/A (default 1000)")
    parser.add_argument("--real", type=int, default=40, metavar="N", help="real A/A comparisons; 0 for none (40)")
    given = parser.parse_args()
    rng = np.random.default_rng(20261125)
    figures = simulated_claims(rng, given.simulations)
    more, power_rows = powers(rng, 4 * given.simulations)
    figures += more
    more, saving_rows = savings(rng, 4 * given.simulations)
    figures += more
    title = "sequential design: share called faster, and runs over those of the fixed design, where the gain is"
    shown = {"power of the price: quoted for 0.8, and found": power_rows, title: saving_rows}
    if given.real:
        more, shown["verdicts of real A/A on the digits, five seeds each"] = real_claims(given.real)
        figures += more
    tables.publish(given, figures, shown)


if __name__ == "__main__":
    main()
