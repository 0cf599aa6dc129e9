"""WarmupStableDecay: continuous, at its peak in between, at zero in the end, whatever the shape of the fall."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftime.errors import BadValue
from halftime.methods import WarmupStableDecay
from halftime.methods.warmup_stable_decay import FALLS, warmup_stable_decay

shares = st.floats(0, 1)
warmups = st.floats(0, 0.9)
decays = st.floats(0.05, 1)
falls = st.sampled_from(sorted(FALLS))


@given(warmups, decays, shares, falls)
def test_it_ends_at_zero(warmup: float, decay: float, initial: float, fall: str) -> None:
    assert warmup_stable_decay(1.0, warmup, decay, initial, fall) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0.01, 0.9), st.floats(0.05, 0.99), shares, falls)
def test_it_begins_at_its_first_share(warmup: float, decay: float, initial: float, fall: str) -> None:
    assert warmup_stable_decay(0.0, warmup, decay, initial, fall) == initial


@given(shares, shares, shares, falls)
def test_it_is_at_the_peak_between_rise_and_fall(where: float, one: float, other: float, fall: str) -> None:
    warmup, decay = 0.45 * one, 0.05 + 0.45 * other
    progress = warmup + where * (1.0 - decay - warmup)
    assert warmup_stable_decay(progress, warmup, decay, 0.0, fall) == pytest.approx(1.0, abs=1e-6)


@given(shares, st.floats(0.01, 0.9), decays, shares, st.sampled_from(["linear", "cosine"]))
def test_it_is_continuous(progress: float, warmup: float, decay: float, initial: float, fall: str) -> None:
    near = min(1.0, progress + 1e-9)
    jump = abs(
        warmup_stable_decay(near, warmup, decay, initial, fall)
        - warmup_stable_decay(progress, warmup, decay, initial, fall)
    )
    assert jump <= 1e-9 * max(1.0 / warmup, 4.0 / decay) + 1e-12


@pytest.mark.parametrize("fall", sorted(FALLS))
def test_rise_and_fall_join_the_peak_without_a_jump(fall: str) -> None:
    for at in (0.1, 0.7):
        before, after = (warmup_stable_decay(at + d, 0.1, 0.3, 0.0, fall) for d in (-1e-12, 1e-12))
        assert before == pytest.approx(1.0, abs=1e-5)
        assert after == pytest.approx(1.0, abs=1e-5)


@given(shares, shares, decays, falls)
def test_it_never_rises_after_the_warmup(one: float, other: float, decay: float, fall: str) -> None:
    low, high = sorted((one, other))
    later, sooner = (warmup_stable_decay(p, 0.0, decay, 0.0, fall) for p in (high, low))
    assert later <= sooner + 1e-12


@given(shares, warmups, decays, shares, falls)
def test_where_both_overlap_the_lower_counts(
    progress: float, warmup: float, decay: float, initial: float, fall: str
) -> None:
    both = warmup_stable_decay(progress, warmup, decay, initial, fall)
    alone = warmup_stable_decay(progress, 0.0, decay, initial, fall)
    assert 0.0 <= both <= alone <= 1.0


def test_the_method_is_the_function() -> None:
    method = WarmupStableDecay(warmup=0.2, decay=0.4, initial=0.1, fall="sqrt")
    expected = [warmup_stable_decay(i / 7, 0.2, 0.4, 0.1, "sqrt") for i in range(8)]
    assert [method.lr_factor(i / 7) for i in range(8)] == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("warmup", 1.0), ("decay", 0.0), ("decay", 1.1), ("initial", -0.1), ("initial", "0"), ("fall", "steep")],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^WarmupStableDecay\.{field}") as error:
        WarmupStableDecay(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
