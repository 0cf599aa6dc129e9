"""The charts of a page, each drawn twice: for a wide window and for a phone, so that letters keep their size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from halftime.report.svg import Chart, Frame, Point, Scale, arrow, width_of
from halftime.report.words import short, unit

WIDE, NARROW = 720.0, 358.0
SHAPES = {"base": "circle", "fast": "diamond", "k0": "diamond", "k1": "circle", "k2": "square", "k3": "triangle"}
SHAPES |= {"k4": "cross", "k5": "diamond", "other": "circle"}
Keys = Sequence[tuple[str, str]]  # (style, label) of each kind of line or marker
Draw = Callable[[Chart, Frame], None]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of a chart: (seconds, value) points, and the bracket of seconds in which the target was met."""

    name: str
    style: str
    points: Sequence[Point]
    hit: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Span:
    """A time to target: met after `low` and not after `high` seconds, or (`missed`) not within `high`."""

    name: str
    style: str
    low: float
    high: float
    missed: bool = False


@dataclasses.dataclass(frozen=True)
class Spot:
    """A value on a strip; `bound` is "at least" or "at most" where a miss makes it one-sided."""

    name: str
    value: float
    bound: str = ""


def curves(
    name: str,
    title: str,
    about: str,
    lines: Sequence[Curve],
    keys: Keys,
    value: str,
    target: float | None = None,
    better: str = "higher",
    room: Sequence[float] = (),
) -> Markup:
    """Values against training seconds.

    Args:
        name: unique on the page.
        title: what it shows.
        about: the same in a sentence, for those who do not see it.
        lines: one a run.
        keys: what the styles mean.
        value: name of the upright axis.
        target: drawn as a level line with each hit's bracket on it.
        better: "higher" or "lower".
        room: values that the upright axis must hold; all of them if empty.
    """
    last = max((x for c in lines for x, _ in c.points), default=1.0)
    words, length = unit(last)
    values = [y for c in lines for _, y in c.points if math.isfinite(y)]
    log = target is None and bool(values) and min(values) > 0 and max(values) / min(values) > 20

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale(0.0, max(last / length, 1e-9) * 1.02, frame.left, frame.right)
        y = Scale.around(room or values, frame.bottom, frame.top, log, 0.07)
        chart.y_axis(y, frame, value)
        chart.x_axis(x, frame, f"training {words}")
        chart.clip(frame)
        for c in lines:
            chart.line(
                [(x(a / length), y.beyond(b)) for a, b in c.points if math.isfinite(b)], f"curve {c.style}", c.name
            )
        chart.unclip()
        if target is not None:
            _target(chart, frame, y, target, better == "lower")
            _hits(chart, x, y(target), lines, length)

    return twice(name, title, about, keys, 300.0, 52.0, draw)


def _target(chart: Chart, frame: Frame, y: Scale, target: float, below: bool) -> None:
    """The level to reach; its words stand on the side where no line starts."""
    level = y(target)
    chart.line([(frame.left, level), (frame.right, level)], "target")
    chart.text(frame.left + 4, level + (16 if below else -6), f"target {short(target)}", "halo")


def _hits(chart: Chart, x: Scale, level: float, lines: Sequence[Curve], length: float) -> None:
    """The bracket in which each line met the target."""
    for c in lines:
        if c.hit:
            low, high = (x(s / length) for s in c.hit)
            chart.line([(low, level - 4), (low, level + 4)], f"cap {c.style}")
            chart.line([(low, level), (high, level)], f"bracket {c.style}")
            met = f"{c.name}: after {short(c.hit[0])} and not after {short(c.hit[1])} s"
            chart.mark(SHAPES[c.style], high, level, c.style, met, 4.0)


def spans(
    name: str,
    title: str,
    about: str,
    rows: Sequence[tuple[str, Sequence[Span]]],
    keys: Keys,
    middles: Sequence[tuple[str, float]] = (),
) -> Markup:
    """Times to target on a log axis, a row for each seed or recipe.

    Args:
        name: unique on the page.
        title: what it shows.
        about: the same in a sentence.
        rows: (label, times) from the top.
        keys: what the styles mean.
        middles: (style, seconds) of upright lines, such as medians.
    """
    every = [s for _, marks in rows for s in marks]
    words, length = unit(max((s.high for s in every), default=1.0))
    each = 26.0 if len(rows) <= 20 else 15.0
    seen = [v / length for s in every for v in (s.low, s.high)] + [m / length for _, m in middles]

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale.around(seen, frame.left, frame.right, log=True, pad=0.07)
        chart.x_axis(x, frame, f"training {words} to target (log scale)", most=5)
        for style, seconds in middles:
            chart.line([(x(seconds / length), frame.top), (x(seconds / length), frame.bottom)], f"middle {style}")
        for i, (label, marks) in enumerate(rows):
            y = frame.top + each * (i + 0.5)
            chart.text(frame.left - 8, y + 4.5, label, "tick", "end", frame.left - 8)
            ends = [x(s.high / length) for s in marks]
            chart.line([(min(ends, default=0), y), (max(ends, default=0), y)], "pair")
            for s in marks:
                _span(chart, x, y, s, length)

    longest = max((width_of(label) for label, _ in rows), default=0.0)
    return twice(name, title, about, keys, each * max(1, len(rows)) + 8, min(150.0, 16 + longest), draw, 8.0)


def strip(
    name: str,
    title: str,
    about: str,
    spots: Sequence[Spot],
    interval: tuple[float, float, float] | None,
    lines: Sequence[tuple[float, str, str]],
    axis: str,
    *,
    log: bool = False,
    style: str = "fast",
    mark: str = "",
) -> Markup:
    """Values of single seeds with the estimate and its interval, against lines to compare with.

    Args:
        name: unique on the page.
        title: what it shows.
        about: the same in a sentence.
        spots: one a seed.
        interval: (low, estimate, high); infinite ends, or 0 on a log axis, become arrows.
        lines: (value, style, label) of upright lines.
        axis: its name.
        log: whether equal factors are equal distances.
        style: of the markers.
        mark: follows each number of the axis, such as "×".
    """
    ends = [v for v in interval or () if math.isfinite(v) and (v > 0 or not log)]
    seen = [s.value for s in spots] + ends + [v for v, _, _ in lines]

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale.around(seen, frame.left, frame.right, log, 0.09)
        chart.x_axis(x, frame, axis, mark, 5)
        for value, kind, label in lines:
            chart.line([(x(value), frame.top - 6), (x(value), frame.bottom)], kind)
            right = x(value) > (frame.left + frame.right) / 2
            chart.text(x(value), frame.top - 11, label, "label", "end" if right else "start")
        top = frame.top + 16
        for i, spot in enumerate(spots):
            y = top + 5 * (i % 3 - 1)
            chart.mark(SHAPES[style], x(spot.value), y, f"{style} open" if spot.bound else style, spot.name, 4.5)
            if spot.bound:
                way = 1 if spot.bound == "at least" else -1
                chart.line(arrow(x(spot.value) + 6 * way, y, way), style)
        if interval:
            _whisker(chart, x, frame.top + 44, interval)

    return twice(name, title, about, (), 66.0, 16.0, draw, 34.0 if lines else 10.0)


def scores(
    name: str, title: str, about: str, arms: Sequence[tuple[str, str, Sequence[Spot]]], same: tuple[float, float] | None
) -> Markup:
    """Final scores of each arm, a row an arm.

    Args:
        name: unique on the page.
        title: what it shows.
        about: the same in a sentence.
        arms: (style, label, final scores).
        same: (mean of the base, the worst mean that still counts as the same quality).
    """
    seen = [s.value for _, _, spots in arms for s in spots] + list(same or ())

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale.around(seen, frame.left, frame.right, pad=0.07)
        if same:
            low, high = sorted(map(x, same))
            chart.rect(low, frame.top, high - low, frame.bottom - frame.top, "band")
            chart.line([(x(same[0]), frame.top), (x(same[0]), frame.bottom)], "zero")
            chart.line([(x(same[1]), frame.top), (x(same[1]), frame.bottom)], "limit")
        chart.x_axis(x, frame, "final validation score", most=5)
        for row, (style, label, spots) in enumerate(arms):
            y = frame.top + 26 + 44 * row
            chart.text(frame.left - 8, y + 4.5, label, "tick", "end")
            for i, spot in enumerate(spots):
                chart.mark(SHAPES[style], x(spot.value), y + 6 * (i % 3 - 1), style, spot.name)

    return twice(name, title, about, (), 44.0 * len(arms) + 8, 48.0, draw, 8.0)


def twice(
    name: str, title: str, about: str, keys: Keys, height: float, left: float, draw: Draw, above: float = 30.0
) -> Markup:
    """Draw for both widths, the legend on top."""
    made = []
    for kind, width in (("wide", WIDE), ("narrow", NARROW)):
        places, used = _legend(keys, width)
        frame = Frame(left, used + above, width - 10.0, used + above + height)
        chart = Chart(f"{name}-{kind}", title, about, width, frame.bottom + 48, kind)
        for (style, label), (x, y) in zip(keys, places, strict=True):
            chart.line([(x, y), (x + 26, y)], f"curve key {style}")
            chart.mark(SHAPES[style], x + 13, y, style, size=4.5)
            chart.text(x + 34, y + 4.5, label, "key", room=width - x - 38)
        draw(chart, frame)
        made.append(str(chart))
    return Markup("\n".join(made))


def _legend(keys: Keys, width: float) -> tuple[list[Point], float]:
    """Where each entry of a legend stands, and the height of all."""
    places: list[Point] = []
    x, y = 4.0, 12.0
    for _, label in keys:
        need = 34 + width_of(label) + 20
        if places and x + need > width:
            x, y = 4.0, y + 22
        places.append((x, y))
        x += need
    return places, (y + 12 if places else 0.0)


def _span(chart: Chart, x: Scale, y: float, span: Span, length: float) -> None:
    """One time to target: the bracket and its marker, or an open marker with an arrow where it was missed."""
    high = x(span.high / length)
    if span.missed:
        chart.mark(
            SHAPES[span.style], high, y, f"{span.style} open", f"{span.name}: not met within {short(span.high)} s"
        )
        chart.line(arrow(high + 6, y, 1), span.style)
        return
    low = x(span.low / length) if span.low > 0 else x.start
    chart.line([(low, y - 5), (low, y + 5)], f"cap {span.style}")
    chart.line([(low, y), (high, y)], f"bracket {span.style}")
    tip = f"{span.name}: after {short(span.low)} and not after {short(span.high)} s"
    chart.mark(SHAPES[span.style], high, y, span.style, tip)


def _whisker(chart: Chart, x: Scale, y: float, interval: tuple[float, float, float]) -> None:
    low, middle, high = interval
    open_low, open_high = low <= 0 if x.log else not math.isfinite(low), not math.isfinite(high)
    a = x.start if open_low else x(low)
    b = x.end if open_high else x(high)
    chart.line([(a, y), (b, y)], "whisker")
    for edge, unbounded, way in ((a, open_low, -1), (b, open_high, 1)):
        if unbounded:
            chart.line(arrow(edge - 14 * way, y, way), "whisker")
        else:
            chart.line([(edge, y - 6), (edge, y + 6)], "whisker")
    chart.mark("square", x(middle), y, "estimate", size=6)
