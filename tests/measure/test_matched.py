"""How much longer one recipe must be trained than another, on curves whose ratio is known."""

from __future__ import annotations

import math
import random

import pytest

from halftime.measure.matched import matched, timed

LENGTHS = (8.0, 20.0)
TARGET = 0.5 + 0.1 * math.log(13.0)  # the score of the plain arm at 13 s


def arm(seeds: int, faster: float = 1.0, slower: float = 1.0, noise: float = 0.0, slope: float = 0.1, seed: int = 0):
    """Runs whose score rises with the log of the steps; `faster` in steps, `slower` in seconds a step."""
    draw = random.Random(seed)
    return [
        [(t * slower, 0.5 + slope * math.log(t * faster) + draw.gauss(0, noise)) for t in LENGTHS] for _ in range(seeds)
    ]


@pytest.mark.parametrize(("faster", "slower"), [(1.5, 1.0), (1.0, 1.3), (1.5, 1.5), (0.8, 0.9)])
def test_the_ratio_is_steps_over_cost(faster: float, slower: float) -> None:
    found = matched(arm(5), arm(5, faster, slower), TARGET)
    assert found.estimate == pytest.approx(faster / slower)
    assert (found.low, found.high) == pytest.approx((faster / slower,) * 2)


def test_the_interval_covers_and_a_method_that_does_nothing_seldom_gains() -> None:
    covered, gains, rounds = 0, 0, 400
    for one in range(rounds):
        found = matched(arm(5, noise=0.01, seed=2 * one), arm(5, 1.2, noise=0.01, seed=2 * one + 1), TARGET)
        covered += found.low <= 1.2 <= found.high
        nothing = matched(arm(5, noise=0.01, seed=-2 * one), arm(5, noise=0.01, seed=-2 * one - 1), TARGET)
        gains += nothing.low > 1.0
    assert covered / rounds > 0.92
    assert gains / rounds < 0.045  # 2.5 % are due


def test_curves_that_cross_are_compared_at_the_target() -> None:
    """Ahead after a short training, and behind after a long one: what counts is where the target lies."""
    base, quick = arm(5, noise=0.001), arm(5, 1.3, slope=0.05, noise=0.001, seed=1)
    for one in quick:
        one[:] = [(t, s + 0.12) for t, s in one]
    assert matched(base, quick, TARGET - 0.04).low > 1.0
    assert matched(base, quick, TARGET + 0.04).high < 1.0


@pytest.mark.parametrize("flat", ["base", "fast"])
def test_where_longer_training_does_not_end_better_nothing_is_concluded(flat: str) -> None:
    arms = {"base": arm(5, noise=0.01), "fast": arm(5, 1.2, noise=0.01, seed=1)} | {flat: arm(5, slope=0.0, noise=0.01)}
    found = matched(arms["base"], arms["fast"], TARGET)
    assert (found.low, found.high) == (0.0, math.inf)


def test_beyond_the_lengths_it_is_a_bound() -> None:
    found = matched(arm(5, noise=0.001), arm(5, 10.0, noise=0.001, seed=1), TARGET)
    assert (found.bound, found.high) == ("at least", math.inf)
    assert 1.0 < found.low <= found.estimate == pytest.approx(13.0 / (8.0 / 1.25), rel=0.03)
    found = matched(arm(5, noise=0.001), arm(5, 0.1, noise=0.001, seed=1), TARGET)
    assert (found.bound, found.low) == ("at most", 0.0)
    assert found.high < 1.0
    both = matched(arm(5, noise=0.001), arm(5, 1.2, noise=0.001, seed=1), target=2.0)  # far above what either reaches
    assert (both.low, both.high) == (0.0, math.inf)


def test_a_run_without_a_score_opens_the_side_that_it_weakens() -> None:
    broken = arm(5, 1.5)
    broken[2][1] = (13.0, None)
    found = matched(arm(5), broken, TARGET)
    assert (found.low, found.bound, found.n) == (0.0, "at most", 4)
    found = matched(broken, arm(5, 1.5), TARGET)
    assert (found.high, found.bound) == (math.inf, "at least")
    lost = matched(arm(2), [[(t, math.nan) for t in LENGTHS]] * 2, TARGET)
    assert (lost.low, lost.high, lost.n) == (0.0, math.inf, 0)


def test_of_an_exact_method_the_seconds_count() -> None:
    found = timed([[1.1, 2.2], [1.0, 2.1], [1.2, 2.2]], [[1.0, 2.0], [0.95, 1.9], [1.1, 2.0]])
    assert 1.0 < found.low < found.estimate < 1.15
    assert timed([[1.0]], [[0.5]]).low == 0.0
