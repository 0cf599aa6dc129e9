"""SubsetPretrain: a balanced or cheap part first, everything afterwards, one clock and one schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.data.pack import Pack, pack
from halftime.data.sizes import sample_sizes
from halftime.methods import SGD, FastLoader, SubsetPretrain
from halftime.methods.subset_pretrain import balanced_part, cheapest_part, part_first, part_of
from tests.contract.tasks import TRAIN, Interrupting, same, task, terminate, trained, weights


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_each_class_gives_the_same_share_rounded_up(share: float) -> None:
    labels = [[0]] * 100 + [[1]] * 40 + [[2]] * 7 + [[]] * 3
    ids = balanced_part(labels, share, torch.rand(150, generator=torch.Generator().manual_seed(0)))
    assert len(ids.unique()) == len(ids)
    for low, high in ((0, 100), (100, 140), (140, 147), (147, 150)):
        mine = int(((ids >= low) & (ids < high)).sum())
        assert mine == -int(-share * (high - low) // 1)


def test_the_cheapest_are_the_smallest_and_ties_are_broken_by_lot() -> None:
    sizes = torch.tensor([5.0, 1.0, 1.0, 1.0, 9.0, 1.0])
    assert cheapest_part(sizes, 0.5, torch.tensor([0, 0.9, 0.1, 0.5, 0, 0.2])).tolist() == [2, 3, 5]
    parts = {tuple(cheapest_part(torch.ones(20), 0.2, torch.rand(20)).tolist()) for _ in range(20)}
    assert len(parts) > 10


def test_a_pack_knows_its_sizes_and_they_rank_as_those_of_its_samples(tmp_path: Path) -> None:
    data: list[Any] = [(torch.zeros(n, 3), n) for n in (4, 1, 7, 2, 5)]
    pack(data, tmp_path / "p")
    assert sample_sizes(Pack(tmp_path / "p")).argsort().tolist() == sample_sizes(data).argsort().tolist()
    assert sample_sizes(data).tolist() == [12.0, 3.0, 21.0, 6.0, 15.0]


def test_the_part_depends_on_the_seed_and_has_its_size() -> None:
    feeds = [Feed(Tensors(*TRAIN), 16, seed) for seed in (0, 1)]
    for part in ("balanced", "cheapest", "random"):
        ids = [part_of(feed, 0.25, part) for feed in feeds]
        assert all(24 <= len(i) <= 26 for i in ids)
        assert not torch.equal(*ids) if len(ids[0]) == len(ids[1]) else True
        assert torch.equal(ids[0], part_of(feeds[0], 0.25, part))


def test_the_part_is_served_until_its_progress_and_then_all() -> None:
    ids = torch.arange(8)
    feed, order = part_first(Feed(Tensors(torch.arange(32)), 4, seed=0), ids, until=0.5)
    served = []
    batches = feed.batches()
    for step in range(40):
        served.append(next(batches))
        order.told(progress=step / 40)
    assert bool((torch.cat(served[:20]) < 8).all())
    assert set(torch.cat(served[22:30]).tolist()) == set(range(32))


@pytest.mark.parametrize("others", [(), (FastLoader(workers=2, ahead=8),)])
def test_going_on_in_any_step_equals_going_through(others: tuple[ht.Method, ...], tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), SubsetPretrain(share=0.4, until=0.4), *others], steps=16, batch_size=16)
    through = trained(task(), what, tmp_path / "through")
    for at in range(3, 17, 3):
        with pytest.raises(ht.Stopped) as stopped:
            trained(task(train=Interrupting(TRAIN, at=at, act=terminate)), what, tmp_path / "stopped")
        again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
        assert same(weights(again), weights(through)), at


def test_the_budget_counts_full_epochs_and_the_control_is_by_lot(tmp_path: Path) -> None:
    method = SubsetPretrain(share=0.25)
    assert method.control() == SubsetPretrain(share=0.25, part="random")
    assert trained(task(), ht.Recipe([SGD(), method], epochs=2, batch_size=16), tmp_path).steps == 12


def test_its_range_is_checked() -> None:
    for field, value in (("share", 0.0), ("until", -0.1), ("part", "best")):
        with pytest.raises(ht.InputError, match=rf"^SubsetPretrain\.{field} must be"):
            SubsetPretrain.from_dict({field: value})
