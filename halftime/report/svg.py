"""Inline SVG made in Python: scales, ticks and a small canvas. Colours and dashes come from the page's style sheet."""

from __future__ import annotations

import dataclasses
import itertools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from halftime.report.words import clean, short

HUGE = 1e150  # beyond it a chart shows the edge, so that no difference overflows
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Scale:
    """Values on one side, pixels on the other: `low` stands at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, log: bool = False, pad: float = 0.04) -> Scale:
        """A scale with room for all finite values, some room beside them, and never of zero width.

        Args:
            values: what is to be shown; not finite ones are left out, and so are those up to 0 on a log scale.
            start: pixel of the low end.
            end: pixel of the high end.
            log: whether equal factors are equal distances.
            pad: room at either end, as a share of the width.
        """
        shown = [max(-HUGE, min(HUGE, v)) for v in values if math.isfinite(v)]
        if log:
            logs = [math.log(max(v, 1 / HUGE)) for v in shown if v > 0] or [0.0]
            low, high = _widened(min(logs), max(logs), 0.2, pad)
            return cls(math.exp(low), math.exp(high), start, end, log)
        low, high = min(shown, default=0.0), max(shown, default=1.0)
        return cls(*_widened(low, high, 0.05 * max(abs(low), abs(high)) or 0.5, pad), start, end)

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is put on the edge."""
        if math.isnan(value):
            return self.start
        value = max(self.low, min(self.high, value))
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = max(0.0, min(1.0, (value - low) / (high - low)))
        return self.start + (self.end - self.start) * share

    def beyond(self, value: float) -> float:
        """The pixel of a value, also outside the frame, so that a line that leaves it keeps its slope."""
        if self.log or self.low <= value <= self.high:
            return self(value)
        share = (max(-HUGE, min(HUGE, value)) - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * max(-20.0, min(20.0, share))

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the scale, at most about `most` of them, rising."""
        if not self.log:
            return ticks(self.low, self.high, most)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found = [
                d * 10.0**e for e in range(first, last + 1) for d in digits if self.low <= d * 10.0**e <= self.high
            ]
            if 3 <= len(found) <= most:
                return found
        if len(found) > most:
            return found[:: math.ceil(len(found) / most)]
        return ticks(self.low, self.high, most)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Rising multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most `most` of them."""
    rough = (high - low) / max(1, most - 1)
    if not rough > 0 or not math.isfinite(rough) or low + rough == low or high - rough == high:
        return [low] if low == high or most < 2 else [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10, 20) if power * digit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [max(low, min(high, float(f"{k * step:.12g}"))) for k in range(first, last + 1)][:most] or [low, high]


def _widened(low: float, high: float, least: float, pad: float) -> tuple[float, float]:
    """`low` and `high` drawn apart to a width of at least twice `least`, and padded."""
    if high - low < least * 1e-3:
        return low - least, high + least
    return low - (high - low) * pad, high + (high - low) * pad


@dataclasses.dataclass
class Frame:
    """The part of a chart where the data is: left, top, right, bottom in pixels."""

    left: float
    top: float
    right: float
    bottom: float


class Chart:
    """One SVG element with a title and a description for those who do not see it.

    Args:
        name: unique on the page; other elements refer to it.
        title: what it shows.
        description: what there is to see, in a sentence.
        width: pixels of the design; the page scales it.
        height: likewise.
        kind: class of the element, such as "wide" or "narrow".
    """

    def __init__(self, name: str, title: str, description: str, width: float, height: float, kind: str = "") -> None:
        self.name, self.width, self.height = name, width, height
        about = {"role": "img", "aria-labelledby": f"{name}-title {name}-desc", "class": f"chart {kind}".strip()}
        self.root = ET.Element("svg", {"viewBox": f"0 0 {px(width)} {px(height)}", **about})
        self._into = self.root
        self.add("title", title, id=f"{name}-title")
        self.add("desc", description, id=f"{name}-desc")

    def add(self, tag: str, text: str = "", **attributes: str | float) -> ET.Element:
        """An element; `_` in a name of an attribute stands for `-`, numbers are pixels."""
        made = ET.SubElement(self._into, tag)
        for key, value in attributes.items():
            made.set(key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else px(value))
        if text:
            made.text = clean(text)
        return made

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start", room: float = 0.0) -> None:
        """Words at a point; longer ones than `room` pixels are cut, and whole in a title."""
        shown = fit(text, room) if room else text
        made = self.add("text", shown, x=x, y=y, class_=style, text_anchor=anchor)
        if shown != text:
            ET.SubElement(made, "title").text = clean(text)

    def line(self, points: Sequence[Point], style: str, tip: str = "") -> None:
        """A line through points; `tip` shows up under the pointer."""
        if len(points) > 1:
            path = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
            self._tip(self.add("path", d=path, class_=f"line {style}"), tip)

    def rect(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """A filled area."""
        self.add("rect", x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=style)

    def mark(self, shape: str, x: float, y: float, style: str, tip: str = "", size: float = 5.0) -> None:
        """A marker: circle, diamond, square, triangle or cross."""
        self._tip(self.add("path", d=_shape(shape, x, y, size), class_=f"mark {shape} {style}"), tip)

    def clip(self, frame: Frame) -> None:
        """From here on nothing shows outside the frame, until `unclip`."""
        inside = ET.SubElement(self.root, "clipPath", id=f"{self.name}-clip")
        size = {"width": frame.right - frame.left, "height": frame.bottom - frame.top}
        ET.SubElement(inside, "rect", {k: px(v) for k, v in {"x": frame.left, "y": frame.top, **size}.items()})
        self._into = ET.SubElement(self.root, "g", {"clip-path": f"url(#{self.name}-clip)"})

    def unclip(self) -> None:
        """Show everything again."""
        self._into = self.root

    def x_axis(self, scale: Scale, frame: Frame, label: str, unit: str = "", most: int = 6) -> None:
        """Ticks with thin upright lines, their values, and the name of the axis below."""
        found = scale.ticks(most)
        for value, words in zip(found, labels(found), strict=True):
            x = scale(value)
            self.line([(x, frame.top), (x, frame.bottom)], "grid")
            anchor = "end" if x > self.width - 20 else "middle"
            self.text(x, frame.bottom + 18, words + unit, "tick", anchor)
        self.line([(frame.left, frame.bottom), (frame.right, frame.bottom)], "axis")
        room = self.width - 8.0
        half = min(room, width_of(label)) / 2
        middle = min(max((frame.left + frame.right) / 2, half), self.width - half)
        self.text(middle, frame.bottom + 38, label, "label", "middle", room)

    def y_axis(self, scale: Scale, frame: Frame, label: str, most: int = 6) -> None:
        """Ticks with thin level lines, their values, and the name of the axis above."""
        found = scale.ticks(most)
        for value, words in zip(found, labels(found), strict=True):
            y = scale(value)
            self.line([(frame.left, y), (frame.right, y)], "grid")
            self.text(frame.left - 7, y + 4.5, words, "tick", "end")
        self.text(4, frame.top - 10, label, "label", "start", self.width - 8.0)

    def __str__(self) -> str:
        return ET.tostring(self.root, encoding="unicode", short_empty_elements=False)

    def _tip(self, element: ET.Element, tip: str) -> None:
        if tip:
            ET.SubElement(element, "title").text = clean(tip)


def labels(values: Sequence[float]) -> list[str]:
    """Numbers for an axis: as many decimals as tell neighbours apart, the same for all of them."""
    gap = min((b - a for a, b in itertools.pairwise(values)), default=0.0)
    top = max((abs(v) for v in values), default=0.0)
    even = len(values) < 3 or values[-1] - values[0] < gap * (len(values) + 0.5)
    if not gap > 0 or top >= 1e6 or top < 1e-4 or not even:
        return [short(v) for v in values]
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [f"{v:.{decimals}f}".replace("-", "−") for v in values] if decimals <= 8 else [short(v) for v in values]


def width_of(text: str) -> float:
    """Pixels that words take at most, or nearly, in the 13 pixel letters of the style sheet."""
    return math.fsum(_width(c) for c in text)


def _width(letter: str) -> float:
    if letter in "fijlrt.,:;|!' ()[]":
        return 5.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 13.5
    return 11.5 if letter in "mwMW%@" else 9.2 if letter.isupper() else 8.0


def fit(text: str, room: float) -> str:
    """Words cut to so many pixels, with an ellipsis where something is missing."""
    if width_of(text) <= room:
        return text
    used, kept = 12.0, ""
    for letter in text:
        used += _width(letter)
        if used > room:
            break
        kept += letter
    return kept.rstrip() + "…"


def arrow(x: float, y: float, way: int) -> list[Point]:
    """A level line with a head, to the right (`way` 1) or to the left (-1)."""
    tip = x + 14 * way
    return [(x, y), (tip, y), (tip - 5 * way, y - 4), (tip, y), (tip - 5 * way, y + 4)]


def px(value: float) -> str:
    """A pixel position, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def _shape(shape: str, x: float, y: float, r: float) -> str:
    around = {
        "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        "triangle": ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    }
    if shape in around:
        return "M" + "L".join(f"{px(x + r * a)} {px(y + r * b)}" for a, b in around[shape]) + "Z"
    if shape == "cross":
        a, b, c, d = px(x - r), px(x + r), px(y - r), px(y + r)
        return f"M{a} {c}L{b} {d}M{a} {d}L{b} {c}"
    return f"M{px(x - r)} {px(y)}a{px(r)} {px(r)} 0 1 0 {px(2 * r)} 0a{px(r)} {px(r)} 0 1 0 {px(-2 * r)} 0Z"
