"""The waterfall in the terminal, as a chart, and as CSV: factors that multiply, at any width; misses are named."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from halftime.cli.ablate import shown
from halftime.ledger.store import Ledger
from halftime.measure.ablation import Ablation
from halftime.measure.shares import p_value
from halftime.methods import EMA, AdamW, LabelSmoothing, OneCycle
from halftime.recipe import Recipe
from halftime.report import waterfall
from halftime.report.page import ablation_page, proof_page
from halftime.report.waterfall import Fall, lines
from tests.report.records import BASE, FAST, write_proof
from tests.report.taken_apart import some_hits, write_ablation
from tests.report.test_page import checked, hidden

ONE = Recipe([AdamW(lr=0.003)], epochs=8, batch_size=64)
FOUR = ONE.plus(OneCycle(), LabelSmoothing(), EMA())
NAMES = ("EMA", "LabelSmoothing", "OneCycle")


@pytest.fixture
def found(tmp_path: Path) -> Ablation:
    return write_ablation(Ledger(tmp_path / "ledger"), ONE, FOUR, some_hits(NAMES), 3)


def test_bars_multiply_and_stand_where_the_one_before_ended() -> None:
    steps = [Fall("up", 4.0, 3.5, 4.5), Fall("down", 0.5, 0.4, 0.6), Fall("up again", 2.0, 1.9, 2.1)]
    shown = lines(steps, 100)
    bars = [line[line.index("to") + 8 :] if "to" in line else line for line in shown]
    assert "4.00×" in shown[-1], "the factors multiply"
    assert "░" in shown[1], "a loss looks different"
    assert shown[0].rstrip().endswith("█")
    length = [bar.count("█") + bar.count("░") for bar in bars]
    assert length[0] == pytest.approx(2 * length[1], abs=1), "equal factors are equal lengths"
    assert shown[1].index("░") == pytest.approx(shown[2].index("█"), abs=1)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = Fall("a method of a very long name", None, note="it cannot stand alone, since its slot is needed by another")
    steps = [Fall("OneCycle", 2.0, 1.5, math.inf, "at least"), long]
    assert all(len(line) <= width for line in lines(steps, width))


def test_a_bar_of_a_search_can_be_drawn() -> None:
    class Bar:
        change, ratio, low, high = "+ EMA()", 2.0, 1.8, 2.2

    assert "2.00×" in lines([Bar()], 80)[0]


def test_csv_holds_every_number_with_its_runs(found: Ablation) -> None:
    rows = list(csv.DictReader(io.StringIO(waterfall.to_csv(found))))
    assert tuple(rows[0]) == waterfall.HEAD
    assert len(rows) == 3 * 3 + 2
    shares = [float(row["ratio"]) for row in rows if row["kind"] == "share"]
    whole = next(float(row["ratio"]) for row in rows if row["kind"] == "whole")
    assert math.prod(shares) == pytest.approx(whole)
    every = {run.id for run in found.runs}
    for row in rows:
        assert set(row["runs"].split()) <= every
        assert len(row["runs"].split()) >= 6


def test_the_terminal_says_it_all(found: Ablation) -> None:
    for width in (60, 100, 200):
        text = shown(found, width)
        for name in (*NAMES, "interaction", "in all"):
            assert name in text
        assert "all" in text
        assert "nothing was tuned anew" in text


def test_changes_are_judged_together(tmp_path: Path) -> None:
    """One whose own interval lies clear of 1 is no gain yet where three are judged: the family errs in 5 %."""
    hits = some_hits(NAMES)
    hits[frozenset(NAMES) - {"EMA"}] = [10.6, 10.15, 10.9, 11.5, 11.0]
    hits[frozenset(NAMES) - {"OneCycle"}] = [20.0, 20.1, 20.2, 20.1, 20.0]
    hits[frozenset(NAMES) - {"LabelSmoothing"}] = [10.0, 10.2, 9.9, 10.1, 10.0]
    hits[frozenset(NAMES)] = [10.0, 10.1, 10.2, 10.1, 10.0]
    found = write_ablation(Ledger(tmp_path / "ledger"), ONE, FOUR, hits, 5)
    ema = next(part for part in found.parts if part.name == "EMA").without
    assert ema.low > 1.0
    assert 0.05 / 2 < p_value(ema) < 0.05
    assert found.verdicts == {"EMA": "not clear", "OneCycle": "pays", "LabelSmoothing": "not clear"}
    assert "missed when left out: OneCycle; not clear: LabelSmoothing, EMA" in found.words
    assert {row["name"]: row["verdict"] for row in waterfall.rows(found)} == found.verdicts
    for text in (shown(found, 200), checked(ablation_page(found)).text):
        assert "Holm" in text


def test_the_page_has_both_waterfalls_and_the_table_behind_them(found: Ablation) -> None:
    text = ablation_page(found)
    page = checked(text)
    hidden(text, str(found.folder))
    assert text.count("<svg") == 4, "two charts, each for a wide and a narrow window"
    for row in waterfall.rows(found):
        assert row["alone"] in page.text
        assert row["share"] in page.text
    assert "interaction" in page.text


def test_misses_and_refusals_are_said(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    hits = some_hits(("EMA", "OneCycle"))
    hits[frozenset()] = [None, None, None]
    del hits[frozenset({"EMA"})]
    why = "EMA would be left without any optimizer"
    found = write_ablation(ledger, ONE, ONE.plus(OneCycle(), EMA()), hits, 3, refused={frozenset({"EMA"}): why})
    assert found.orders == (("OneCycle", "EMA"),)
    text = shown(found, 200)
    assert why in text
    assert "3 runs miss it" in text
    assert "at least" in text
    assert found.interaction.estimate is None
    page = checked(ablation_page(found))
    assert why in page.text


def test_the_page_of_a_proof_shows_its_ablation(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    proof = write_proof(ledger, [20.0, 21.0, 22.0], [10.0, 10.5, 11.0])
    assert "halftime ablate" in checked(proof_page(proof)).text
    base = BASE.replace(epochs=FAST.epochs)
    found = write_ablation(ledger, base, FAST, some_hits(("AdamW", "OneCycle")), 3)
    page = checked(proof_page(proof, found))
    assert "What each change is worth" in page.text
