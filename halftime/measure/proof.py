"""Proof: two recipes on one workload over the same seeds, and what may be said of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from halftime.errors import BadData
from halftime.ledger.lines import read
from halftime.ledger.store import Ledger, load_all
from halftime.measure.judge import PROVISIONAL, Arm, Verdict, judge
from halftime.measure.sequential import QUALITY, Design
from halftime.measure.statistics import Interval
from halftime.measure.tuned import tune_choices, tuning
from halftime.recipe import Recipe
from halftime.run import attempt_files


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the runs of two arms show.

    `ratio` says how many times sooner the fast arm reaches the target, `least` the same with every bracket read
    against the claim, `quality` how much better its final score is (signed so that higher is better), `more` how many
    more seeds would likely settle a verdict of "not shown". `design` is there where the number of seeds was not fixed:
    then the intervals are repeated ones, which hold at every look together, and `settled` says why it stopped.
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
    design: Design | None = None
    settled: str = ""

    @property
    def margin(self) -> float:
        """How much worse a final score still counts as the same quality."""
        return float(self.workload["margin"])

    @property
    def same_quality(self) -> bool:
        """Whether the fast arm's final score is not worse by more than the margin; few pairs beside many do not say."""
        quality = self.quality
        if quality is None or self.ratio is None or quality.n < min(PROVISIONAL, self.ratio.n):
            return False
        return (quality.low if quality.n > 1 else quality.estimate) > -self.margin

    @property
    def pair_seconds(self) -> float:
        """Device-seconds that one more seed would cost, both arms together."""
        n = max(1, min(len(self.base.runs), len(self.fast.runs)))
        return (self.base.seconds + self.fast.seconds) / n

    @property
    def planned(self) -> str:
        """How many seeds were planned."""
        return f"at most {self.design.most}" if self.design else f"{len(self.seeds)}"

    @property
    def interval(self) -> str:
        """What the intervals are called."""
        level = min(95.0, 100.0 - 200.0 * self.design.alpha) if self.design else 95.0
        return f"{level:g} % {'repeated ' if self.design else ''}interval"

    @property
    def words(self) -> str:
        """The verdict in a sentence or two."""
        if self.ratio is None:
            return f"not shown: no pair of runs is complete yet, {self.planned} are planned"
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
            text += f" ({self.interval} {ratio.low:.2f}× to {high}, {counted}" if n > 1 else f" ({counted}"
        text += f", missed by {missed[0]} base and {missed[1]} fast runs)" if any(missed) else ")"
        if n > 1:
            same = "is not" if self.same_quality else "may be"
            text += f"; its final score {same} worse by more than {self.margin:.2g}"
        if self.verdict == "not shown" and self.more:
            cost = self.more * self.pair_seconds / 60
            text += f"; {self.more} more seeds would likely settle it, {cost:.1f} device-minutes"
        return text + (f"; {self.design.words}; {self.settled or 'not settled yet'}" if self.design else "")

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
            "sequential": self.design and {**self.design.to_dict(), "settled": self.settled},
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
        asked = start.get("sequential")
        design = Design(**{"quality": QUALITY, **asked}) if asked else None  # older proofs do not say
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
        judged = judge(arms["base"], arms["fast"], start["workload"], len(seeds), design)
        if design is not None:  # those that were begun, and the next one while it is open
            done = max(len(arm.runs) for arm in arms.values())
            seeds = seeds[: done + (not judged["complete"])]
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
            design=design,
            **judged,
        )
