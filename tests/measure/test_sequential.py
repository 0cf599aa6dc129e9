"""The sequential test: its error rates and its costs by simulation, its boundaries against what theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import halftime as ht
from bench.claims import draw, replay
from halftime.measure.sequential import QUALITY, Design, boundaries, design, follow, log_ratio, running


@pytest.mark.parametrize("effect", [0.5, -1.0, 2.0])
@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_likelihood_ratio_is_that_of_the_t_statistic(n: int, effect: float) -> None:
    for t in (-1.5, 0.0, 1.0, 2.5):
        direction = np.array(t / math.sqrt(t * t + n - 1))
        expected = stats.nct.logpdf(t, n - 1, effect * math.sqrt(n)) - stats.t.logpdf(t, n - 1)
        assert float(log_ratio(direction, n, effect)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("effect", [0.5, 0.7, 1.0, 2.0])
@pytest.mark.parametrize(("alpha", "power"), [(0.025, 0.975), (0.025, 0.8), (0.05, 0.9)])
def test_error_rates_are_at_most_what_is_stated(effect: float, alpha: float, power: float) -> None:
    plan = Design(effect, alpha, power)
    rng, n = np.random.default_rng(3), 8000
    noise = 3 * math.sqrt(alpha * (1 - alpha) / n)
    wrong = replay(rng.standard_normal((n, plan.most)), plan)[0].mean()
    assert wrong <= alpha + noise
    found = replay(effect + rng.standard_normal((n, plan.most)), plan)[0].mean()
    assert found >= power - 0.05


@pytest.mark.parametrize("scale", [0.02, 0.1, 0.27])
def test_a_wrong_idea_of_the_noise_or_heavy_tails_make_no_false_claims(scale: float) -> None:
    plan = design(10, 0.1)
    rng = np.random.default_rng(4)
    for kind in ("normal", "heavy tails"):
        assert replay(scale * draw(rng, kind, (4000, plan.most)), plan)[0].mean() <= 0.033


def test_half_the_runs_of_the_fixed_design() -> None:
    plan, rng = Design(0.5), np.random.default_rng(5)
    spent = [replay(mean + rng.standard_normal((4000, plan.most)), plan)[1].mean() / plan.fixed for mean in (0.0, 0.5)]
    assert np.mean(spent) <= 0.5
    assert max(spent) <= 0.53


def test_following_is_what_the_simulations_replay() -> None:
    plan, rng = Design(1.0, most=12), np.random.default_rng(6)
    rows = rng.choice([0.0, 0.6, 1.2], (60, 1)) + rng.standard_normal((60, plan.most))
    seen = set()
    for values, won, spent in zip(rows, *replay(rows, plan), strict=True):
        stopped = follow(list(values[:spent]), plan)
        assert (stopped.low > 0) == won
        assert won or spent == plan.most or stopped.futile
        for n in range(3, int(spent)):
            before = follow(list(values[:n]), plan)
            assert not before.futile
            assert n < 5 or before.low <= 0
        seen.add((bool(won), stopped.futile))
    assert {(True, False), (False, True)} <= seen


def test_repeated_bounds_cover_the_mean_at_every_look_together() -> None:
    plan, rng, wrong = Design(1.0), np.random.default_rng(7), 0
    for values in 0.4 + rng.standard_normal((400, 20)):
        looks = [follow(list(values[:n]), plan) for n in range(3, 21)]
        wrong += not all(look.low <= 0.4 <= look.high for look in looks)
    assert wrong <= 400 * 0.05 + 13


@pytest.mark.parametrize("effects", [QUALITY, (*[1.5] * len(QUALITY), *QUALITY)], ids=["five", "one of them heavier"])
def test_running_bounds_cover_whatever_the_effect(effects: tuple[float, ...]) -> None:
    rng, wrong = np.random.default_rng(8), 0
    for values in rng.standard_normal((300, 12)):
        wrong += any(running(list(values[:n]), 0.05, effects).low > 0 for n in range(3, 13))
    assert wrong <= 300 * 0.05 + 11
    assert running([0.010, 0.011, 0.009, 0.010, 0.010]).low > 0


@pytest.mark.parametrize("most", [5, 8, 12])
def test_few_pairs_bound_the_quality_nearer_and_still_cover(most: int) -> None:
    plan, rng, wrong = Design(1.5, most=most), np.random.default_rng(9), 0
    for values in rng.standard_normal((300, most)):
        looks = [running(list(values[:n]), 0.05, plan.quality) for n in range(3, most + 1)]
        wrong += any(look.low > 0 for look in looks)
    assert wrong <= 300 * 0.05 + 11
    last = [running(list(values), 0.05, effects) for effects in (plan.quality, QUALITY)]
    assert last[0].low > last[1].low
    assert len(plan.quality) == 1


def test_many_pairs_keep_the_bound_that_fits_every_effect() -> None:
    assert Design(1.0).quality == QUALITY


def test_swapping_the_arms_mirrors_the_bounds() -> None:
    values = [0.5, 0.1, 0.4, 0.3, 0.6, 0.2]
    there, back = follow(values, Design()), follow([-v for v in values], Design())
    assert (there.low, there.high) == (-back.high, -back.low)


def test_a_design_that_is_cut_short_does_not_promise_its_power() -> None:
    assert "or less" in Design(0.5, most=10).words
    assert "or less" not in Design(0.5).words


def test_too_few_values_say_nothing() -> None:
    for values in ([], [1.0], [1.0, 1.0]):
        found = follow(values, Design())
        assert (found.low, found.high, found.futile) == (-math.inf, math.inf, False)
    assert np.isinf(boundaries(Design(1.0, most=10))[1][:2]).all()


def test_equal_values_are_no_division_by_zero() -> None:
    assert follow([0.0] * 5, Design()).low <= 0
    assert follow([0.2] * 5, Design(1.5)).low == pytest.approx(0.2, rel=1e-3)


def test_a_design_goes_through_json_unchanged() -> None:
    import json

    plan = design(10, 0.2, most=30)
    assert Design(**json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("make", "line"),
    [(lambda: design(0, 0.1), "gain"), (lambda: design(100, 0.1), "gain"), (lambda: design(0.1, 5.0), "drowns"),
     (lambda: Design(most=2), "most"), (lambda: Design(effect=0.0), "effect"), (lambda: Design(power=1.0), "power")],
)  # fmt: skip
def test_impossible_designs(make: object, line: str) -> None:
    with pytest.raises(ht.InputError, match=line):
        make()  # type: ignore[operator]
