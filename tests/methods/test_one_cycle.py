"""OneCycle: continuous, at 1 where the rise ends, at 0 at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftime.errors import BadValue
from halftime.methods import OneCycle
from halftime.methods.one_cycle import one_cycle

shares = st.floats(0, 1)
warmups = st.floats(0, 0.99)


@given(shares, warmups, shares)
def test_it_stays_between_zero_and_one(progress: float, warmup: float, initial: float) -> None:
    assert 0.0 <= one_cycle(progress, warmup, initial) <= 1.0


@given(warmups, shares)
def test_it_peaks_at_one_where_the_rise_ends_and_lands_on_zero(warmup: float, initial: float) -> None:
    assert one_cycle(warmup, warmup, initial) == 1.0
    assert one_cycle(1.0, warmup, initial) == 0.0


@given(st.floats(0.01, 0.99), shares)
def test_it_starts_where_told(warmup: float, initial: float) -> None:
    assert one_cycle(0.0, warmup, initial) == initial


@given(shares, shares, warmups, shares)
def test_it_rises_then_falls(one: float, other: float, warmup: float, initial: float) -> None:
    low, high = sorted((one, other))
    before, after = one_cycle(low, warmup, initial), one_cycle(high, warmup, initial)
    if high < warmup:
        assert before <= after + 1e-12
    if low >= warmup:
        assert before >= after


@given(st.floats(0, 1 - 1e-6), st.floats(0.01, 0.99), shares)
def test_it_is_continuous(progress: float, warmup: float, initial: float) -> None:
    step = abs(one_cycle(progress + 1e-6, warmup, initial) - one_cycle(progress, warmup, initial))
    steepest = max(1.0 / warmup, 2.0 / (1.0 - warmup))  # of the rise, and of the cosine (pi / 2)
    assert step <= 1e-6 * steepest + 1e-9


def test_no_rise_starts_at_the_peak() -> None:
    assert one_cycle(0.0, warmup=0.0) == 1.0


def test_the_method_is_the_function() -> None:
    method = OneCycle(warmup=0.3, initial=0.1)
    assert [method.lr_factor(i / 7) for i in range(8)] == [one_cycle(i / 7, 0.3, 0.1) for i in range(8)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("warmup", float("nan")),
        ("initial", 1.1),
        ("initial", -0.1),
        ("initial", "low"),
        ("warmup", None),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^OneCycle\.{field}") as error:
        OneCycle(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
