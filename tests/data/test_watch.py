"""Watching changes nothing about the batches, and sees where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler, get_worker_info

from halftime.data import service, startup
from halftime.data.service import timed
from halftime.data.watch import Watch
from halftime.errors import BadData


class Noisy(Dataset[Any]):
    """Samples with randomness of their own, that remember what was done to them."""

    scale = 1.0

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.rand(3) * self.scale, "i": index}


class Many(Noisy):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[i] for i in indices]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        yield from (torch.tensor([float(i)]) for i in range(first, 24, step))


def double(samples: list[Any]) -> Any:
    return {"x": torch.stack([s["x"] for s in samples]) * 2}


def rescale(_: int) -> None:
    info = get_worker_info()
    assert isinstance(info.dataset, Noisy)  # type: ignore[union-attr]
    info.dataset.scale = 100.0  # type: ignore[union-attr]


def flat(batches: list[Any]) -> list[Any]:
    found = []
    for b in batches:
        found.append(
            {k: torch.as_tensor(v).tolist() for k, v in b.items()}
            if isinstance(b, dict)
            else torch.as_tensor(b).tolist()
        )
    return found


LOADERS = {
    "plain": (Noisy, dict(batch_size=5, shuffle=True)),
    "drop last": (Noisy, dict(batch_size=5, shuffle=True, drop_last=True)),
    "many at once": (Many, dict(batch_size=5, shuffle=True)),
    "own collate": (Noisy, dict(batch_size=4, collate_fn=double)),
    "batch sampler": (Noisy, dict(batch_sampler=BatchSampler(SequentialSampler(range(24)), 7, False))),
    "no batches": (Noisy, dict(batch_size=None)),
    "stream": (Stream, dict(batch_size=5)),
}


def loader(name: str, workers: int, **more: Any) -> Any:
    dataset, options = LOADERS[name]
    return DataLoader(dataset(), num_workers=workers, generator=torch.Generator().manual_seed(3), **options, **more)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", LOADERS)
def test_the_same_batches_in_the_same_order_with_the_same_randomness(name: str, workers: int) -> None:
    torch.manual_seed(0)
    wanted = flat([b for _ in range(2) for b in (list(loader(name, workers)))])
    torch.manual_seed(0)
    found, seen = [], 0
    for _ in range(2):
        watched = Watch(loader(name, workers))
        found += flat(list(watched))
        seen += sum(s.service is not None and s.service.samples > 0 for s in watched.steps)
    assert found == wanted
    assert seen == len(wanted)


def test_workers_that_stay_and_a_changed_data_set_in_them() -> None:
    plain = loader("plain", 2, persistent_workers=True, worker_init_fn=rescale)
    watched = Watch(plain)
    epochs = [list(watched) for _ in range(2)]
    assert max(float(b["x"].max()) for e in epochs for b in e) > 2
    assert sorted(i for b in epochs[1] for i in b["i"].tolist()) == list(range(24))
    assert sum(s.first for s in watched.steps) == 2
    assert type(plain.dataset) is Noisy
    assert plain._iterator is None  # the user's loader is as it was
    assert len(watched) == len(plain)
    assert watched.dataset is plain.dataset


class Slow(Dataset[Any]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.05 if index == 17 else 0.001)
        return torch.zeros(1)


def test_times_are_told_apart_and_the_slowest_sample_is_named() -> None:
    watched = Watch(DataLoader(Slow(), batch_size=4, num_workers=1))
    for _ in watched:
        time.sleep(0.002)
    worst = max(watched.steps, key=lambda s: s.service.slowest if s.service else 0.0)
    assert worst.slowest == "17"
    assert worst.service is not None
    assert worst.service.slowest >= 0.05
    cpu, blocked = worst.service.fetch
    assert blocked > 0.045 > cpu
    assert worst.step >= 0.002
    assert len(watched.steps) == 10


def test_anything_can_be_watched_and_left_early() -> None:
    watched = Watch(iter([1, 2, 3]))
    assert next(iter(watched)) == 1
    again = Watch(range(5))
    assert list(again) == [0, 1, 2, 3, 4]
    assert list(again) == [0, 1, 2, 3, 4]
    assert [s.first for s in again.steps] == [True, False, False, False, False] * 2
    assert all(s.paid == s.wait and s.service is None for s in again.steps)


def test_copies_to_a_device_are_timed_apart() -> None:
    watched = Watch([torch.zeros(2), torch.ones(2)], device="cpu")
    assert [b.tolist() for b in watched] == [[0.0, 0.0], [1.0, 1.0]]
    assert all(s.copy > 0 for s in watched.steps)


def test_only_what_is_kept_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halftime.data.watch.KEPT", 10)
    watched = Watch(range(7))
    for expected in (7, 7, 7):
        list(watched)
        assert expected <= len(watched.steps) <= 10


def test_loaders_with_an_iteration_of_their_own_are_left_alone() -> None:
    class Own(DataLoader[Any]):
        def __iter__(self) -> Any:
            return iter([7])

    assert timed(Own(Noisy())) is None
    assert list(Watch(Own(Noisy()))) == [7]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_little_shared_memory_means_fewer_workers() -> None:
    big = [np.zeros(2**20, dtype=np.float32)] * 8  # 4 MiB a sample
    data = [torch.from_numpy(a) for a in big]
    twin = timed(DataLoader(data, batch_size=2, num_workers=4))  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="--shm-size"):
        notes = startup.fit(twin, 40 * 2**20)
    assert (twin.num_workers, twin.prefetch_factor) == (3, 1)
    assert "has 40 MiB free, 4 loader processes with 2 batches ahead each need 72 MiB; used instead: 3" in notes[0]
    twin = timed(DataLoader(data, batch_size=2, num_workers=4, persistent_workers=True))  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="in turn"):
        startup.fit(twin, 0)
    assert twin.num_workers == 0
    assert [b.shape[0] for b in (p.batch for p in twin)] == [2, 2, 2, 2]


class Lambda(Noisy):
    def __init__(self) -> None:
        self.transform = lambda x: x


def test_what_cannot_be_sent_to_workers_is_named() -> None:
    watched = Watch(DataLoader(Lambda(), num_workers=1, multiprocessing_context="spawn"))
    with pytest.raises(BadData, match=r"Lambda.transform .*lambda.* cannot be sent .*num_workers=0"):
        next(iter(watched))


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ({"batch_size": 7}, 7),
        ({"batch_size": None}, 1),
        ({"batch_sampler": BatchSampler(range(40), 8, drop_last=False)}, 8),
        ({"batch_sampler": [[0, 1, 2], [3, 4, 5, 6, 7]] * 5}, 4),
    ],
)
def test_bytes_are_counted_of_a_whole_batch_and_no_clock_is_started(options: Any, samples: int) -> None:
    twin = timed(DataLoader(Slow(), num_workers=2, **options))
    service._times().clear()
    with pytest.warns(UserWarning, match="used instead: none"):
        assert startup.fit(twin, free=8 * samples)
    assert service._times().samples == 0
    twin = timed(DataLoader(Slow(), num_workers=2, **options))
    assert startup.fit(twin, free=2 * 4 * samples * 8) == []
