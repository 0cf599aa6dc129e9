"""Compact lists: equal to the lists they stand for, element by element; data sets around them are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Subset

from halftime.data.compact import Compact, compact, compacted

numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
texts = st.text(st.characters(), max_size=8)
kinds = [numbers, floats, st.booleans(), texts, st.binary(max_size=8), st.tuples(texts, numbers, floats)]


@pytest.mark.parametrize("kind", kinds)
@settings(deadline=None)
@given(data=st.data())
def test_it_equals_the_list(kind: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(kind, min_size=1, max_size=20))
    dense = compact(values, long=1)
    assert isinstance(dense, Compact)
    assert list(dense) == values
    assert [type(v) for v in dense] == [type(v) for v in values]
    for index in range(-len(values), len(values)):
        assert dense[index] == values[index]
    assert dense[1:-1] == values[1:-1]
    with pytest.raises(IndexError):
        dense[len(values)]


@pytest.mark.parametrize("values", [[1, "a"], [None] * 3, [{}] * 3, [(1,), (1, 2)], [2**70, 1], [[1], [2]], [()] * 3])
def test_what_it_does_not_know_stays_a_list(values: list[Any]) -> None:
    assert compact(values, long=1) is values
    assert compact([1, 2], long=3) == [1, 2]


class Files:
    def __init__(self, many: int) -> None:
        self.files = [(f"{i}.png", i % 10) for i in range(many)]
        self.seen, self.name = [0] * many, "files"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        self.seen[index] += 1
        return self.files[index], self.seen[index]


def test_a_data_set_is_served_alike_and_left_alone() -> None:
    given = Subset(Files(20_000), list(range(15_000)))  # type: ignore[type-var]
    dense = compacted(given)
    assert [dense[i] for i in (3, 14_999)] == [(("3.png", 3), 1), (("14999.png", 9), 1)]
    assert dense[3][1] == 2  # a change is kept
    assert isinstance(dense.indices, Compact)
    assert isinstance(dense.dataset.files, Compact)
    assert type(given.dataset.files) is type(given.indices) is list
    assert sum(given.dataset.seen) == 0
    few = Files(10)
    assert compacted(few) is few
