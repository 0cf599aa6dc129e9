"""The index: rebuilt from the records, brought up to date, never the truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import halftime as ht
from halftime.errors import BadData, StorageError
from halftime.ledger.index import refresh
from halftime.ledger.store import Ledger
from halftime.methods import SGD
from tests.conftest import make_task


@pytest.fixture
def ledger(own_folder: Path) -> Ledger:
    ledger = Ledger(own_folder / "ledger")
    for seed in (0, 1):
        ht.train(make_task(), ht.Recipe([SGD()], steps=3), seed, ledger=ledger, device="cpu", quiet=True)
    return ledger


def test_rows_are_what_the_records_say(ledger: Ledger) -> None:
    rows = refresh(ledger)
    runs = [ledger.run(path.name) for path in ledger.runs]
    assert [(r["id"], r["seed"], r["score"], r["seconds"], r["state"]) for r in rows] == [
        (run.id, run.seed, run.score, run.seconds, "finished") for run in runs
    ]


def test_what_is_new_comes_in_and_what_is_gone_goes(ledger: Ledger) -> None:
    assert len(refresh(ledger)) == 2
    ht.train(make_task(), ht.Recipe([SGD()], steps=3), 2, ledger=ledger, device="cpu", quiet=True)
    shutil.rmtree(ledger.runs[0])
    assert [r["seed"] for r in refresh(ledger)] == [1, 2]


def test_merging_ledgers_is_copying_files(ledger: Ledger, own_folder: Path) -> None:
    other = Ledger(own_folder / "other")
    ht.train(make_task(), ht.Recipe([SGD()], steps=3), 7, ledger=other, device="cpu", quiet=True)
    shutil.copytree(other.runs[0], ledger.root / "runs" / other.runs[0].name)
    assert sorted(r["seed"] for r in refresh(ledger)) == [0, 1, 7]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to look at" * 100])
def test_a_damaged_index_is_rebuilt_by_one_command(ledger: Ledger, damage: bytes) -> None:
    refresh(ledger)
    path = ledger.root / "index.sqlite"
    path.write_bytes(damage)
    if damage:
        with pytest.raises(StorageError, match="ledger rebuild"):
            refresh(ledger)
    assert len(refresh(ledger, rebuild=True)) == 2


def test_an_older_table_is_replaced(ledger: Ledger) -> None:
    import sqlite3

    base = sqlite3.connect(ledger.root / "index.sqlite")
    base.execute("CREATE TABLE runs (id TEXT)")
    base.close()
    assert len(refresh(ledger)) == 2


def test_a_folder_that_is_no_run_is_named(ledger: Ledger) -> None:
    (ledger.root / "runs" / "stray").mkdir()
    (ledger.root / "runs" / "stray" / "attempt-001.jsonl").write_text('{"kind":"start"}\n')
    with pytest.raises(BadData, match=r"stray is not a run's record"):
        refresh(ledger)


def test_an_empty_ledger_has_no_index(own_folder: Path) -> None:
    assert refresh(Ledger(own_folder / "none")) == []
    assert not (own_folder / "none").exists()
