"""`watch` in a loop: it speaks while the loop goes on, and its predictions are judged."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

import halftime as ht
from halftime.diagnose.predictions import Predictions, key_of


class Slow(Dataset[Any]):
    def __len__(self) -> int:
        return 120

    def __getitem__(self, index: int) -> int:
        time.sleep(0.002)
        return index


def used(workers: int, folder: Path) -> Any:
    watched = ht.watch(DataLoader(Slow(), batch_size=4, num_workers=workers), ledger=folder)
    for _ in watched:
        pass
    return watched


def test_predictions_are_kept_and_judged_once(tmp_path: Path) -> None:
    first = used(1, tmp_path)
    assert "Predicted earlier" not in str(first)
    lines = Predictions(tmp_path).lines(first.key)
    assert {line["setting"] for line in lines} == {"2 workers", "3 workers", "4 workers"}
    assert str(first)  # said again, not kept again
    assert len(Predictions(tmp_path).lines()) == len(lines)
    second = used(2, tmp_path)
    assert second.key == first.key
    text = second.summary()
    assert "Predicted earlier, from 1 worker:" in text
    assert "Of 1 predictions that came to be tried" in text
    happened = [line for line in Predictions(tmp_path).lines() if line["kind"] == "happened"]
    assert len(happened) == 1
    assert happened[0]["error"] == pytest.approx(happened[0]["middle"] / happened[0]["seconds"] - 1)
    assert Predictions(tmp_path).happened(first.key, "3 workers", 1.0) is not None  # the second table, once more
    assert Predictions(tmp_path).happened(first.key, "3 workers", 1.0) is None


def test_it_speaks_while_the_loop_goes_on(tmp_path: Path) -> None:
    watched = ht.watch(range(40), ledger=tmp_path)
    for i in watched:
        if i == 30:
            assert watched.summary().startswith("30 steps in")
    assert json.dumps(watched.diagnosis().to_dict())
    assert not Predictions(tmp_path).path.exists()


def test_a_read_only_ledger_does_not_disturb(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "what if" in str(used(0, tmp_path / "file"))


def test_torn_and_strange_lines_are_left_out(tmp_path: Path) -> None:
    kept = Predictions(tmp_path)
    kept.predicted("k", "1 worker", {"2 workers": (1.0, 2.0, 3.0), "1 worker": (1.0, 1.0, 1.0)})
    with kept.path.open("a") as file:
        file.write('[1]\nnonsense\n{"kind":"predicted","key":"k"')
    assert len(kept.lines("k")) == 1
    assert kept.happened("k", "2 workers", 2.5)["inside"] is True  # type: ignore[index]
    assert kept.errors() == [pytest.approx(-0.2)]


def test_the_key_stays_when_only_workers_change() -> None:
    def key(**options: Any) -> str:
        return key_of(DataLoader(Slow(), **options))

    assert key(batch_size=4) == key(batch_size=4, num_workers=2)
    assert key(batch_size=4) != key(batch_size=8)


class Change:
    def __call__(self, sample: Any) -> Any:
        return sample


class Shift(Change):
    def __init__(self, pixels: int) -> None:
        self.pixels = pixels

    def __repr__(self) -> str:
        return f"Shift({self.pixels})"


def test_the_key_tells_transforms_and_programs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(change: Any) -> str:
        data = Slow()
        data.transform = change  # type: ignore[attr-defined]
        return key_of(DataLoader(data))

    keys = [key(change) for change in (None, Change(), Shift(1), Shift(2), str, lambda x: x)]
    assert len(set(keys)) == 6
    assert key(Change()) == keys[1]  # wherever in memory it lies
    monkeypatch.setattr("sys.argv", ["another.py"])
    assert key(None) != keys[0]


def test_what_cannot_be_iterated_is_refused() -> None:
    with pytest.raises(ht.InputError, match="something to iterate over, such as a DataLoader, not 3"):
        ht.watch(3)
