"""What a data set can do is told from what merely has the same name."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import halftime as ht
from halftime.data.batch import mapped, suspects
from halftime.data.feed import Tensors, digest, fetch
from halftime.data.kinds import by_batch, columns_of
from halftime.data.limits import shared_memory
from halftime.data.pack import Pack, pack
from halftime.data.proxy import scores
from halftime.methods import SGD, RepeatFactor
from tests.conftest import make_task


class Table(torch.utils.data.Dataset):
    """Rows of numbers, with the names of its columns and a way to cut it into batches, as Hugging Face has it."""

    columns = ("age", "income")

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        self.rows, self.labels = rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.rows[index], self.labels[index]

    def batch(self, batch_size: int, drop_last_batch: bool = False) -> Any:
        raise AssertionError("nobody asks for batches of a size")


class Sample(NamedTuple):
    image: Tensor
    label: Tensor


def table(shift: float = 0.0) -> Table:
    rows = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return Table(rows + shift, (rows.sum(1) > 0).long())


def test_a_table_with_names_and_batches_of_its_own_is_read_sample_by_sample(tmp_path: Any) -> None:
    data = table()
    assert columns_of(data) is None
    assert not by_batch(data)
    assert torch.equal(fetch(data, torch.tensor([3, 5]), (0, 0, 0))[0], data.rows[[3, 5]])
    assert digest(data) != digest(table(shift=1.0))
    task = make_task(model=lambda: torch.nn.Linear(4, 2), train=data, valid=data)
    run = ht.train(task, ht.Recipe([SGD(lr=0.1), RepeatFactor()], steps=3), device="cpu", ledger=tmp_path, quiet=True)
    assert run.state == "finished"


def test_a_number_of_samples_is_no_way_to_make_a_batch() -> None:
    data = table()
    data.batch = 32  # type: ignore[assignment,method-assign]
    assert not by_batch(data)


def test_tuples_with_names_stay_what_they_are(tmp_path: Any) -> None:
    batch = Sample(torch.ones(2, 3), torch.tensor([0, 1]))
    assert isinstance(mapped(batch, lambda t: t + 1), Sample)
    assert mapped(batch, lambda t: t + 1).label.tolist() == [1, 2]
    samples = [Sample(torch.full((1, 4, 4), float(i)), torch.tensor(i)) for i in range(3)]
    pack(samples, tmp_path / "pack")
    images, labels = Pack(tmp_path / "pack").batch(torch.tensor([2, 0]), torch.Generator())
    assert (images.shape, labels.tolist()) == ((2, 1, 4, 4), [2, 0])


def test_a_bad_sample_is_found_beside_single_numbers_and_empty_inputs() -> None:
    images = torch.ones(3, 1, 2, 2)
    images[1, 0, 0, 0] = float("nan")
    inputs = {"image": images, "age": torch.ones(3), "none": torch.ones(3, 0)}
    assert suspects(inputs, torch.tensor([7, 8, 9])) == [8]


def test_samples_are_scored_where_the_last_batch_has_one() -> None:
    x = torch.randn(33, 4, generator=torch.Generator().manual_seed(0))
    data = Tensors(x, (x.sum(1) > 0).long())
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    found = scores(model, data, "el2n", epochs=2, batch_size=16, seed=0, device=torch.device("cpu"))
    assert found.shape == (33,)
    assert found.isfinite().all()


def test_without_a_place_for_shared_memory_memory_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert (shared_memory() or 0) > 2**40
