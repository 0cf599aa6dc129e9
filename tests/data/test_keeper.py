from __future__ import annotations

import gc
import multiprocessing
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from halftime.data import gauge as gauges
from halftime.data import keeper as keepers
from halftime.data.controller import Action, Controller, Setting
from halftime.data.keeper import Keeper
from halftime.errors import BadData, BadValue

SAMPLES = 66


class Numbers(Dataset):
    def __init__(self, seconds: float = 0.0, bad: int = -1) -> None:
        self.seconds, self.bad = seconds, bad

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index):
        if index == self.bad:
            raise ValueError("sample is torn")
        time.sleep(self.seconds)
        return torch.tensor(index)


class Who(Numbers):
    def __getitem__(self, index):
        info = get_worker_info()
        return torch.tensor([index, info.id if info else -1, torch.randint(2**40, ()).item()])


class Scripted(Controller):
    """Changes the setting at every step, whatever it sees."""

    def __init__(self, settings) -> None:
        self.script = list(settings)
        super().__init__(self.script[0])

    def observe(self, wait, step, ready, service=None):
        self.script.append(self.script.pop(0))
        self.setting = self.script[0]
        return Action(self.setting, "the script")


def scripted(loader: DataLoader, seed: int = 0) -> Keeper:
    dice, keeper = random.Random(seed), Keeper(loader)
    settings = [Setting(dice.randrange(4), dice.choice((1, 2, 3))) for _ in range(23)]
    keeper.controller = Scripted([keeper.controller.setting, *settings])
    return keeper


def left() -> tuple[int, int, int]:
    gc.collect()
    return len(multiprocessing.active_children()), threading.active_count(), len([*Path("/proc/self/fd").iterdir()])


def as_it_was(before: tuple[int, int, int]) -> bool:
    """No process, thread or file more than before; the thread that fed a queue takes a moment to end."""
    for _ in range(100):
        if all(now <= then for now, then in zip(left(), before, strict=True)):
            return True
        time.sleep(0.02)
    return False


def positions(keeper):
    """The number of each batch; the batch itself, which holds shared memory, is let go."""
    return (number for number, _ in enumerate(keeper))


def listed(batch):
    return batch.tolist() if torch.is_tensor(batch) else batch


@pytest.mark.parametrize("seed", [0, 1])
def test_a_change_at_every_step_changes_nothing_in_the_order(seed):
    before = left()
    torch.manual_seed(7)
    loader = DataLoader(Numbers(), batch_size=2, shuffle=True)
    plain = [[b.tolist() for b in loader] for _ in range(2)]
    after = torch.get_rng_state()
    torch.manual_seed(7)
    keeper = scripted(DataLoader(Numbers(), batch_size=2, shuffle=True), seed)
    assert [[b.tolist() for b in keeper] for _ in range(2)] == plain
    assert torch.equal(torch.get_rng_state(), after)  # the user's random numbers go on as with the plain loader
    assert len(keeper.kept.settings) == 1 + 2 * (SAMPLES // 2 - 1)  # after each step with a batch to come
    assert as_it_was(before)


LOADERS = {
    "persistent": lambda: DataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=1, persistent_workers=True),
    "own batch sampler": lambda: DataLoader(Numbers(), batch_sampler=[[1, 5], [2], [9, 9, 0], [3] * 4] * 4),
    "own collate": lambda: DataLoader(Numbers(), batch_size=5, collate_fn=lambda xs: [int(x) * 10 for x in xs]),
    "no batches": lambda: DataLoader(Numbers(), batch_size=None, sampler=range(40, 10, -1)),
    "dropped last": lambda: DataLoader(Numbers(), batch_size=4, drop_last=True, num_workers=2, prefetch_factor=3),
    "shorter than its workers": lambda: DataLoader(Numbers(), batch_size=40, num_workers=2, prefetch_factor=4),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_every_kind_of_loader_keeps_its_order(name):
    before = left()
    torch.manual_seed(3)
    loader = LOADERS[name]()
    plain = [[listed(b) for b in loader] for _ in range(2)]
    del loader
    torch.manual_seed(3)
    with scripted(LOADERS[name]()) as keeper:
        assert [[listed(b) for b in keeper] for _ in range(2)] == plain
        assert len(keeper) == len(plain[0])
    del keeper
    assert as_it_was(before)


@pytest.mark.parametrize("persistent", [False, True])
def test_nothing_is_left_after_a_break_or_an_exception(persistent):
    before = left()
    keeper = scripted(DataLoader(Numbers(), 2, num_workers=2, persistent_workers=persistent))
    for number in positions(keeper):
        if number == 9:
            break
    assert as_it_was(before)
    with pytest.raises(ZeroDivisionError):
        for number in positions(keeper):
            1 / (9 - number)
    assert as_it_was(before)
    keeper.controller = Scripted([Setting(1)])
    assert sorted(i for b in keeper for i in b.tolist()) == list(range(SAMPLES))  # and it serves again
    del keeper
    assert as_it_was(before)


def test_persistent_workers_stay_for_the_next_epoch_and_end_with_it():
    before = left()
    keeper = Keeper(DataLoader(Numbers(), 11, num_workers=2, persistent_workers=True), workers=2)
    keeper.controller = Scripted([Setting(2)])
    for _ in positions(keeper):
        first = {p.pid for p in multiprocessing.active_children()}
    for _ in positions(keeper):
        assert {p.pid for p in multiprocessing.active_children()} == first
    keeper.close()
    assert as_it_was(before)


def test_workers_may_be_spawned():
    loader = DataLoader(Numbers(), 33, num_workers=1, multiprocessing_context="spawn")
    assert [b.tolist() for b in Keeper(loader)] == [[*range(33)], [*range(33, 66)]]
    gc.collect()
    assert not multiprocessing.active_children()


def test_an_error_in_a_worker_arrives_and_nothing_is_left():
    before = left()
    for workers in (0, 2):
        with pytest.raises(ValueError, match="sample is torn"):
            list(Keeper(DataLoader(Numbers(bad=40), 4, num_workers=workers)))
        assert as_it_was(before)


def test_workers_have_numbers_and_seeds_of_their_own():
    keeper, numbers = scripted(DataLoader(Who(), 2)), []
    keeper.loader.worker_init_fn = numbers.append
    rows = torch.cat(list(keeper))
    assert rows[:, 0].tolist() == list(range(SAMPLES))
    assert len(set(rows[:, 1].tolist())) > 4  # numbers go on as workers come and go
    assert len(set(rows[:, 2].tolist())) == SAMPLES  # no two drew the same


def test_it_finds_the_workers_that_keep_up():
    keeper = Keeper(DataLoader(Numbers(0.008), batch_size=1))
    for _ in range(3):
        for _ in keeper:
            time.sleep(0.01)
    about = keeper.summary()
    assert 1 <= about["settings"][1]["workers"] <= 8
    assert about["steps"] == 3 * SAMPLES
    assert 0.006 < about["service"] < 0.05
    assert "waiting for data" in about["settings"][1]["why"]
    assert str(keeper).startswith("198 steps, ")


def test_memory_is_a_limit_and_a_missing_resource():
    keeper = Keeper(DataLoader(Numbers(0.01), batch_size=1), memory=1e6)  # less than any worker holds
    for _ in range(2):
        for _ in keeper:
            time.sleep(0.001)
    assert max(s["workers"] for s in keeper.summary()["settings"]) <= 1
    assert keeper.summary()["caps"] == {"workers": 0, "because": "memory"}
    assert keeper.advice.startswith("memory: a worker holds ")


def test_shared_memory_is_a_limit():
    keeper = Keeper(DataLoader(Numbers(0.01), batch_size=1), shared_memory=27)  # bytes: three batches
    for _ in keeper:
        time.sleep(0.001)
    assert max(s["workers"] for s in keeper.summary()["settings"]) <= 1
    assert keeper.advice.startswith("shared memory: ")
    assert "--shm-size" in keeper.advice


def test_without_shared_memory_it_serves_here_and_says_what_to_do(monkeypatch):
    monkeypatch.setattr(keepers, "shm_free", lambda: None)
    monkeypatch.setattr(gauges, "shared_memory", lambda: None)
    keeper = Keeper(DataLoader(Numbers(0.005), 1, num_workers=2))
    for _ in keeper:
        assert not multiprocessing.active_children()
    assert [s["workers"] for s in keeper.summary()["settings"]] == [0]
    assert "docker run --shm-size=8g" in keeper.advice
    assert "\n" not in keeper.advice


class Unsendable(Numbers):
    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.transform = lambda x: x


def test_what_cannot_be_sent_to_a_worker_is_one_line():
    with pytest.raises(BadData, match=r"the data set \(Unsendable\), its collate function .* top of a module"):
        list(Keeper(DataLoader(Unsendable(), 4, num_workers=1, multiprocessing_context="spawn")))
    gc.collect()
    assert not multiprocessing.active_children()  # the tracker that Python starts with the first spawn stays


class Text(IterableDataset):
    def __iter__(self):
        return iter("abc")


def test_bad_input_is_one_line():
    with pytest.raises(BadData, match="Text is an IterableDataset, whose workers decide"):
        Keeper(DataLoader(Text()))
    with pytest.raises(BadValue, match=r"needs a torch.utils.data.DataLoader, not \[1, 2\]"):
        Keeper([1, 2])
    for wrong in (-1, 1.5, True, "four"):
        with pytest.raises(BadValue, match="workers must be a whole number"):
            Keeper(DataLoader(Numbers()), workers=wrong)
        with pytest.raises(BadValue, match="memory must be a positive number of bytes"):
            Keeper(DataLoader(Numbers()), memory=0 if wrong == 1.5 else wrong)
    assert Path("/dev/shm").is_dir()


@pytest.mark.parametrize(("first", "then"), [([(2, 5)], [(2, 2)]), ([(2, 1)], [(2, 5), (1, 5)]), ([(1, 4)], [(3, 2)])])
def test_workers_that_persist_keep_the_order_when_they_work_less_far_ahead_or_farther_than_before(first, then):
    keeper = Keeper(DataLoader(Numbers(), 2, num_workers=1, persistent_workers=True))
    with keeper:
        for settings in (first, then, first):
            keeper.controller = Scripted([Setting(*setting) for setting in settings])
            assert [i for batch in keeper for i in batch.tolist()] == list(range(SAMPLES))


class Rowed:
    """Hands out its batches as arrays, whose comparison with anything is no truth value; then fails, if it is to."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def __len__(self) -> int:
        return 12

    def __iter__(self):
        for first in range(0, 48, 4):
            yield np.arange(first, first + 4)
        if self.fails:
            raise ValueError("the sampler is torn")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sampler_may_hand_out_arrays(workers):
    keeper = scripted(DataLoader(Numbers(), batch_sampler=Rowed(), num_workers=workers))
    assert [i for batch in keeper for i in batch.tolist()] == list(range(48))


@pytest.mark.parametrize(("workers", "steps"), [(0, 8), (0, 9), (0, 10), (2, 1)])
def test_an_error_of_the_sampler_is_its_own(workers, steps):
    before = left()
    keeper = Keeper(DataLoader(Numbers(), batch_sampler=Rowed(fails=True), num_workers=workers))
    keeper.controller = Scripted([*[Setting(workers)] * steps, *[Setting(1, 16)] * 20])
    with pytest.raises(ValueError, match="the sampler is torn"):
        list(keeper)
    assert as_it_was(before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_that_cannot_be_started_loses_no_batch(workers, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    keeper, served = Keeper(DataLoader(Numbers(), 2, num_workers=workers)), []
    keeper.controller = Scripted([Setting(workers), *[Setting(3)] * 40])
    for batch in keeper:
        served += batch.tolist()
        monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refused)
    assert served == list(range(SAMPLES))
    assert "Resource temporarily unavailable" in keeper.advice
    with pytest.raises(BadData, match=r"no worker process can be started \(Resource temporarily unavailable\): "):
        list(Keeper(DataLoader(Numbers(), 2, num_workers=1)))


def test_no_worker_is_started_where_none_is_allowed():
    keeper, before = Keeper(DataLoader(Numbers(0.01), 6, num_workers=2), workers=0), left()
    for _ in keeper:
        assert left()[0] <= before[0]
    assert (keeper.controller.least, keeper.controller.most) == (0, 0)


def test_under_a_limit_it_starts_with_the_fewest_workers():
    loader = DataLoader(Numbers(), 6, num_workers=2)
    assert Keeper(loader).controller.setting.workers == 2
    assert Keeper(loader, memory=1e6).controller.setting.workers == 1
    assert Keeper(loader, shared_memory=1e6).controller.setting.workers == 1
