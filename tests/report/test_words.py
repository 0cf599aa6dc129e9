"""Numbers in words: what stands for an end of an interval never claims more than the end."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from halftime.report.words import floored, raised


def value_of(text: str) -> float:
    return float(text.replace("−", "-"))


@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(1, 6))
def test_an_end_is_rounded_outward(value: float, digits: int) -> None:
    low, high = value_of(floored(value, digits)), value_of(raised(value, digits))
    assert low <= value <= high
    assert high - low <= 1.0000001 * abs(value) * 10.0 ** (1 - digits)
    assert len({floored(value, 17), raised(value, 17)}) == 1, "what needs no rounding stays"


def test_what_is_no_number_is_said() -> None:
    assert (floored(None), raised(math.inf), floored(-math.inf), raised(0.0)) == ("–", "∞", "−∞", "0")
