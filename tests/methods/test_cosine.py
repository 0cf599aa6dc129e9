"""Cosine: starts at the peak, ends at its last share, falls in between, and comes back once a cycle."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftime.errors import BadValue
from halftime.methods import Cosine
from halftime.methods.cosine import cosine

shares = st.floats(0, 1)
warmups = st.floats(0, 0.9)
cycle_counts = st.integers(1, 5)


@given(warmups, shares, cycle_counts)
def test_it_ends_at_its_last_share(warmup: float, final: float, cycles: int) -> None:
    assert cosine(1.0, warmup, final, cycles) == pytest.approx(final, abs=1e-9)


@given(warmups, shares, cycle_counts)
def test_the_peak_is_at_the_end_of_the_rise(warmup: float, final: float, cycles: int) -> None:
    assert cosine(warmup, warmup, final, cycles) == pytest.approx(1.0)
    assert cosine(0.0, warmup, final, cycles) == (0.0 if warmup > 0 else pytest.approx(1.0))


@given(shares, warmups, shares, cycle_counts)
def test_it_stays_between_zero_and_the_peak(progress: float, warmup: float, final: float, cycles: int) -> None:
    factor = cosine(progress, warmup, final, cycles)
    assert 0.0 <= factor <= 1.0 + 1e-12
    if progress >= warmup:
        assert factor >= final - 1e-12


@given(shares, shares, warmups, shares)
def test_it_never_rises_after_the_peak(one: float, other: float, warmup: float, final: float) -> None:
    low, high = sorted((one, other))
    if low >= warmup:
        assert cosine(low, warmup, final) >= cosine(high, warmup, final) - 1e-12


@given(shares, warmups, shares)
def test_it_is_continuous_where_there_is_one_cycle(progress: float, warmup: float, final: float) -> None:
    near = min(1.0, progress + 1e-9)
    steepest = max(1.0 / warmup if warmup > 0 else 0.0, math.pi / (1.0 - warmup))
    assert abs(cosine(near, warmup, final) - cosine(progress, warmup, final)) <= 2e-9 * steepest + 1e-12


@given(shares, st.integers(2, 5))
def test_each_cycle_is_the_first_one_again(part: float, cycles: int) -> None:
    part = min(part, 0.999)
    first = cosine(part / cycles, cycles=cycles)
    for cycle in range(1, cycles):
        assert cosine((cycle + part) / cycles, cycles=cycles) == pytest.approx(first, abs=1e-6)


def test_the_method_is_the_function() -> None:
    method = Cosine(warmup=0.2, final=0.1, cycles=2)
    assert [method.lr_factor(i / 7) for i in range(8)] == [cosine(i / 7, 0.2, 0.1, 2) for i in range(8)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("warmup", 1.0), ("warmup", -0.1), ("final", 1.5), ("final", float("nan")), ("cycles", 0), ("cycles", 1.5)],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^Cosine\.{field}") as error:
        Cosine(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
