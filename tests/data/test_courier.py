"""Batches are received beside the step, and leaving needs no patience."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader

from halftime.data import keeper as keepers
from halftime.data import lanes
from halftime.data.controller import Setting
from halftime.data.courier import Courier
from halftime.data.keeper import Keeper
from halftime.data.lanes import Lane
from tests.data.test_keeper import SAMPLES, Numbers, Scripted, as_it_was, left, positions, scripted


class Drawn:
    """A sampler that notes which thread asks it."""

    def __init__(self) -> None:
        self.threads = set()

    def __iter__(self):
        for index in range(SAMPLES):
            self.threads.add(threading.get_ident())
            yield index


def test_the_sampler_runs_in_the_thread_of_the_loop_alone():
    keeper = scripted(DataLoader(Numbers(), 2, sampler=Drawn()))
    assert [i for batch in keeper for i in batch.tolist()] == list(range(SAMPLES))
    assert keeper.loader.sampler.threads == {threading.get_ident()}


def test_working_further_ahead_starts_no_process_and_keeps_the_order(monkeypatch):
    pools = []
    monkeypatch.setattr(keepers, "Courier", lambda pool: pools.append(pool) or Courier(pool))
    keeper = Keeper(DataLoader(Numbers(), 1, num_workers=2), workers=2)
    keeper.controller, processes, most = Scripted([Setting(2, 2)] * 5 + [Setting(2, 9)] * SAMPLES), set(), 0
    for number, batch in enumerate(keeper):
        assert batch.tolist() == [number]
        processes |= {p.pid for p in multiprocessing.active_children()}
        most = max([most, *(lane.prefetch for lane in pools[-1].lanes)])
        time.sleep(0.002)
    assert len(processes) == 2
    assert most == 9  # else PyTorch has other names now, and the depth stays


def test_batches_of_workers_are_received_while_the_step_runs(monkeypatch):
    threads, take = set(), Lane.take

    def noting(lane):
        threads.add((lane.prefetch > 0, threading.get_ident() == threading.main_thread().ident))
        return take(lane)

    monkeypatch.setattr(Lane, "take", noting)
    assert len(list(scripted(DataLoader(Numbers(), 2)))) == SAMPLES // 2
    assert threads == {(True, False), (False, True)}  # those without a worker are made where a plain loader makes them


class Slow(Numbers):
    def __getitem__(self, index):
        time.sleep(60 if index > 3 else 0)
        return torch.tensor(index)


@pytest.fixture
def hasty(monkeypatch):
    """Little patience, PyTorch's with a worker that does not end as well as ours."""
    monkeypatch.setattr(lanes, "PATIENCE", 0.2)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)


@pytest.mark.usefixtures("hasty")
def test_leaving_does_not_wait_for_a_slow_batch():
    before, began = left(), time.monotonic()
    for number in positions(Keeper(DataLoader(Slow(), 1, num_workers=1))):
        if number == 3:
            break
    gc.collect()
    assert time.monotonic() - began < 10
    assert as_it_was(before)


@pytest.mark.usefixtures("hasty")
def test_the_time_limit_of_the_loader_is_kept():
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        list(Keeper(DataLoader(Slow(), 1, num_workers=1, timeout=1)))
    assert 1 <= time.monotonic() - began < 10


def test_an_errand_that_fails_is_told_with_the_next_batch():
    courier = Courier(lanes.Pool(DataLoader(Numbers()), 0))
    courier.run(lambda: 1 / 0)
    while not courier.idle:
        time.sleep(0.001)
    with pytest.raises(ZeroDivisionError):
        courier.take()
    courier.close(keep=True)
