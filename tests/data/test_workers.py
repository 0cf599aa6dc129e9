"""Helpers: the same batches at any number of them, from any step, in any world; each way of failing is one line."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import gc
import itertools
import multiprocessing as mp
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from halftime.data import room, workers
from halftime.data.feed import Feed, Tensors, in_turn
from halftime.data.order import Permuted, Repeated, shuffled
from halftime.data.ranks import share, sliced
from halftime.data.workers import Ahead
from halftime.errors import BadData, BadValue


class Rows:
    """Each sample knows its id and is random in three ways; nothing of it could be pickled."""

    def __init__(self, samples: int = 18, act: Any = lambda index: None) -> None:
        self.samples, self.act = samples, act

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.act(index)
        noise = torch.randn(2), random.random(), np.random.rand()
        return {"id": index, "a": noise[0], "b": noise[1], "label": noise[2]}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
    state, mask = torch.get_rng_state(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert mp.active_children() == []
    assert threading.active_count() == 1
    assert {s: signal.getsignal(s) for s in signal.valid_signals()} == handlers
    assert torch.equal(torch.get_rng_state(), state)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def served(feed: Feed, step: int, receipt: str, many: int) -> tuple[list[Any], list[str]]:
    """So many batches from a step on, and the receipt after each."""
    batches, receipts = [], []
    with contextlib.closing(feed.batches(step, receipt)) as serving:
        for batch in itertools.islice(serving, many):
            batches.append(batch)
            receipts.append(feed.served.receipt)
    return batches, receipts


def equal(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_no_file_stays_open() -> None:
    class Signed(Rows):
        def __getitem__(self, index: int) -> Any:
            return {"pid": os.getpid()}

    feed = Feed(Signed(), 4, 3, serve=Ahead(2, 2))
    helpers = {str(pid) for batch in served(feed, 0, "", 5)[0] for pid in batch["pid"].tolist()}
    assert len(helpers) == 2
    assert not [f.name for f in Path("/dev/shm").iterdir() if helpers & set(f.name.split("_"))]
    served(feed, 0, "", 5)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        served(feed, 0, "", 5)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


STEPS = 8  # two epochs of four and a half batches of four


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("order", [shuffled, Repeated(Permuted(), torch.linspace(0.2, 1.8, 18))])
def test_restored_at_every_step_nothing_is_skipped_or_repeated(workers: int, order: Any) -> None:
    feed = Feed(Rows(), 4, 3, order=order)
    through, receipts = served(feed, 0, "", STEPS)
    assert len({tuple(b["id"].tolist()) for b in through}) == STEPS
    for stop in range(STEPS):
        again = dataclasses.replace(feed, serve=Ahead(workers, 2))
        batches, now = served(again, stop, receipts[stop - 1] if stop else "", min(3, STEPS - stop))
        assert all(map(equal, batches, through[stop:]))
        assert now == receipts[stop : stop + 3]


@pytest.mark.parametrize("worlds", [*itertools.permutations([1, 2, 4], 2)])
@pytest.mark.parametrize("workers", [0, 2])
def test_restored_at_every_step_in_another_world(worlds: tuple[int, int], workers: int) -> None:
    feed = Feed(Rows(), 4, 3, order=Permuted())
    through, receipts = served(feed, 0, "", STEPS)
    for stop in range(0, STEPS, 4 if workers else 1):
        for first, many, world in ((0, stop, worlds[0]), (stop, min(3, STEPS - stop), worlds[1])):
            before = receipts[first - 1] if first else ""
            parts = []
            for rank in range(world):
                mine = dataclasses.replace(feed, serve=sliced(Ahead(workers if first else 0, 2), rank, world))
                batches, now = served(mine, first, before, many)
                parts.append(batches)
                assert now == receipts[first : first + many]
            for at in range(many):
                whole = {k: torch.cat([part[at][k] for part in parts]) for k in through[0]}
                assert equal(whole, through[first + at])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_whole_batches_are_made_by_threads(workers: int) -> None:
    class Noisy(Tensors):
        def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Any:
            assert threading.current_thread() is not threading.main_thread() or not workers
            return {"id": indices, "noise": torch.randn(len(indices), generator=generator)}

    feed = Feed(Noisy(torch.arange(18)), 4, 3)
    ahead, receipts = served(dataclasses.replace(feed, serve=Ahead(workers, 3)), 0, "", STEPS)
    workers = 0
    turn, same = served(feed, 0, "", STEPS)
    assert all(map(equal, ahead, turn))
    assert receipts == same


def test_threads_work_ahead_and_no_further() -> None:
    asked: list[int] = []

    class Noting(Tensors):
        def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Any:
            asked.append(int(indices[0]))
            return super().batch(indices, generator)

    feed = Feed(Noting(torch.arange(400)), 4, 3, serve=Ahead(2, 3))
    with contextlib.closing(feed.batches()) as batches:
        next(batches)
        deadline = time.monotonic() + 5
        while len(asked) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(asked) == 6


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("whole", [True, False])
def test_an_order_that_fails_is_told_when_a_step_gets_there(workers: int, whole: bool) -> None:
    def order(seed: int, epoch: int, samples: int) -> torch.Tensor:
        return torch.arange((18, 12)[epoch])  # of two epochs: nobody has asked for a third

    feed = Feed(Tensors(torch.arange(18)) if whole else Rows(), 6, 0, order, Ahead(workers, 4))
    assert len(served(feed, 0, "", 5)[0]) == 5
    with pytest.raises(IndexError):
        served(feed, 0, "", 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_ask_for_whole_batches_where_a_data_set_serves_them(workers: int) -> None:
    class Doubled(Rows):
        def served(self, ids: torch.Tensor, seed: int, epoch: int) -> Any:
            return {"id": 2 * ids + epoch}

    batches, _ = served(Feed(Doubled(), 6, 0, lambda *_: torch.arange(18), Ahead(workers)), 0, "", 4)
    assert [b["id"].tolist()[0] for b in batches] == [0, 12, 24, 1]


def broken(index: int) -> None:
    if index == 5:
        raise KeyError("left\neye")


def test_a_thread_that_fails_gives_back_the_very_error() -> None:
    class Failing(Tensors):
        def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Any:
            broken(5 if 5 in indices else 0)
            return super().batch(indices, generator)

    with pytest.raises(KeyError, match="left") as error:
        served(Feed(Failing(torch.arange(8)), 4, 0, serve=Ahead(2)), 0, "", 4)
    assert "samples [" in error.value.__notes__[0]


def test_a_sample_that_cannot_be_made_is_named_in_order() -> None:
    feed = Feed(Rows(act=broken), 4, 0, serve=Ahead(2))
    before = next(t.step for t in feed.tickets() if 5 in t.ids)
    got: list[Any] = []
    said = r"^sample 5: KeyError: 'left.*eye' \(test_workers.py, line \d+\)\n"
    with pytest.raises(BadData, match=said) as error, contextlib.closing(feed.batches()) as batches:
        for batch in batches:
            got.append(batch)
    assert len(got) == before
    assert "Traceback" in error.value.__notes__[0]


def test_samples_that_do_not_fit_together_are_told() -> None:
    class Uneven(Rows):
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(1 + index % 2), 0

    with pytest.raises(BadData, match="collating a batch: RuntimeError"):
        served(Feed(Uneven(), 4, 0, serve=Ahead(1)), 0, "", 2)


def test_a_process_that_dies_is_one_line() -> None:
    def die(index: int) -> None:
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(BadData, match=r"died \(SIGKILL\) at sample 5: is the memory used up"):
        served(Feed(Rows(act=die), 4, 0, serve=Ahead(2)), 0, "", 7)


def test_full_shared_memory_is_told_as_such() -> None:
    def made() -> Iterator[Any]:
        raise RuntimeError("exited unexpectedly")
        yield

    def die() -> None:
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGBUS)

    helper = mp.get_context("fork").Process(target=die)
    helper.start()
    with pytest.raises(BadData, match=r"died \(SIGBUS\): shared memory is full: .*--shm-size"):
        workers._next(made(), [helper], [-1])


def test_processes_do_not_hear_the_signals_of_the_group() -> None:
    def shout(index: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)

    feed = Feed(Rows(act=shout), 4, 0, serve=Ahead(2))
    batches, _ = served(feed, 0, "", 5)
    assert all(map(equal, batches, served(Feed(Rows(), 4, 0), 0, "", 5)[0]))


def test_closing_ends_a_process_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    feed = Feed(Rows(act=lambda index: time.sleep(60) if index == 5 else None), 4, 0, serve=Ahead(2))
    before = next(t.step for t in feed.tickets() if 5 in t.ids)
    began = time.monotonic()
    served(feed, 0, "", before)
    assert time.monotonic() - began < 5


def test_what_cannot_be_sent_is_told() -> None:
    with pytest.raises(BadData, match=r"cannot be sent to loader processes .*Can't .*lambda.* top of a module"):
        served(Feed(Rows(), 4, 0, serve=Ahead(1, context="spawn")), 0, "", 1)

    class Locked(Rows):
        def __getitem__(self, index: int) -> Any:
            return Thing(), 0

    class Thing:
        lock = threading.Lock()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(BadData, match=r"(pickle|default_collate)"):
        patch.setattr("halftime.data.feed.default_collate", lambda samples: [s[0] for s in samples])
        served(Feed(Locked(), 4, 0, serve=Ahead(1)), 0, "", 2)


@pytest.mark.parametrize(
    ("free", "fits"), [(1 << 40, (4, 3)), (10_000_000, (4, 3)), (150_000, (4, 1)), (80_000, (2, 1)), (0, (0, 1))]
)
def test_as_many_processes_as_shared_memory_has_room_for(free: int, fits: tuple[int, int]) -> None:
    feed = Feed(Rows(), 4, 0)  # four tensors of a page and a little
    found, ahead, text = room.fitting(lambda: workers._bytes(feed), 4, 3, free)
    assert (found, ahead) == fits
    assert bool(text) == (fits != (4, 3))
    assert ("in turn" in text) == (found == 0)


def test_without_shared_memory_batches_are_made_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_free", lambda: 0)
    ahead = Ahead(2)
    with pytest.warns(RuntimeWarning, match="--shm-size"):
        batches, _ = served(Feed(Rows(), 4, 0, serve=ahead), 0, "", 5)
    assert all(map(equal, batches, served(Feed(Rows(), 4, 0, serve=in_turn), 0, "", 5)[0]))
    assert len(ahead.told) == 1


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    ticket = next(Feed(Rows(), 4, 0).tickets())
    assert torch.equal(torch.cat([share(ticket, rank, 2).ids for rank in range(2)]), ticket.ids)
    with pytest.raises(BadValue, match="a batch of 4 cannot be shared by 3"):
        share(ticket, 0, 3)
