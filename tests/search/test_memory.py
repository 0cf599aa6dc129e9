"""Memory: the words say which samples were looked at."""

from __future__ import annotations

import pytest
from torch import nn

from halftime.search import memory
from tests.search.planted import BASE, task
from tests.search.test_search_parts import Limited, Ragged


def test_a_large_data_set_is_looked_at_in_part_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Ragged()
    ragged = task(model=Limited, train=data, valid=data, loss=nn.functional.mse_loss)
    recipe = BASE.replace(batch_size=2)
    assert "of the first" not in memory.fits(ragged, recipe, "cpu").tried
    monkeypatch.setattr(memory, "LOOKED", 10)
    found = memory.fits(ragged, recipe, "cpu")
    assert "of up to 8 numbers (the largest of the first 10)" in found.tried
    assert "of the first" not in memory.fits(task(), BASE, "cpu").tried  # rows of tensors are all of one size
