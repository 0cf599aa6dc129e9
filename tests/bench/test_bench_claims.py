"""The measurement of false claims runs, and counts what it says it counts."""

from __future__ import annotations

import numpy as np

from bench.claims import fixed_claims, powers, real_claims, replay, savings, simulated_claims
from bench.tables import NEEDED
from halftime.measure.sequential import Design


def test_figures_are_whole_and_near_what_was_predicted() -> None:
    rng = np.random.default_rng(0)
    figures = simulated_claims(rng, 60)
    found, rows = powers(rng, 200, pilots=10)
    figures += found
    assert all(0.0 <= row["found"] <= 1.0 and row["quoted"] >= 0.8 for row in rows)
    found, rows = savings(rng, 200)
    figures += found
    assert all(row["runs, twice"] < row["runs, as asked"] for row in rows)
    assert all(set(NEEDED) <= set(figure) for figure in figures)
    assert len({figure["name"] for figure in figures}) == len(figures)


def test_a_real_gain_is_no_false_claim_and_would_be_counted() -> None:
    """The counters can be other than zero."""
    rng = np.random.default_rng(1)
    assert replay(3.0 + rng.standard_normal((50, 8)), Design(2.0, most=8))[0].mean() > 0.9
    assert fixed_claims(rng, "normal", 0.1, 400) > 0


def test_one_real_comparison() -> None:
    figures, rows = real_claims(1)
    assert [row["pairing"] for row in rows] == ["same seeds", "same seeds", "other seeds", "other seeds"]
    assert all(row["pairs met"] == 5 for row in rows)
    assert all(figure["n"] == 1 for figure in figures)
