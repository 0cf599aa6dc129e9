"""Chance in a batch: a data set that draws gets its seeded generator, one that does not costs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from halftime.data import served
from halftime.data.feed import NO_CHANCE, Feed, Tensors, as_dataset, digest
from halftime.data.storage import to_pack
from halftime.errors import BadData


class Noisy(Tensors):
    def batch(self, indices: torch.Tensor, generator: Any) -> Any:
        rows = super().batch(indices, generator)
        return rows + torch.rand(rows.shape, generator=generator)


class Counted(Tensors):
    draws = False

    def batch(self, indices: torch.Tensor, generator: Any) -> Any:
        assert generator is NO_CHANCE
        return super().batch(indices, generator)


def test_a_subclass_that_draws_is_served_the_same_chance_again() -> None:
    one, other = (next(Feed(Noisy(torch.zeros(8, 2)), 4, seed=3).batches(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, next(Feed(Noisy(torch.zeros(8, 2)), 4, seed=4).batches(5)))


def test_one_that_says_it_does_not_draw_is_told_when_it_does() -> None:
    assert next(Feed(Counted(torch.zeros(8, 2)), 4, seed=3).batches()).shape == (4, 2)

    class Liar(Noisy):
        draws = False

    with pytest.raises(TypeError):
        next(Feed(Liar(torch.zeros(8, 2)), 4, seed=3).batches())


def test_the_digest_changes_with_rows_that_are_changed_in_place(tmp_path: Path) -> None:
    data = Tensors(torch.zeros(8, 2), torch.arange(8))
    before = digest(data)
    assert to_pack(data, tmp_path).columns[1][3] == 3
    data.columns[1][3] = 1
    assert digest(data) != before
    assert to_pack(data, tmp_path).columns[1][3] == 1
    data.columns = (torch.zeros(8, 2), torch.arange(8))
    assert digest(data) == before


def test_rows_without_a_count_of_changes_have_a_digest() -> None:
    with torch.inference_mode():
        data = Tensors(torch.zeros(8, 2))
    assert digest(data) == digest(Tensors(torch.zeros(8, 2)))


def test_a_single_number_is_no_data_set() -> None:
    for source in (torch.tensor(3.0), (torch.zeros(2), torch.tensor(1))):
        with pytest.raises(BadData, match=r"train: needs rows of samples \[N, ...\], not a single number"):
            as_dataset(source, "train")


def test_notes_that_nobody_reads_do_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "KEPT", 6)
    account = served.Served()
    for step in range(100):
        account.step = step
        account.stood(2)
    assert account.depths[-3:] == [(98, 2), (99, 2), (100, 2)]
    assert len(account.depths) <= 6
