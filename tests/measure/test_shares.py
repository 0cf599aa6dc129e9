"""Shares against the textbook formula, their sum, misses, coverage of the interval, and the error of drawn orders."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from halftime.measure import shares
from halftime.measure.shares import Cell, Effect
from halftime.measure.statistics import quantile

NAMES = ("a", "b", "c", "d", "e")


def subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(c) for k in range(len(names) + 1) for c in itertools.combinations(names, k)]


def everywhere(names: tuple[str, ...], seconds: list[float], seeds: int = 1) -> dict[frozenset[str], dict[int, Cell]]:
    return {key: dict.fromkeys(range(seeds), Cell(s)) for key, s in zip(subsets(names), seconds, strict=True)}


def value(effect: shares.Effect) -> float:
    assert effect.estimate is not None
    return effect.estimate


times = st.lists(st.floats(0.1, 1e4), min_size=8, max_size=8)


@given(times)
@settings(max_examples=60, deadline=None)
def test_shares_are_shapleys_and_multiply_to_the_whole(seconds: list[float]) -> None:
    names = NAMES[:3]
    cells, every = everywhere(names, seconds), frozenset(names)
    orders, of = shares.orders_of(names, 1, lambda _: True)
    assert (len(orders), of) == (6, 6)
    found = [value(shares.contrast(shares.share(name, orders), cells)) for name in names]
    for name, mine in zip(names, found, strict=True):
        formula = 0.0
        for key in subsets(names):
            if name not in key:
                weight = math.factorial(len(key)) * math.factorial(2 - len(key)) / 6
                formula += weight * math.log(cells[key][0].seconds / cells[key | {name}][0].seconds)
        assert mine == pytest.approx(math.exp(formula), rel=1e-9)
    whole = value(shares.contrast(shares.whole(every), cells))
    assert math.prod(found) == pytest.approx(whole, rel=1e-9)
    alone = math.prod(value(shares.contrast(shares.alone(name), cells)) for name in names)
    assert alone * value(shares.contrast(shares.interaction(every), cells)) == pytest.approx(whole, rel=1e-9)


@given(st.lists(st.floats(0.1, 1e3), min_size=32, max_size=32), st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_shares_of_drawn_orders_multiply_to_the_whole(seconds: list[float], wanted: int) -> None:
    cells = everywhere(NAMES, seconds)
    orders, of = shares.orders_of(NAMES, wanted, lambda _: True, "x")
    assert len(set(orders)) == wanted
    assert of == 120
    product = math.prod(value(shares.contrast(shares.share(name, orders), cells)) for name in NAMES)
    assert product == pytest.approx(seconds[0] / seconds[-1], rel=1e-6)


@pytest.mark.parametrize("logs", [[0.1, 0.3, 0.2, 0.25, 0.1], [-0.2, 0.1, -0.3, -0.4, -0.35], [0.1, -0.1, 0.05]])
def test_the_p_value_of_an_effect_is_students(logs: list[float]) -> None:
    cells = {frozenset({"a"}): {i: Cell(1.0) for i in range(len(logs))}}
    cells[frozenset()] = {i: Cell(math.exp(log)) for i, log in enumerate(logs)}
    effect = shares.contrast(shares.alone("a"), cells)
    expected = stats.ttest_1samp(logs, 0.0).pvalue
    assert shares.p_value(effect) == pytest.approx(expected, rel=1e-6)
    assert (shares.p_value(effect) < 0.05) == (effect.low > 1.0 or effect.high < 1.0)


def test_the_p_value_of_what_is_open_is_one() -> None:
    for effect in (
        Effect(None, why="a run failed"),
        Effect(2.0),
        Effect(2.0, 0.0, 3.0, 5),
        Effect(0.5, 0.4, math.inf, 5),
    ):
        assert shares.p_value(effect) == 1.0
    assert shares.p_value(Effect(2.0, 2.0, 2.0, 3)) == 0.0
    assert shares.p_value(Effect(1.0, 1.0, 1.0, 3)) == 1.0
    assert shares.p_value(Effect(2.0, 1.9, math.inf, 5, "at least")) < 0.05  # a base that misses opens the other end


def test_the_error_of_drawn_orders_is_as_large_as_is_said() -> None:
    chance = random.Random(1)
    cells = everywhere(NAMES, [math.exp(chance.gauss(0, 0.5)) for _ in range(32)])
    every = list(itertools.permutations(NAMES))
    truth = math.log(value(shares.contrast(shares.share("a", every), cells)))
    ratios = []
    for i in range(150):
        orders, of = shares.orders_of(NAMES, 12, lambda _: True, str(i))
        said = shares.drawn_error("a", orders, cells, of)
        effect = shares.contrast(shares.share("a", orders), cells, said)
        assert said
        ratios.append((math.log(value(effect)) - truth) / said)
    assert 0.75 < math.sqrt(math.fsum(r * r for r in ratios) / len(ratios)) < 1.3
    assert shares.drawn_error("a", every, cells, 120) == 0.0


def test_few_orders_leave_wide_ends_and_one_leaves_open_ones() -> None:
    cells = everywhere(NAMES, [float(i + 2) for i in range(32)], seeds=3)
    widths = []
    for wanted in (1, 2, 12):
        orders, of = shares.orders_of(NAMES, wanted, lambda _: True, "x")
        drawn = shares.drawn_error("a", orders, cells, of)
        effect = shares.contrast(shares.share("a", orders), cells, drawn, shares.reach(drawn, len(orders)))
        widths.append(math.inf if effect.low == 0.0 else math.log(effect.high / effect.low) / (drawn or 1.0))
    assert widths[0] == math.inf
    assert widths[1] == pytest.approx(2 * quantile(0.975, 1), rel=0.05)
    assert widths[2] == pytest.approx(2 * quantile(0.975, 11), rel=0.3)


def test_orders_that_cannot_be_trained_are_left_out_by_name() -> None:
    orders, of = shares.orders_of(["a", "b", "c"], 5, lambda key: key != {"b"} and key != {"a", "c"})
    assert of == len(orders) == 2
    assert all(order[0] != "b" and order[2] != "b" for order in orders)
    none, of = shares.orders_of(["a", "b"], 5, lambda key: len(key) != 1)
    assert (none, of) == ([], 0)


def test_misses_open_the_end_that_they_make_uncertain() -> None:
    base, full = frozenset[str](), frozenset({"a"})
    met, miss = {0: Cell(10.0), 1: Cell(11.0), 2: Cell(10.5)}, {0: Cell(20.0, met=False), 1: Cell(21.0), 2: Cell(22.0)}
    slow = shares.contrast(shares.whole(full), {base: miss, full: met})
    assert (slow.bound, slow.high, slow.missed) == ("at least", math.inf, 1)
    assert 0 < slow.low < value(slow)
    quick = shares.contrast(shares.whole(full), {base: met, full: miss})
    assert (quick.bound, quick.low) == ("at most", 0.0)
    both = shares.contrast(shares.whole(full), {base: miss, full: miss})
    assert both.estimate is None
    assert both.why == "the target is missed on both sides"
    dead = shares.contrast(shares.whole(full), {base: met, full: {**met, 1: Cell(0.1, met=False, failed=True)}})
    assert (dead.estimate, dead.why) == (None, "a run failed")
    assert shares.contrast(shares.whole(full), {base: met}).why == "no seed is complete yet"
    one = shares.contrast(shares.whole(full), {base: {0: Cell(4.0)}, full: {0: Cell(2.0)}})
    assert (one.low, one.high) == (0.0, math.inf)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_what_it_says(seeds: int) -> None:
    """With few seeds, a bootstrap alone covers the truth far less often than it says."""
    chance, base, full, held = random.Random(seeds), frozenset[str](), frozenset({"a"}), 0
    for _ in range(400):
        slow = {seed: Cell(math.exp(chance.gauss(math.log(2.0), 0.2))) for seed in range(seeds)}
        quick = {seed: Cell(math.exp(chance.gauss(0.0, 0.2))) for seed in range(seeds)}
        found = shares.contrast(shares.whole(full), {base: slow, full: quick})
        held += found.low <= 2.0 <= found.high
    assert held >= 0.92 * 400
