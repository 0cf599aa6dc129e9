"""The terminal's view: quiet on a pipe, a bar on a terminal, nothing where nothing is wanted."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

import halftime as ht
from halftime.methods import SGD
from halftime.report.live import Live
from halftime.report.tables import bracket, cell, table
from tests.conftest import make_task

RECIPE = ht.Recipe([SGD()], steps=8, batch_size=32)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_hold_score_time_left_and_pace(capsys: pytest.CaptureFixture[str]) -> None:
    ht.train(make_task(), RECIPE, device="cpu")
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.splitlines()[0] == "bright · SGD, 8 steps, batch 32 · seed 0"
    last = shown.err.splitlines()[-1]
    for piece in ("step 8/8", "steps/s", "s left", "score 0.", "(target 0.9)"):
        assert piece in last
    assert len(shown.err.splitlines()) <= 4  # not a line a step


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    ht.train(make_task(), RECIPE, device="cpu")
    shown = screen.getvalue()
    assert "\r" in shown
    assert "100%" in shown
    assert "score 0." in shown


def test_after_a_stop_the_bar_tells_the_speed_of_this_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Live("w", RECIPE, 0, None, None, begun=9000) as live:
        time.sleep(0.05)
        live.show(9001, 10000, 50.0)
    rate = float(re.findall(r"([0-9.]+) steps/s", screen.getvalue())[-1])
    assert rate < 100


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ht.train(make_task(), RECIPE, device="cpu", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_say_returns_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    with Live("w", RECIPE, 0, None, False) as live:
        assert live.say("a line") == "a line"
    assert "a line" in capsys.readouterr().err


def test_tables_align_numbers_to_the_right() -> None:
    lines = table(["name", "value"], [["a", 1.5], ["bcd", None], ["e", float("inf")]]).splitlines()
    assert [line.rstrip() for line in lines] == ["name  value", "a       1.5", "bcd       –", "e         –"]
    assert cell(0.123456) == "0.1235"
    assert bracket(None) == "missed"
