"""Proof: two recipes on one workload over the same seeds, and what may be said of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from halftime.errors import BadData
from halftime.ledger.lines import read
from halftime.ledger.store import Ledger, load_all
from halftime.measure.statistics import Interval, Pair, difference, median, seeds_needed, speedup, spread
from halftime.measure.tuned import Tuning, tune_choices, tuning
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files

Verdict = Literal["proved", "provisional", "hint", "not shown", "worse"]
PROVED, PROVISIONAL = 5, 3  # seeds


@dataclasses.dataclass(frozen=True)
class Arm:
    """One recipe of a proof and its runs, in the order of the seeds."""

    recipe: Recipe
    runs: tuple[Run, ...]
    tuning: Tuning

    @property
    def hits(self) -> list[float]:
        """Seconds to target of the runs that met it."""
        return [run.hit[1] for run in self.runs if run.hit]

    @property
    def typical(self) -> float | None:
        """Median seconds to target, or None where half the runs or more missed it."""
        middle = median([run.hit[1] if run.hit else math.inf for run in self.runs]) if self.runs else math.inf
        return None if middle == math.inf else middle

    @property
    def noise(self) -> float | None:
        """Spread between seeds: standard deviation of the log of the times to target."""
        return spread([math.log(seconds) for seconds in self.hits])

    @property
    def seconds(self) -> float:
        """Device-seconds of all its runs."""
        return sum(run.device_seconds for run in self.runs)


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the runs of two arms show.

    `ratio` says how many times sooner the fast arm reaches the target, `least` the same with every bracket read
    against the claim, `quality` how much better its final score is (signed so that higher is better), `more` how many
    more seeds would likely settle a verdict of "not shown".
    """

    id: str
    folder: Path
    started: float
    workload: dict[str, Any]
    device: str
    seeds: tuple[int, ...]
    base: Arm
    fast: Arm
    complete: bool
    ratio: Interval | None
    least: float | None
    quality: Interval | None
    verdict: Verdict
    more: int | None
    fingerprint: dict[str, Any]

    @property
    def margin(self) -> float:
        """How much worse a final score still counts as the same quality."""
        return float(self.workload["margin"])

    @property
    def same_quality(self) -> bool:
        """Whether the fast arm's final score is not worse by more than the margin."""
        quality = self.quality
        return quality is not None and (quality.low if quality.n > 1 else quality.estimate) > -self.margin

    @property
    def pair_seconds(self) -> float:
        """Device-seconds that one more seed would cost, both arms together."""
        n = max(1, min(len(self.base.runs), len(self.fast.runs)))
        return (self.base.seconds + self.fast.seconds) / n

    @property
    def words(self) -> str:
        """The verdict in a sentence or two."""
        if self.ratio is None:
            return f"not shown: no pair of runs is complete yet, {len(self.seeds)} are planned"
        ratio, n = self.ratio, self.ratio.n
        missed = [len(arm.runs) - len(arm.hits) for arm in (self.base, self.fast)]
        counted = f"{n} paired seed{'s' * (n > 1)}"
        target = f"{self.workload['target']:g}"
        if all(missed) or not self.fast.hits or any(run.state == "failed" for run in self.fast.runs):
            text = f"{self.verdict}: there is no ratio of times to {target} ({counted}"
        else:
            way = "sooner" if ratio.estimate >= 1.0 else "later"
            high = "no upper end" if ratio.high == math.inf else f"{ratio.high:.2f}×"
            text = f"{self.verdict}: reaches {target} {way}, {ratio.bound} {ratio.estimate:.2f}×".replace(",  ", ", ")
            text += f" (95 % interval {ratio.low:.2f}× to {high}, {counted}" if n > 1 else f" ({counted}"
        text += f", missed by {missed[0]} base and {missed[1]} fast runs)" if any(missed) else ")"
        if n > 1:
            same = "is not" if self.same_quality else "may be"
            text += f"; its final score {same} worse by more than {self.margin:.2g}"
        if self.verdict == "not shown" and self.more:
            cost = self.more * self.pair_seconds / 60
            text += f"; {self.more} more seeds would likely settle it, {cost:.1f} device-minutes"
        return text

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; infinite ends are null."""

        def arm(one: Arm) -> dict[str, Any]:
            return {
                "recipe": one.recipe.to_dict(),
                "recipe_hash": one.recipe.hash,
                "runs": [r.id for r in one.runs],
                "seconds_to_target": [r.hit for r in one.runs],
                "scores": [r.score for r in one.runs],
                "typical": one.typical,
                "noise": one.noise,
                "device_seconds": one.seconds,
                "tuned": one.tuning.tuned,
                "tuning": str(one.tuning),
            }

        def interval(one: Interval | None) -> dict[str, Any] | None:
            if one is None:
                return None
            return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(one).items()}

        return {
            "proof": self.id,
            "verdict": self.verdict,
            "words": self.words,
            "workload": self.workload,
            "device": self.device,
            "seeds": self.seeds,
            "complete": self.complete,
            "ratio": interval(self.ratio),
            "least": self.least,
            "quality": interval(self.quality),
            "margin": self.margin,
            "same_quality": self.same_quality,
            "more_seeds": self.more,
            "base": arm(self.base),
            "fast": arm(self.fast),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def load(cls, folder: Path, ledger: Ledger) -> Proof:
        """Read a proof and its runs from the ledger, and judge them anew."""
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        if not records or records[0]["kind"] != "start":
            raise BadData(f"{folder} is not a proof's record: move it away")
        start = records[0]
        runs, choices = load_all(ledger), tune_choices(ledger)
        seeds = tuple(start["seeds"])
        arms = {}
        for name in ("base", "fast"):
            recipe = Recipe.from_dict(start[name], strangers=True)
            mine = {
                run.seed: run
                for run in runs
                if run.group == f"{folder.name}/{name}" and run.state in ("finished", "failed")
            }
            arms[name] = Arm(
                recipe, tuple(mine[s] for s in seeds if s in mine), tuning(recipe, start["workload"], runs, choices)
            )
        return cls(
            id=folder.name,
            folder=folder,
            started=start["t"],
            workload=start["workload"],
            device=start["device"],
            seeds=seeds,
            fingerprint=start["fingerprint"],
            base=arms["base"],
            fast=arms["fast"],
            **judge(arms["base"], arms["fast"], start["workload"], len(seeds)),
        )


def judge(base: Arm, fast: Arm, workload: dict[str, Any], planned: int) -> dict[str, Any]:
    """What two arms show, from the seeds that both have: ratio, least, quality, verdict, more, complete."""
    slow, quick = {r.seed: r for r in base.runs}, {r.seed: r for r in fast.runs}
    both = [(slow[s], quick[s]) for s in slow if s in quick]
    if not both:
        return {"ratio": None, "least": None, "quality": None, "verdict": "not shown", "more": None, "complete": False}
    pairs: list[Pair] = [(b.hit and b.hit[1], b.seconds, f.hit and f.hit[1], f.seconds) for b, f in both]
    ratio = speedup(pairs)
    worst: list[Pair] = [((b.hit and b.hit[0]) or None, b.seconds, f.hit and f.hit[1], f.seconds) for b, f in both]
    least = speedup(worst).estimate if all(b.hit and b.hit[0] and f.hit for b, f in both) else None
    sign = 1.0 if workload["better"] == "higher" else -1.0
    ended = [(sign * b.score, sign * f.score) for b, f in both if b.score is not None and f.score is not None]
    failed = any(f.state == "failed" for _, f in both)
    quality = difference([b for b, _ in ended], [f for _, f in ended]) if ended and not failed else None
    verdict = _verdict(ratio, quality, float(workload["margin"]))
    more = _more(ratio, quality, float(workload["margin"])) if verdict == "not shown" else None
    return {
        "ratio": ratio,
        "least": least,
        "quality": quality,
        "verdict": verdict,
        "more": more,
        "complete": len(both) == planned,
    }


def _verdict(ratio: Interval, quality: Interval | None, margin: float) -> Verdict:
    if ratio.n < PROVISIONAL:
        better = (
            quality is not None and ratio.estimate > 1.0 and quality.estimate > -margin and ratio.bound != "at most"
        )
        return "hint" if better else "not shown"
    if ratio.high < 1.0 or (quality is not None and quality.high < -margin):
        return "worse"
    if ratio.low > 1.0 and quality is not None and quality.low > -margin:
        return "proved" if ratio.n >= PROVED else "provisional"
    return "not shown"


def _more(ratio: Interval, quality: Interval | None, margin: float) -> int | None:
    """More seeds after which both intervals would likely be clear, if the estimates stay as they are."""
    if quality is None or ratio.low == 0.0:  # no number of seeds mends a fast arm that misses
        return None
    wanted = [
        seeds_needed(math.log(ratio.estimate), ratio.sd),
        seeds_needed(quality.estimate + margin, quality.sd, one_sided=True),
    ]
    if None in wanted:
        return None
    more = max(PROVISIONAL, *(n for n in wanted if n is not None)) - ratio.n
    return more if more > 0 else None
