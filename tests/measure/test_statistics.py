"""Named properties of the statistics of a comparison."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from halftime.errors import InputError
from halftime.measure.statistics import difference, holm, median, p_value, quantile, seeds_needed, speedup, spread

seconds = st.floats(0.01, 1e5)
hit_pairs = st.lists(st.tuples(seconds, seconds), min_size=2, max_size=12)


@given(hit_pairs)
def test_interval_equals_scipys_paired_t(pairs: list[tuple[float, float]]) -> None:
    found = speedup([(b, b, f, f) for b, f in pairs])
    logs = [math.log(b / f) for b, f in pairs]
    assume((spread(logs) or 0.0) > 1e-6)  # SciPy warns where there is no spread
    expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    assert found.low == pytest.approx(math.exp(expected.low), rel=1e-6)
    assert found.high == pytest.approx(math.exp(expected.high), rel=1e-6)


@given(hit_pairs)
def test_swapping_the_arms_inverts_the_ratio(pairs: list[tuple[float, float]]) -> None:
    there = speedup([(b, b, f, f) for b, f in pairs])
    back = speedup([(f, f, b, b) for b, f in pairs])
    assert there.estimate * back.estimate == pytest.approx(1.0)
    assert there.low * back.high == pytest.approx(1.0, rel=1e-6)


@given(hit_pairs, st.floats(0.1, 10))
def test_a_common_change_of_units_changes_nothing(pairs: list[tuple[float, float]], unit: float) -> None:
    one = speedup([(b, b, f, f) for b, f in pairs])
    other = speedup([(b * unit, b * unit, f * unit, f * unit) for b, f in pairs])
    assert one.estimate == pytest.approx(other.estimate)


def test_a_base_that_misses_opens_the_upper_end_only() -> None:
    found = speedup([(None, 30.0, 10.0, 12.0), (25.0, 30.0, 11.0, 12.0), (None, 30.0, 9.0, 12.0)])
    assert found.bound == "at least"
    assert found.high == math.inf
    assert found.low > 1.0


def test_a_fast_arm_that_misses_opens_the_lower_end_only() -> None:
    found = speedup([(20.0, 30.0, None, 30.0), (25.0, 30.0, 11.0, 12.0), (22.0, 30.0, 9.0, 12.0)])
    assert found.bound == "at most"
    assert found.low == 0.0
    assert found.high < math.inf


def test_one_pair_has_no_interval() -> None:
    found = speedup([(20.0, 20.0, 10.0, 10.0)])
    assert (found.estimate, found.low, found.high) == (2.0, 0.0, math.inf)


def test_identical_arms_are_called_different_in_one_of_twenty_cases_at_most() -> None:
    """1,000 experiments in which nothing differs: the two-sided 95 % interval excludes 1x in some 5 % of them."""
    draw, wrong = random.Random(0), 0
    for _ in range(1000):
        found = speedup(
            [(b, b, f, f) for b, f in ((draw.lognormvariate(0, 0.1), draw.lognormvariate(0, 0.1)) for _ in range(5))]
        )
        wrong += found.low > 1.0 or found.high < 1.0
    assert 25 <= wrong <= 75


def test_difference_is_paired() -> None:
    found = difference([0.5, 0.6, 0.7], [0.51, 0.61, 0.71])
    assert found.estimate == pytest.approx(0.01)
    assert found.low == pytest.approx(0.01)


def test_seeds_needed_shrinks_with_the_effect_and_is_enough() -> None:
    wanted = [seeds_needed(distance, 0.2) for distance in (0.1, 0.2, 0.4)]
    assert wanted == sorted(wanted, reverse=True)
    n = seeds_needed(0.1, 0.2)
    assert n is not None
    assert quantile(0.975, n - 1) * 0.2 / math.sqrt(n) < 0.1
    assert quantile(0.975, n - 2) * 0.2 / math.sqrt(n - 1) >= 0.1
    assert seeds_needed(-0.1, 0.2) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_median_has_as_many_below_as_above(values: list[float]) -> None:
    middle = median(values)
    assert sum(v < middle for v in values) <= len(values) / 2
    assert sum(v > middle for v in values) <= len(values) / 2


probabilities = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@given(probabilities, st.randoms())
def test_holm_raises_keeps_the_order_and_follows_a_permutation(values: list[float], shuffle: random.Random) -> None:
    adjusted = holm(values)
    assert all(p <= a <= 1.0 for p, a in zip(values, adjusted, strict=True))
    ranked = sorted(zip(values, adjusted, strict=True))
    assert all(one[1] <= other[1] for one, other in itertools.pairwise(ranked))
    order = list(range(len(values)))
    shuffle.shuffle(order)
    assert holm([values[i] for i in order]) == pytest.approx([adjusted[i] for i in order])


@given(probabilities)
def test_holm_lies_between_no_correction_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(a <= max(min(1.0, len(values) * p), a) for p, a in zip(values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(values) * min(values)))
    assert holm(values[:1]) == values[:1]


def test_holm_keeps_a_family_of_true_nulls_at_five_percent() -> None:
    draw = random.Random(0)
    wrong = sum(min(holm([draw.random() for _ in range(8)])) < 0.05 for _ in range(2000))
    assert 65 <= wrong <= 135


def test_holm_refuses_what_is_no_probability() -> None:
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="p-value"):
            holm([0.5, wrong])
    assert holm([]) == []


@given(hit_pairs)
def test_p_value_is_scipys(pairs: list[tuple[float, float]]) -> None:
    logs = [math.log(b / f) for b, f in pairs]
    assume((spread(logs) or 0.0) > 1e-6)
    expected = stats.ttest_1samp(logs, 0.0, alternative="greater").pvalue
    assert p_value([(b, b, f, f) for b, f in pairs]) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_p_value_where_runs_missed() -> None:
    met = [(20.0, 30.0, 10.0, 12.0), (22.0, 30.0, 10.0, 12.0)]
    assert p_value([*met, (25.0, 30.0, None, 30.0)]) == 1.0
    assert p_value([*met, (None, 30.0, 11.0, 12.0)]) < 0.05
    assert p_value(met[:1]) == 1.0
