"""A proof that was not shown is printed as not shown, with what it had; open ends are open."""

from __future__ import annotations

from typing import Any

import pytest

from bench import searches, tables
from halftime.search.records import Found


def found(verdict: str, ratio: Any) -> Found:
    recipe = {"methods": {}, "steps": 1, "batch_size": 1}
    return Found("s1", verdict, "", {}, {}, recipe, ratio=ratio, seconds=60.0)


@pytest.mark.parametrize(
    ("verdict", "ratio", "words"),
    [
        ("faster", (3.0, 2.0, None), "3 times (interval of its proof 2 to no upper end)"),
        ("faster", (3.0, 2.0, 4.0), "3 times (interval of its proof 2 to 4)"),
        ("not shown", (1.5, 0.9, 2.5), "not shown: 1.5 times (interval of its proof 0.9 to 2.5)"),
        ("not shown", (1.5, 0.0, 2.5), "not shown: 1.5 times (interval of its proof no lower end to 2.5)"),
        ("nothing found", None, "not shown: no ratio"),
    ],
)
def test_what_was_not_shown_is_not_a_measured_1(verdict: str, ratio: Any, words: str) -> None:
    (figure,), _, _ = searches.told("digits", found(verdict, ratio), None, 1)
    assert tables.measured(figure) == words
    assert set(tables.NEEDED) <= set(figure)


def test_a_second_proof_that_could_not_be_made_is_not_shown() -> None:
    figures, row, _ = searches.told("digits", found("faster", (3.0, 2.0, None)), None)
    assert tables.measured(figures[1]) == "not shown: no ratio"
    assert row["over AdamW + OneCycle"] is None
