"""FastLoader: the same run as without it, with processes too; what the user should know is in the record."""

from __future__ import annotations

import dataclasses
import multiprocessing as mp
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from halftime.data import room
from halftime.data.feed import Feed
from halftime.data.ranks import sliced
from halftime.data.workers import Ahead
from halftime.errors import BadData, BadValue
from halftime.methods import SGD, FastLoader
from halftime.methods.fast_loader import loaded_ahead
from tests.contract.tasks import TRAIN, same, task, trained, weights


class Samples:
    """The easy task, a sample at a time, augmented."""

    def __init__(self, act: Any = None) -> None:
        self.act = act

    def __len__(self) -> int:
        return len(TRAIN[0])

    def __getitem__(self, index: int) -> Any:
        if self.act:
            self.act(index)
        return TRAIN[0][index] + 0.1 * torch.randn(1, 8, 8), TRAIN[1][index]


def recipe(workers: int | None, steps: int = 14) -> ht.Recipe:
    loader = [] if workers is None else [FastLoader(workers=workers)]
    return ht.Recipe([SGD(lr=0.1), *loader], steps=steps, batch_size=16)


def nothing_left() -> bool:
    assert mp.active_children() == []
    assert threading.enumerate() == [threading.main_thread()]
    return True


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_processes_change_nothing(workers: int, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    plain = trained(task(train=Samples()), recipe(None), tmp_path)
    run = trained(task(train=Samples()), recipe(workers), tmp_path)
    assert same(weights(run), weights(plain))
    assert run.receipt == plain.receipt != ""
    assert nothing_left()
    assert signal.getsignal(signal.SIGCHLD) is handler


def test_a_run_is_stopped_and_goes_on_with_other_data_in_flight(tmp_path: Path) -> None:
    parent = os.getpid()

    def act(index: int) -> None:
        if index == 5:
            os.kill(os.getpid(), signal.SIGTERM)  # as a cluster does to every process of a job
            os.kill(parent, signal.SIGTERM)

    through = trained(task(train=Samples()), recipe(2), tmp_path / "through")
    ticket = next(t for t in Feed(Samples(), 16, 0).tickets(1) if 5 in t.ids)  # type: ignore[arg-type]
    assert ticket.step < 13
    once: list[int] = []
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Samples(lambda i: act(i) if os.getpid() != parent else once.append(i))), recipe(2), tmp_path)
    assert nothing_left()
    again = trained(task(train=Samples()), recipe(2), tmp_path, resume=stopped.value.run)
    assert same(weights(again), weights(through))
    assert again.receipt == through.receipt


def test_a_sample_that_cannot_be_made_is_named_in_the_record(tmp_path: Path) -> None:
    parent = os.getpid()

    def act(index: int) -> None:
        if index == 7 and os.getpid() != parent:
            raise ValueError("no picture")

    with pytest.raises(BadData, match=r"sample 7: ValueError: no picture \(test_fast_loader.py, line \d+\)"):
        trained(task(train=Samples(act)), recipe(2), tmp_path)
    (folder,) = ht.Ledger(tmp_path).runs
    assert ht.Run.load(folder).state == "failed"
    assert nothing_left()


def test_too_little_shared_memory_is_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained(task(train=Samples()), recipe(None), tmp_path)
    monkeypatch.setattr(room, "_free", lambda: 20_000)
    with pytest.warns(RuntimeWarning, match="--shm-size"):
        run = trained(task(train=Samples()), recipe(4), tmp_path)
    assert same(weights(run), weights(plain))
    (event,) = run.events
    assert "shared memory has 0 MiB free" in event
    assert "--ipc=host" in event


def test_what_shares_a_feed_comes_after_it() -> None:
    feed = Feed(Samples(), 16, 0)  # type: ignore[arg-type]
    shared = dataclasses.replace(feed, serve=sliced(feed.serve, 0, 2))
    with pytest.raises(BadValue, match="comes first"):
        loaded_ahead(shared)


def test_it_only_changes_who_serves() -> None:
    feed = Feed(Samples(), 16, 0)  # type: ignore[arg-type]
    assert FastLoader(workers=3, ahead=4).data(feed) == dataclasses.replace(feed, serve=Ahead(3, 4))


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"ahead": 0}, {"workers": 1.5}])
def test_wrong_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(BadValue, match=next(iter(wrong))):
        FastLoader(**wrong)
