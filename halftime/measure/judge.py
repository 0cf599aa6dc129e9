"""The judgement of a proof: what two arms show, from the seeds that both have."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from halftime.measure import sequential
from halftime.measure.sequential import Design
from halftime.measure.statistics import Interval, Pair, difference, median, seeds_needed, speedup, spread
from halftime.measure.tuned import Tuning
from halftime.recipe import Recipe
from halftime.run import Run

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


def judge(base: Arm, fast: Arm, workload: dict[str, Any], planned: int, design: Design | None = None) -> dict[str, Any]:
    """What two arms show, from the seeds that both have: the fields of `Proof` from `ratio` on, and `complete`."""
    slow, quick = {r.seed: r for r in base.runs}, {r.seed: r for r in fast.runs}
    both = [(slow[s], quick[s]) for s in slow if s in quick]
    found: dict[str, Any] = dict.fromkeys(("ratio", "least", "quality", "more"))
    if not both:
        return {**found, "verdict": "not shown", "complete": False, "settled": ""}
    pairs: list[Pair] = [(b.hit and b.hit[1], b.seconds, f.hit and f.hit[1], f.seconds) for b, f in both]
    ratio = speedup(pairs)
    worst: list[Pair] = [((b.hit and b.hit[0]) or None, b.seconds, f.hit and f.hit[1], f.seconds) for b, f in both]
    least = speedup(worst).estimate if all(b.hit and b.hit[0] and f.hit for b, f in both) else None
    sign = 1.0 if workload["better"] == "higher" else -1.0
    sound = [(b.score, f.score) for b, f in both if b.state != "failed"]  # no score on the way is a final one
    ended = [(sign * b, sign * f) for b, f in sound if b is not None and math.isfinite(b) and f is not None]
    failed = any(f.state == "failed" for _, f in both)
    lost = failed or not all(math.isfinite(f) for _, f in ended)  # a fast run without a score is no better than none
    quality = difference([b for b, _ in ended], [f for _, f in ended]) if ended and not lost else None
    margin, futile = float(workload["margin"]), False
    if design is not None:
        ratio, quality, futile = _repeated(pairs, ratio, ended, quality, design)
    verdict = _verdict(ratio, quality, margin)
    missed = any(not f.hit for _, f in both)
    end = "a fast run failed" if failed else "a fast run missed the target" if missed else ""
    settled = _settled(verdict, ratio, quality, margin, design, futile=futile, end=end) if design else ""
    more = _more(ratio, quality, margin) if verdict == "not shown" and design is None else None
    return {
        "ratio": ratio,
        "least": least,
        "quality": quality,
        "verdict": verdict,
        "more": more,
        "complete": bool(settled) if design else len(both) == planned,
        "settled": settled,
    }


def _repeated(
    pairs: list[Pair], ratio: Interval, ended: list[tuple[float, float]], quality: Interval | None, design: Design
) -> tuple[Interval, Interval | None, bool]:
    """Both intervals as they hold after looking again and again, and whether the gain asked for would have shown.

    An ordinary interval covers at one look that was fixed beforehand. Ends that censoring has opened stay open.
    """
    logs = [
        math.log((base_run if base is None else base) / (fast_run if fast is None else fast))
        for base, base_run, fast, fast_run in pairs
    ]
    time = sequential.follow(logs, design)
    low = 0.0 if any(fast is None for _, _, fast, _ in pairs) else math.exp(time.low)
    missed = any(base is None for base, *_ in pairs)
    high = math.inf if missed or time.high > 700 else math.exp(time.high)
    if quality is not None:
        # one-sided as a fixed proof's, so at twice the level of the time, whose interval has two sides
        score = sequential.running([fast - base for base, fast in ended], 2 * design.alpha, design.quality)
        quality = dataclasses.replace(quality, low=score.low, high=score.high)
    futile = time.futile and not missed  # where the base missed, nobody knows how much slower it is
    return dataclasses.replace(ratio, low=low, high=high), quality, futile


def _settled(
    verdict: Verdict,
    ratio: Interval,
    quality: Interval | None,
    margin: float,
    design: Design,
    *,
    futile: bool,
    end: str,
) -> str:
    """Why a sequential proof stops here, or nothing where it goes on with another pair."""
    if ratio.n < PROVISIONAL:
        return ""
    if verdict in ("proved", "worse"):
        return f"stopped after {ratio.n} pairs: it is settled"
    if end:
        return f"stopped after {ratio.n} pairs: {end}"
    if futile and ratio.low <= 1.0:
        return f"stopped after {ratio.n} pairs: a gain as large as was asked for would likely have shown by now"
    if ratio.n >= design.most:
        open_ = "the quality" if ratio.low > 1.0 and not _not_worse(quality, margin) else "it"
        return f"stopped after {ratio.n} pairs, the most that were asked for: {open_} would need more"
    return ""


def _verdict(ratio: Interval, quality: Interval | None, margin: float) -> Verdict:
    if ratio.n < PROVISIONAL:
        better = (
            quality is not None and ratio.estimate > 1.0 and quality.estimate > -margin and ratio.bound != "at most"
        )
        return "hint" if better else "not shown"
    if ratio.high < 1.0 or (quality is not None and quality.high < -margin):
        return "worse"
    if ratio.low > 1.0 and quality is not None and _not_worse(quality, margin):
        return "proved" if min(ratio.n, quality.n) >= PROVED else "provisional"
    return "not shown"


def _not_worse(quality: Interval | None, margin: float) -> bool:
    """Whether the final score is shown to be not worse, from as many pairs as a ratio needs to count."""
    return quality is not None and quality.n >= PROVISIONAL and quality.low > -margin


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
