"""EasyFirst: the easiest share first, more by progress, and the same samples after any stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.methods import SGD, EasyFirst, FastLoader
from halftime.methods.easy_first import easiest, easy_first, share_at
from tests.contract.tasks import TRAIN, Interrupting, same, task, terminate, trained, weights


def test_the_share_rises_from_its_first_value_to_one() -> None:
    shares = [share_at(p / 100, 0.2, 0.6) for p in range(101)]
    assert shares[0] == 0.2
    assert shares == sorted(shares)
    assert shares[60:] == [1.0] * 41
    assert share_at(0.0, 0.2, 0.0) == 1.0


def test_the_easiest_are_those_with_the_lowest_scores() -> None:
    scores = torch.rand(100, generator=torch.Generator().manual_seed(0))
    ids = easiest(scores, 0.3)
    assert len(ids) == 30
    rest = torch.ones(100, dtype=torch.bool).index_fill(0, ids, False)
    assert scores[ids].max() < scores[rest].min()


def test_more_take_part_in_each_epoch_and_easy_ones_stay() -> None:
    scores = torch.arange(64).float()
    feed, order = easy_first(Feed(Tensors(torch.arange(64)), 8, seed=0), scores, first=0.25, until=0.5)
    seen: dict[int, set[int]] = {}
    batches = feed.batches()
    for step in range(60):
        ids = set(next(batches).tolist())
        seen[feed.served.epoch] = seen.get(feed.served.epoch, set()) | ids
        order.told(progress=step / 60)
    assert order.lengths[0] == 16
    assert order.lengths[-1] == 64
    assert order.lengths == sorted(order.lengths)
    assert len(set(order.lengths)) > 4
    for epoch, there in enumerate(order.lengths):
        assert seen[epoch] <= set(range(there))


@pytest.mark.parametrize("others", [(), (FastLoader(workers=2, ahead=8),)])
def test_going_on_in_any_step_equals_going_through(others: tuple[ht.Method, ...], tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), EasyFirst(first=0.4, proxy_epochs=1), *others], steps=18, batch_size=16)
    through = trained(task(), what, tmp_path / "through")
    for at in (6, 9, 12, 17):
        with pytest.raises(ht.Stopped) as stopped:
            trained(task(train=Interrupting(TRAIN, at=at + 2, act=terminate)), what, tmp_path / "stopped")
        again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
        assert same(weights(again), weights(through)), at


def test_the_control_is_by_lot_and_the_budget_counts_full_epochs(tmp_path: Path) -> None:
    control = EasyFirst(first=0.5).control()
    assert control == EasyFirst(first=0.5, score="random")
    run = trained(task(), ht.Recipe([SGD(), control], epochs=2, batch_size=16), tmp_path)
    assert run.steps == 12
    assert any("ranked by random" in e for e in run.events)


def test_its_range_is_checked() -> None:
    for field, value in (("first", 0.0), ("until", 1.2), ("score", "loss"), ("proxy_lr", 0.0)):
        with pytest.raises(ht.InputError, match=rf"^EasyFirst\.{field} must be"):
            EasyFirst.from_dict({field: value})
