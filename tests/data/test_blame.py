"""Blame: two strikes and a sample is out; a batch in which many stand out blames nobody."""

from __future__ import annotations

import torch

from halftime.data.blame import Blame

IDS = torch.tensor([4, 5, 6, 7])
NAN = float("nan")


def batch(*broken: int) -> torch.Tensor:
    rows = torch.ones(4, 2)
    rows[[*broken]] = NAN
    return rows


def test_one_that_stood_out_twice_is_left_out() -> None:
    blame, targets = Blame(), torch.arange(4)
    assert blame.on(batch(1), IDS) == ([5], [])
    assert blame.without(batch(1), targets, IDS)[2].tolist() == [4, 5, 6, 7]
    assert blame.on(batch(1), IDS) == ([5], [5])
    inputs, wanted, ids = blame.without({"x": batch(1)}, targets, IDS)
    assert (inputs["x"].isfinite().all(), wanted.tolist(), ids.tolist()) == (True, [0, 2, 3], [4, 6, 7])


def test_where_all_stand_out_or_none_nobody_is_blamed() -> None:
    blame = Blame()
    for _ in range(3):
        assert blame.on(batch(0, 1, 2, 3), IDS)[1] == []
        assert blame.on(batch(), IDS) == ([4, 5, 6, 7], [])
    assert not blame.times


def test_a_batch_is_never_emptied() -> None:
    blame = Blame()
    blame.times.update({4: 2, 5: 2, 6: 2, 7: 2})
    assert blame.without(batch(), torch.arange(4), IDS)[2].tolist() == [4, 5, 6, 7]
