"""Noise and its price: a known spread is found again, misses are bounds, and quoted power is the power there is."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

import halftime as ht
from halftime.measure.noise import censored, noise, power_of, price, seeds_for
from halftime.measure.statistics import sd_interval
from tests.measure.test_proof import WORKLOAD, a_run


def test_the_spread_of_the_log_of_time_is_found() -> None:
    found = noise([a_run(seed, hit) for seed, hit in enumerate([10.0, 11.0, 12.0, 9.0, 10.5])])
    expected = np.std(np.log([10.0, 11.0, 12.0, 9.0, 10.5]), ddof=1)
    assert found.of == "log time to target"
    assert found.sd == pytest.approx(expected)
    assert found.low < found.sd < found.high
    assert (found.n, found.missed, found.seconds) == (5, 0, 110.0)


def test_a_miss_widens_the_spread_and_is_counted() -> None:
    hits = [60.0, 70.0, 80.0]
    found = noise([*(a_run(seed, hit) for seed, hit in enumerate(hits)), a_run(3, None, 0.89)])
    assert found.missed == 1
    assert found.sd > noise([a_run(seed, hit) for seed, hit in enumerate(hits)]).sd
    assert found.mean > np.mean(np.log(hits))
    assert "1 of them missed" in found.words


def test_a_censored_spread_is_near_the_true_one() -> None:
    """Over many samples of which a third is only known to lie above a bound, mean and deviation come out right."""
    draw, found = np.random.default_rng(0), []
    for _ in range(60):
        values = draw.normal(1.0, 0.5, 12)
        found.append(censored(list(values[values < 1.2]), [1.2] * int((values >= 1.2).sum())))
    means, sds = np.array(found).T
    assert np.median(means) == pytest.approx(1.0, abs=0.1)
    assert np.median(sds) == pytest.approx(0.5, abs=0.1)


def test_without_a_target_the_score_is_what_varies() -> None:
    no_target = {**WORKLOAD, "target": None}
    found = noise([a_run(seed, None, score, workload=no_target) for seed, score in enumerate([0.8, 0.82, 0.81])])
    assert found.of == "final score"
    assert (found.sd, found.missed) == (pytest.approx(0.01), 0)
    assert price(found, 1.0).seeds is not None


def test_runs_that_failed_are_counted_and_named() -> None:
    runs = [a_run(seed, hit) for seed, hit in enumerate([10.0, 11.0, 12.0])]
    died = dataclasses.replace(a_run(3, None), state="failed", id="r-diverged")
    strange = dataclasses.replace(a_run(4, None, math.nan), id="r-no-number")
    found = noise([*runs, died, strange])
    assert (found.n, found.failed) == (3, ("r-diverged", "r-no-number"))
    assert found.sd == noise(runs).sd
    assert found.words == noise(runs).words + "; 2 runs failed and are not among them: r-diverged, r-no-number"
    assert noise(runs).failed == ()
    with pytest.raises(ht.InputError, match="2 runs failed and are not among them: r-diverged, r-no-number"):
        noise([runs[0], died, strange])


def test_runs_that_are_all_alike_have_no_noise() -> None:
    no_target = {**WORKLOAD, "target": None}
    with pytest.raises(ht.InputError, match=r"3 runs have the same final score, 0\.8"):
        noise([a_run(seed, None, 0.8, workload=no_target) for seed in range(3)])


def test_one_run_has_no_noise() -> None:
    with pytest.raises(ht.InputError, match="two runs that finished"):
        noise([a_run(0, 10.0), a_run(1, None, None)])


@pytest.mark.parametrize(("sd", "gain"), [(0.05, 10.0), (0.1, 10.0), (0.27, 30.0)])
def test_quoted_power_is_found_by_simulation_within_two_points(sd: float, gain: float) -> None:
    distance, pair = -math.log1p(-gain / 100), sd * math.sqrt(2)
    n = seeds_for(distance, pair)
    assert n is not None
    draw = np.random.default_rng(1)
    arms = [offset + sd * draw.standard_normal((20_000, n)) for offset in (distance, 0.0)]
    logs = arms[0] - arms[1]
    t = logs.mean(1) / (logs.std(1, ddof=1) / math.sqrt(n))
    found = (t > stats.t.ppf(0.975, n - 1)).mean()
    assert found == pytest.approx(power_of(n, distance, pair), abs=0.02)
    assert power_of(n, distance, pair) >= 0.8
    assert n == 3 or power_of(n - 1, distance, pair) < 0.8


def test_a_pilot_quotes_the_power_that_its_prices_have_on_average() -> None:
    """Many pilots of five seeds each: some are lucky, yet the proofs they price show the gain as often as is said."""
    distance, sd = -math.log1p(-0.1), 0.1
    guesses = sd * np.sqrt(stats.chi2.rvs(4, size=60, random_state=3) / 4)
    priced = {
        known: [seeds_for(distance, float(s) * math.sqrt(2), known_by=known) for s in guesses] for known in (5, None)
    }
    found = {k: np.mean([power_of(n or 0, distance, sd * math.sqrt(2)) for n in ns]) for k, ns in priced.items()}
    assert found[5] == pytest.approx(0.8, abs=0.05)
    assert found[None] < found[5]


def test_the_interval_of_a_deviation_covers_it_in_19_of_20_cases() -> None:
    draw = np.random.default_rng(2)
    ends = [sd_interval(float(sd), 5) for sd in draw.standard_normal((2000, 5)).std(1, ddof=1)]
    assert 0.935 <= np.mean([low <= 1.0 <= high for low, high in ends]) <= 0.965


def test_a_price_in_seeds_hours_and_money() -> None:
    found = noise([a_run(seed, hit) for seed, hit in enumerate([10.0, 11.0, 12.0, 9.0, 10.5])])
    asked = price(found, 10.0, 0.8, per_hour=3.0)
    assert None not in (asked.seeds, asked.hours, asked.low, asked.high)
    assert asked.low <= asked.seeds <= asked.high
    assert asked.hours == pytest.approx(2 * asked.seeds * 110.0 / 3600)
    assert asked.money == pytest.approx(3 * asked.hours)
    assert asked.power >= 0.8
    assert f"a 10 % gain needs {asked.seeds} seeds per arm = " in asked.words
    assert price(found, 10.0).money is None
    more = [price(found, 10.0, sides=1).seeds, asked.seeds, price(found, 10.0, 0.95).seeds, price(found, 5.0).seeds]
    assert more == sorted(more, key=lambda n: n or 0)  # a stricter question never costs less
    assert price(found, 90.0).seeds == 5  # fewer prove nothing


def test_what_is_out_of_reach_is_said() -> None:
    found = noise([a_run(seed, hit) for seed, hit in enumerate([1.0, 90.0, 10.0])])
    assert "out of reach" in price(found, 0.1).words


@pytest.mark.parametrize(
    ("wrong", "line"),
    [({"gain": 0.0}, "gain must be"), ({"gain": 100.0}, "gain"), ({"gain": math.nan}, "gain"),
     ({"power": 1.0}, "power"), ({"per_hour": -1.0}, "price"),
     ({"per_hour": math.inf}, "price"), ({"level": 0.0}, "level")],
)  # fmt: skip
def test_impossible_questions(wrong: dict[str, float], line: str) -> None:
    found = noise([a_run(0, 10.0), a_run(1, 11.0)])
    with pytest.raises(ht.InputError, match=line):
        price(found, **{"gain": 10.0, **wrong})  # type: ignore[arg-type]
