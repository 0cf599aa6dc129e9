"""The waterfall: bars on a log axis, each from where the one before it ended, so that their factors multiply.

In the terminal, as a chart of a page, and as CSV. It draws whatever has a `change` (in words), a `ratio` and the `low`
and `high` end of its interval: what an ablation found, and what a search kept.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import textwrap
from collections.abc import Sequence
from typing import Protocol

from markupsafe import Markup

from halftime.measure.ablation import Ablation
from halftime.measure.shares import Effect
from halftime.report import charts
from halftime.report.svg import Chart, Frame, Scale, arrow
from halftime.report.words import NONE, clean, short, times

NARROWEST = 56  # columns below which a bar stands under its words
HEAD = ("kind", "change", "ratio", "low", "high", "bound", "seeds", "log_error_of_orders", "why_not", "runs")


class Step(Protocol):
    """What a bar is drawn from."""

    @property
    def change(self) -> str:
        """In words."""

    @property
    def ratio(self) -> float | None:
        """How many times sooner."""

    @property
    def low(self) -> float:
        """Lower end of its interval; 0 is open."""

    @property
    def high(self) -> float | None:
        """Upper end; infinite or None is open."""


@dataclasses.dataclass(frozen=True)
class Fall:
    """A bar of a waterfall; `bound` is "at least" or "at most" where a miss makes it one-sided; `note`: why none."""

    change: str
    ratio: float | None
    low: float = 0.0
    high: float | None = math.inf
    bound: str = ""
    note: str = ""

    @classmethod
    def of(cls, change: str, effect: Effect) -> Fall:
        """The bar of an effect."""
        return cls(change, effect.estimate, effect.low, effect.high, effect.bound, effect.why)


def shares_of(found: Ablation) -> list[Fall]:
    """The shares, the largest first: they multiply to the whole."""
    order = sorted(found.parts, key=lambda part: -(part.share.estimate or 0.0))
    return [Fall.of(part.name, part.share) for part in order]


def alone_of(found: Ablation) -> list[Fall]:
    """Each change added to the base alone, and the interaction: together they multiply to the whole."""
    order = sorted(found.parts, key=lambda part: -(part.alone.estimate or 0.0))
    return [*(Fall.of(part.name, part.alone) for part in order), Fall.of("interaction", found.interaction)]


def lines(steps: Sequence[Step], width: int = 80, whole: Step | None = None) -> list[str]:
    """The waterfall for a terminal.

    Args:
        steps: bars, in their order.
        width: columns of the terminal.
        whole: the last line; the product of the bars if None.

    Example:
        >>> print("\\n".join(lines([Fall("EMA", 2.0, 1.6, 2.5), Fall("OneCycle", 1.5, 1.2, 1.9)], 60)))
        EMA       2.00×  1.60× to 2.50×  █████████████████
        OneCycle  1.50×  1.20× to 1.90×                   ██████████
        in all    3.00×                  ███████████████████████████
    """
    product = math.prod(step.ratio or 1.0 for step in steps)
    last = whole or Fall("in all", product, product, product)
    every = [*steps, last]
    heads = [(clean(s.change), _factor(s), interval(s)) for s in every]
    widths = [max(len(head[i]) for head in heads) for i in range(3)]
    room = width - sum(widths) - 6
    below = room < 12 or width < NARROWEST
    room = max(10, width - 4) if below else min(room, 60)
    found = []
    for (name, ratio, ends), bar in zip(heads, _bars(every, room), strict=True):
        words = f"{name:{widths[0]}}  {ratio:>{widths[1]}}  {ends:{widths[2]}}"
        if below:
            wrapped = textwrap.wrap(f"{name}  {ratio}  {ends}".rstrip(), width, subsequent_indent="    ")
            found += [*wrapped, *([f"  {bar}"] if bar else [])]
        else:
            found.append(f"{words}  {bar}".rstrip())
    return found


def _bars(every: Sequence[Step], room: int) -> list[str]:
    """A bar for each step, the last one from the beginning on."""
    ends = _edges(every)
    low = min(min(a, b) for a, b in ends)
    span = max(max(max(a, b) for a, b in ends) - low, 1e-9)
    found = []
    for step, (start, end) in zip(every, ends, strict=True):
        left, right = (round((x - low) / span * room) for x in sorted((start, end)))
        mark = "█" if end >= start else "░"
        found.append("" if step.ratio is None else " " * min(left, room - 1) + mark * max(1, right - left))
    return found


def _edges(every: Sequence[Step]) -> list[tuple[float, float]]:
    """Where each bar begins and ends, as logarithms; the last one stands on its own."""
    at, found = 0.0, []
    for step in every[:-1]:
        gain = math.log(step.ratio) if step.ratio else 0.0
        found.append((at, at + gain))
        at += gain
    return [*found, (0.0, math.log(every[-1].ratio) if every[-1].ratio else 0.0)]


def _factor(step: Step) -> str:
    if step.ratio is None:
        return NONE
    return f"{getattr(step, 'bound', '')} {times(step.ratio)}".strip()


def interval(step: Step) -> str:
    """The interval in words; nothing where it has none of its own, the reason where there is no factor."""
    if step.ratio is None:
        return getattr(step, "note", "") or "not known"
    low, high = step.low, math.inf if step.high is None else step.high
    if low == high or (low <= 0 and math.isinf(high)):
        return ""
    return f"{times(low) if low > 0 else 'no lower end'} to {times(high)}"


def chart(name: str, title: str, steps: Sequence[Step], whole: Step) -> Markup:
    """The waterfall as a chart of a page, light and dark, wide and narrow.

    Args:
        name: unique on the page.
        title: what it shows.
        steps: bars, in their order.
        whole: the last bar, from 1× on.
    """
    every = [*steps, whole]
    edges = _edges(every)
    seen = [math.exp(x) for pair in edges for x in pair]
    seen += [math.exp(a + math.log(v)) for s, (a, _) in zip(every, edges, strict=True) for v in _finite(s)]
    about = "; ".join(f"{s.change}: {_factor(s)} {interval(s)}".strip() for s in every)

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale.around(seen, frame.left, frame.right - 8, log=True, pad=0.05)
        chart.x_axis(x, frame, "times as fast to the target as the base (log scale)", "×", 5)
        for i, (step, (start, end)) in enumerate(zip(every, edges, strict=True)):
            y = frame.top + 46.0 * i
            label = f"{clean(step.change)}: {_factor(step)}" + (f", {words}" if (words := interval(step)) else "")
            chart.text(4, y + 12, label, "label halo", room=chart.width - 8)
            chart.line([(x(1.0), y + 17), (x(1.0), y + 36)], "zero")  # not through the words
            if step.ratio is None:
                continue
            left, right = sorted((x(math.exp(start)), x(math.exp(end))))
            style = "other" if step is whole or step.change == "interaction" else "k0" if end >= start else "k1"
            chart.rect(left, y + 19, max(right - left, 1.5), 15, f"bar {style}")
            if i + 1 < len(steps):
                chart.line([(x(math.exp(end)), y + 34), (x(math.exp(end)), y + 65)], "pair")
            _whisker(chart, x, y + 26.5, step, start)

    return charts.twice(name, title, about, (), 46.0 * len(every) + 4, 6.0, draw, 12.0)


def _finite(step: Step) -> list[float]:
    if step.ratio is None:
        return []
    return [v for v in (step.low, step.high) if v is not None and math.isfinite(v) and v > 0]


def _whisker(chart: Chart, x: Scale, y: float, step: Step, start: float) -> None:
    """The interval of a bar's end; an arrow where it is open."""
    low, high = step.low, math.inf if step.high is None else step.high
    if low == high or (low <= 0 and math.isinf(high)):
        return
    a = x(math.exp(start) * low) if low > 0 else x.start
    b = x(math.exp(start) * high) if math.isfinite(high) else x.end
    chart.line([(a, y), (b, y)], "whisker thin")
    for edge, unbounded, way in ((a, low <= 0, -1), (b, math.isinf(high), 1)):
        points = arrow(edge - 14 * way, y, way) if unbounded else [(edge, y - 5), (edge, y + 5)]
        chart.line(points, "whisker thin")


def kinds(found: Ablation) -> list[tuple[str, str, Effect, tuple[str, ...]]]:
    """Every number of an ablation: (kind, change, effect, run ids)."""
    every = tuple(run.id for run in found.runs)
    rows = [
        (kind, part.name, effect, part.runs if kind != "share" else every)
        for part in found.parts
        for kind, effect in (("add one in", part.alone), ("leave one out", part.without), ("share", part.share))
    ]
    ends = tuple(run.id for run in found.runs if run.recipe.hash in (found.base.hash, found.recipe.hash))
    return [*rows, ("interaction", "", found.interaction, every), ("whole", "", found.whole, ends)]


def to_csv(found: Ablation) -> str:
    """The table as CSV: a row for each number, open ends and missing numbers left empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for kind, change, e, runs in kinds(found):
        ends = [v if e.estimate is not None and 0 < v < math.inf else "" for v in (e.low, e.high)]
        ratio = "" if e.estimate is None else e.estimate
        writer.writerow([kind, change, ratio, *ends, e.bound, e.n, "" if e.drawn is None else e.drawn, e.why,
                         " ".join(runs)])  # fmt: skip
    return out.getvalue()


def rows(found: Ablation) -> list[dict[str, str]]:
    """The table for a page or a terminal."""
    verdicts = found.verdicts
    return [
        {
            "name": part.name,
            "called": part.name + "".join(part.words.partition(" in place of ")[1:]),
            **{kind: words(getattr(part, kind)) for kind in ("alone", "without", "share")},
            "drawn": "" if not part.share.drawn else f"±{100 * part.share.drawn:.1f} %",
            "verdict": verdicts[part.name],
            "score": NONE if part.score is None else short(part.score.estimate, 2),
        }
        for part in found.parts
    ]


def words(effect: Effect) -> str:
    """An effect with its interval, or why there is none."""
    step = Fall.of("", effect)
    missed = f"{effect.missed} {'runs miss' if effect.missed > 1 else 'run misses'} it" if effect.missed else ""
    more = "; ".join(filter(None, (interval(step), missed)))
    return (NONE if effect.estimate is None else _factor(step)) + (f" ({more})" if more else "")


def notes(found: Ablation) -> list[str]:
    """What to keep in mind."""
    text = [f"{found.method}."]
    if found.parts and any(part.share.drawn for part in found.parts):
        worst = max(part.share.drawn or 0.0 for part in found.parts)
        text.append(
            f"Drawing orders adds a standard error of up to {100 * worst:.1f} % to a share; the intervals hold it."
        )
    text += [f"{name} cannot be trained: {why}." for name, why in found.refused.items()]
    text += _missed(found)
    text.append(
        "Every part trained at the rates that the recipe has: nothing was tuned anew after a change was left out."
    )
    text.append(
        "Each interval holds at 95 % on its own. What pays or harms in its place is judged for all changes together "
        "(Holm's correction): where none does, at most 5 % of such tables call one out."
    )
    if not found.complete:
        text.append(f"{len(found.runs)} runs are done, {found.open} or more are still to come.")
    return [one[0].upper() + one[1:] for one in text]


def _missed(found: Ablation) -> list[str]:
    """What was done about runs that missed the target."""
    missed = sum(not run.hit for run in found.runs)
    if not missed:
        return []
    text = f"{missed} of {len(found.runs)} runs missed the target"
    if found.stretch == 1:
        return [f"{text}: they count as at least as long as trained."]
    return [
        f"{text}. Each such part was trained again on that seed with twice the budget, up to {found.stretch} times it.",
        "What missed then, too, counts as at least as long as trained.",
        "A time beyond one budget is known to about a factor of two: a rate that decays meets the target near its end.",
    ]
