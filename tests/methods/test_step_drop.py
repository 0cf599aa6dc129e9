"""StepDrop: never rises, and drops once at each milestone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import halftime as ht
from halftime.errors import BadValue
from halftime.methods import StepDrop
from halftime.methods.step_drop import step_drop

shares = st.floats(0, 1)
milestone_lists = st.lists(st.floats(0.01, 0.99), max_size=5, unique=True)
factors = st.floats(0.01, 0.99)


@given(shares, shares, milestone_lists, factors)
def test_it_never_rises(one: float, other: float, milestones: list[float], factor: float) -> None:
    low, high = sorted((one, other))
    assert step_drop(low, milestones, factor) >= step_drop(high, milestones, factor)


@given(milestone_lists, factors)
def test_it_drops_once_at_each_milestone(milestones: list[float], factor: float) -> None:
    assert step_drop(0.0, milestones, factor) == 1.0
    assert step_drop(1.0, milestones, factor) == factor ** len(milestones)
    values = {step_drop(p, milestones, factor) for p in (0.0, *milestones)}
    assert len(values) == len(milestones) + 1


@given(shares, st.permutations([0.2, 0.5, 0.7]))
def test_the_order_of_the_milestones_does_not_matter(progress: float, milestones: list[float]) -> None:
    assert step_drop(progress, milestones) == step_drop(progress, (0.2, 0.5, 0.7))


def test_it_drops_at_the_milestone_and_not_before() -> None:
    assert step_drop(0.4999999, (0.5,), 0.1) == 1.0
    assert step_drop(0.5, (0.5,), 0.1) == 0.1


def test_a_list_from_json_is_the_tuple_it_was() -> None:
    assert StepDrop(milestones=[0.3, 0.6]) == StepDrop(milestones=(0.3, 0.6))  # type: ignore[arg-type]
    there = ht.Recipe([StepDrop(milestones=(0.3, 0.6))], steps=1)
    assert ht.Recipe.from_json(there.to_json()) == there


def test_the_method_is_the_function() -> None:
    method = StepDrop(milestones=(0.3, 0.6), factor=0.2)
    assert [method.lr_factor(i / 7) for i in range(8)] == [step_drop(i / 7, (0.3, 0.6), 0.2) for i in range(8)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factor", 0),
        ("factor", 1.0),
        ("factor", float("nan")),
        ("milestones", 0.5),
        ("milestones", ("half",)),
        ("milestones", (0.5, 1.5)),
        ("milestones", (-0.1,)),
        ("milestones", None),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^StepDrop\.{field}") as error:
        StepDrop(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
