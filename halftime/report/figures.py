"""Which charts a page has: from proofs and runs to lines and marks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from markupsafe import Markup

from halftime.measure.proof import Proof
from halftime.report import charts
from halftime.report.argument import contrast, interval_words, told_apart, why_no_ratio
from halftime.report.charts import Curve, Span, Spot
from halftime.report.words import count, duration, short, signed, times
from halftime.run import Run

MOST = 160  # points of a loss curve; more are averaged
ROWS = 40  # recipes of which a chart of runs shows the times
COLOURS = 6  # recipes that a chart of runs tells apart; the rest is grey


def arm_keys(proof: Proof) -> list[tuple[str, str]]:
    """The legend of a proof."""
    base, fast = contrast(proof.base.recipe, proof.fast.recipe)
    return [("base", f"base: {base}"), ("fast", f"fast: {fast}")]


def _arms(proof: Proof) -> list[tuple[str, tuple[Run, ...]]]:
    return [("base", proof.base.runs), ("fast", proof.fast.runs)]


def proof_curves(proof: Proof) -> Markup:
    """Validation scores of every run against training seconds, with the target."""
    lines = [score_curve(run, style, f"{style}, seed {run.seed}") for style, runs in _arms(proof) for run in runs]
    about = (
        f"{count(len(lines), 'line')}, one for each run of both recipes. "
        f"The base meets the target in {len(proof.base.hits)} of {len(proof.base.runs)} runs, "
        f"the fast recipe in {len(proof.fast.hits)} of {len(proof.fast.runs)}."
    )
    return score_chart("curves", about, lines, arm_keys(proof), proof.workload["target"], proof.workload["better"])


def score_curve(run: Run, style: str, name: str) -> Curve:
    """One run's validation scores."""
    return Curve(name, style, [(e.seconds, e.score) for e in run.evaluations], run.hit)


def score_chart(
    name: str, about: str, lines: list[Curve], keys: charts.Keys, target: float | None, better: str
) -> Markup:
    """Validation scores against training seconds."""
    values = [y for c in lines for _, y in c.points]
    room = [] if target is None else focus(values, target, better)
    axis = f"validation score ({better} is better)"
    return charts.curves(name, "Validation score against training time", about, lines, keys, axis, target, better, room)


def focus(values: Sequence[float], target: float, better: str) -> list[float]:
    """The values that a chart should make room for: not the worst fifth, where it would press the rest together."""
    ordered = sorted(v for v in values if math.isfinite(v))
    fifth = len(ordered) // 5
    kept = [*(ordered[fifth:] if better == "higher" else ordered[: len(ordered) - fifth]), target]
    whole = [*ordered, target]
    return kept if max(whole) - min(whole) > 2 * (max(kept) - min(kept)) > 0 else whole


def cropped(runs: Sequence[Run], target: float | None, better: str) -> bool:
    """Whether the chart of scores leaves out the worst of them."""
    values = [e.score for run in runs for e in run.evaluations if math.isfinite(e.score)]
    return target is not None and len(focus(values, target, better)) < len(values) + 1


def span(run: Run, style: str, name: str) -> Span:
    """One run's time to target."""
    if run.hit:
        return Span(name, style, *run.hit)
    return Span(name, style, run.seconds, run.seconds, missed=True)


def proof_spans(proof: Proof) -> Markup:
    """Time to target, seed by seed."""
    rows = []
    for seed in proof.seeds:
        marks = [
            span(r, style, f"{style}, seed {seed}") for style, runs in _arms(proof) for r in runs if r.seed == seed
        ]
        rows.append((f"seed {seed}", marks))
    middles = [(s, a.typical) for s, a in (("base", proof.base), ("fast", proof.fast)) if a.typical is not None]
    keys = [
        (style, f"{label}, median {duration(arm.typical) if arm.typical is not None else 'not reached'}")
        for (style, label), arm in zip(arm_keys(proof), (proof.base, proof.fast), strict=True)
    ]
    about = "Each row is a seed; the upright lines are the medians. " + "; ".join(
        f"{label}: {', '.join(_time(r) for r in runs)}" for label, runs in _arms(proof)
    )
    return charts.spans("spans", "Time to target, seed by seed", about, rows, keys, middles)


def _time(run: Run) -> str:
    return duration(run.hit[1]) if run.hit else f"not met within {duration(run.seconds)}"


def seed_ratios(proof: Proof) -> list[tuple[int, float, str]]:
    """(seed, ratio, bound) of each pair; pairs that both missed have none."""
    quick = {run.seed: run for run in proof.fast.runs}
    found = []
    for slow in proof.base.runs:
        fast = quick.get(slow.seed)
        if fast is None or not (slow.hit or fast.hit):
            continue
        ratio = (slow.hit[1] if slow.hit else slow.seconds) / max(fast.hit[1] if fast.hit else fast.seconds, 1e-12)
        found.append((slow.seed, ratio, "" if slow.hit and fast.hit else "at most" if slow.hit else "at least"))
    return found


def ratio_strip(proof: Proof) -> Markup:
    """The ratio of each seed, and the interval, against 1."""
    ratios = [r for r in seed_ratios(proof) if r[1] > 0]
    if proof.ratio is None or not ratios or not proof.fast.hits:
        return Markup("")
    spots = [Spot(f"seed {seed}: " + f"{bound} {times(ratio)}".strip(), ratio, bound) for seed, ratio, bound in ratios]
    ratio = proof.ratio
    interval = (ratio.low, ratio.estimate, ratio.high) if ratio.n > 1 and not why_no_ratio(proof) else None
    about = f"{count(len(spots), 'seed')}. " + (
        f"{proof.interval} {interval_words(proof)}." if interval else "No interval."
    )
    lines = [(1.0, "zero", "1× no difference")]
    axis = "times sooner (base seconds ÷ fast seconds)"
    return charts.strip("ratio", "Ratio of time to target", about, spots, interval, lines, axis, log=True, mark="×")


def score_gaps(proof: Proof) -> list[tuple[int, float]]:
    """(seed, how much better the fast arm's final score is) of each pair that has both."""
    sign = 1.0 if proof.workload["better"] == "higher" else -1.0
    quick = {run.seed: run.score for run in proof.fast.runs}
    pairs = [(run.seed, run.score, quick.get(run.seed)) for run in proof.base.runs]
    return [(seed, sign * _gap(b, f)) for seed, b, f in pairs if b is not None and f is not None]


def _gap(base: float, fast: float) -> float:
    """The difference, or 0 where it is no more than rounding."""
    return 0.0 if math.isclose(base, fast, rel_tol=1e-6) else fast - base


def gap_strip(proof: Proof) -> Markup:
    """The difference in final score of each seed, and its interval, against the margin."""
    spots = [Spot(f"seed {seed}: {signed(gap, 3)}", gap) for seed, gap in score_gaps(proof)]
    if not spots:
        return Markup("")
    quality = proof.quality
    interval = (quality.low, quality.estimate, quality.high) if quality and quality.n > 1 else None
    lines = [(-proof.margin, "limit", f"margin {signed(-proof.margin, 3)}")]
    if proof.margin > 0:
        lines.append((0.0, "zero", ""))
    about = f"Margin {short(proof.margin)}. " + (
        f"Interval {signed(interval[0])} to {signed(interval[2])}." if interval else "No interval."
    )
    axis = "fast − base final score (right is better)"
    title = "Difference of final scores against the margin"
    return charts.strip("gap", title, about, spots, interval, lines, axis)


def score_rows(proof: Proof) -> Markup:
    """Final scores of both arms, with the margin below the mean of the base."""
    arms = []
    for style, runs in _arms(proof):
        spots = [Spot(f"{style}, seed {r.seed}: {short(r.score)}", r.score) for r in runs if r.score is not None]
        arms.append((style, style, [s for s in spots if math.isfinite(s.value)]))
    if not any(spots for _, _, spots in arms):
        return Markup("")
    base = [s.value for s in arms[0][2]]
    sign = 1.0 if proof.workload["better"] == "higher" else -1.0
    same = (math.fsum(base) / len(base), math.fsum(base) / len(base) - sign * proof.margin) if base else None
    about = "; ".join(f"{label}: {', '.join(short(s.value) for s in spots) or 'none'}" for label, _, spots in arms)
    return charts.scores("scores", "Final validation scores", about, arms, same)


def loss_chart(name: str, runs: Sequence[tuple[Run, str, str]], keys: charts.Keys) -> Markup:
    """Training losses of (run, style, name), or nothing where none were kept."""
    lines = [Curve(called, style, _losses(run)) for run, style, called in runs]
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    about = f"{count(len(lines), 'line')}, one a run; each point is the mean of some steps."
    return charts.curves(name, "Training loss against training time", about, lines, keys, "training loss")


def _losses(run: Run) -> list[tuple[float, float]]:
    """(seconds, loss), averaged to at most `MOST` points; seconds lie on a line between two evaluations."""
    kept = [(step, loss) for step, loss in run.series("loss") if loss is not None and math.isfinite(loss)]
    if not kept:
        return []
    marks = {0: 0.0} | {e.step: e.seconds for e in run.evaluations} | {max(run.steps, 1): run.seconds}
    steps = sorted(marks)
    each = math.ceil(len(kept) / MOST)
    points = []
    for start in range(0, len(kept), each):
        part = kept[start : start + each]
        step = math.fsum(s for s, _ in part) / len(part)
        after = min(max(bisect.bisect_right(steps, step), 1), len(steps) - 1)
        a, b = steps[after - 1], steps[after]
        share = min(1.0, (step - a) / (b - a))
        points.append((marks[a] + (marks[b] - marks[a]) * share, math.fsum(v for _, v in part) / len(part)))
    return points


def run_styles(runs: Sequence[Run]) -> dict[str, str]:
    """A style for each recipe by its hash, in the order of first use."""
    hashes = list(dict.fromkeys(run.recipe.hash for run in runs))
    return {h: f"k{i}" if i < COLOURS else "other" for i, h in enumerate(hashes)}


def run_keys(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The legend of a set of runs, by recipe."""
    styles = run_styles(runs)
    names = told_apart([run.recipe for run in runs])
    keys = [(style, f"{h[:6]} {names[h]}") for h, style in styles.items() if style != "other"]
    more = len(styles) - len(keys)
    return keys + ([("other", count(more, "more recipe"))] if more else [])


def run_spans(name: str, named: Sequence[tuple[Run, str, str]]) -> Markup:
    """Time to target of runs, a row for each of the first `ROWS` recipes."""
    hashes = list(dict.fromkeys(run.recipe.hash for run, _, _ in named))[:ROWS]
    rows = [(h[:6], [span(*one) for one in named if one[0].recipe.hash == h and one[0].seconds > 0]) for h in hashes]
    about = "; ".join(f"{h[:6]}: {', '.join(_time(r) for r, _, _ in named if r.recipe.hash == h)}" for h in hashes)
    return charts.spans(name, "Time to target by recipe", about, rows, ())
