"""Scales and ticks hold for any numbers; a chart is well-formed whatever words it is given."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftime.report.charts import Curve, Span, Spot, curves, scores, spans, strip
from halftime.report.figures import focus
from halftime.report.svg import Chart, Frame, Scale, fit, labels, ticks, width_of

ANY = st.floats(allow_nan=True, allow_infinity=True)
HOSTILE = "</svg><script>alert(1)</script>\" onload='x' \x00\ud800 ]]> &amp;"


@given(st.lists(ANY, max_size=8), st.booleans(), ANY, ANY)
def test_a_scale_is_monotone_and_inside_the_frame(values: list[float], log: bool, a: float, b: float) -> None:
    scale = Scale.around(values, 10.0, 110.0, log)
    assert scale.low < scale.high
    assert math.isfinite(scale.low)
    assert math.isfinite(scale.high)
    assert scale.low > 0 or not log
    shown = [v for v in values if math.isfinite(v) and abs(v) < 1e150 and (v > 1e-150 or not log)]
    assert all(scale.low <= v <= scale.high for v in shown)
    for value in (a, b):
        assert 10.0 <= scale(value) <= 110.0
        assert math.isfinite(scale.beyond(value))
    if a <= b:
        assert scale(a) <= scale(b)


@given(st.lists(ANY, max_size=8), st.booleans(), st.integers(2, 9))
def test_ticks_rise_within_the_scale(values: list[float], log: bool, most: int) -> None:
    scale = Scale.around(values, 0.0, 100.0, log)
    found = scale.ticks(most)
    assert 1 <= len(found) <= max(most, 2)
    assert all(scale.low <= t <= scale.high for t in found)
    assert all(x < y for x, y in itertools.pairwise(found))
    assert len(labels(found)) == len(found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]), (0.9512, 0.9731, ["0.955", "0.960", "0.965", "0.970"]),
     (0, 1530, ["0", "500", "1000", "1500"]), (-0.5, 0.5, ["−0.4", "−0.2", "0.0", "0.2", "0.4"])],
)  # fmt: skip
def test_ticks_are_round_and_their_labels_line_up(low: float, high: float, expected: list[str]) -> None:
    assert labels(ticks(low, high)) == expected


def test_a_log_scale_has_round_ticks() -> None:
    assert Scale(0.9, 110.0, 0, 1, log=True).ticks(8) == [1, 2, 5, 10, 20, 50, 100]
    assert labels(Scale(1e-3, 1e6, 0, 1, log=True).ticks(5))[0] == "0.001"


def test_equal_values_get_room_and_neighbours_their_own_labels() -> None:
    for value in (0.0, 0.97, -3.0, 1e120):
        scale = Scale.around([value] * 5, 0.0, 100.0)
        assert scale(value) == pytest.approx(50.0)
        assert len(set(labels(scale.ticks()))) == len(scale.ticks()) >= 2


@given(st.text(max_size=60), st.floats(30, 400))
def test_words_are_cut_to_their_room(text: str, room: float) -> None:
    assert width_of(fit(text, room)) <= room + 12


def texts_of(markup: str) -> str:
    return " ".join(ET.fromstring(f"<r>{markup}</r>").itertext())


def test_charts_are_well_formed_and_nothing_in_them_runs() -> None:
    line = [Curve(HOSTILE, "base", [(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)], (0.0, 1.0))]
    made = [
        curves("a", HOSTILE, HOSTILE, line, [("base", HOSTILE)], HOSTILE, 1.5),
        curves("b", "t", "d", [], [], "v"),
        spans("c", HOSTILE, HOSTILE, [(HOSTILE, [Span(HOSTILE, "fast", 0.0, 0.0), Span("m", "base", 1, 1, True)])], []),
        spans("d", "t", "d", [], []),
        strip("e", "t", "d", [Spot(HOSTILE, 2, "at least")], (0, 2, math.inf), [(1, "zero", HOSTILE)], "x", log=True),
        scores("f", "t", "d", [("base", HOSTILE, [Spot("s", 1.0)])], (1.0, 0.9)),
    ]  # fmt: skip
    for markup in made:
        root = ET.fromstring(f"<r>{markup}</r>")
        assert len(root) == 2, "once wide, once narrow"
        for svg in root:
            assert svg.get("role") == "img"
            ids = {e.get("id") for e in svg.iter() if e.get("id")}
            assert set(svg.get("aria-labelledby", "").split()) <= ids
            assert {e.tag for e in svg.iter()} <= {"svg", "title", "desc", "g", "path", "text", "rect", "clipPath"}
            assert not [k for e in svg.iter() for k in e.attrib if k.startswith("on") or k in ("style", "href")]
            numbers = [v for e in svg.iter() for k, v in e.items() if k in ("d", "x", "y", "width", "height")]
            assert not [n for n in numbers if "nan" in n or "inf" in n]
    assert "<script" not in "".join(made)


def test_long_words_are_cut_and_whole_under_the_pointer() -> None:
    chart = Chart("n", "t", "d", 300, 100)
    chart.text(0, 10, "w" * 200, room=100)
    chart.clip(Frame(0, 0, 10, 10))
    found = texts_of(str(chart))
    assert "…" in found
    assert "w" * 200 in found


def test_focus_leaves_out_a_bad_start_only() -> None:
    values = [0.1, 0.2, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.95, 0.95]
    assert min(focus(values, 0.95, "higher")) == 0.9
    assert max(focus([-v for v in values], -0.95, "lower")) == -0.9
    assert len(focus([0.5, 0.6, 0.7, 0.8, 0.9], 0.9, "higher")) == 6
    assert focus([], 0.9, "higher") == [0.9]
