"""Ranks: who trains together, what is refused before they meet, and which part of a batch each one serves."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import distributed as dist

from halftime.data import ranks
from halftime.data.augmented import Augment, Augmented
from halftime.data.feed import Feed, Tensors
from halftime.data.ranks import Team, here, join, share, sliced
from halftime.errors import BadRecipe, BadValue, HalftimeError, Lost


@pytest.fixture(autouse=True)
def own_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_HERE", [ranks.ALONE])
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def environment(monkeypatch: pytest.MonkeyPatch, **given: int) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_alone_agrees_with_itself_and_waits_for_nobody() -> None:
    team = join(wanted=True)
    assert team is here() is ranks.ALONE
    assert team.agree(15, True, False, 2.5) == (15, True, False, 2.5)
    assert team.told("somewhere") == "somewhere"
    value = torch.ones(2)
    assert team.mean(value) is value
    assert team.total(value) is value
    assert list(team.turns(3)) == [0, 1, 2]
    assert team.device(None) is None
    assert team.device("cuda:1") == "cuda:1"
    team.wait()
    assert not dist.is_initialized()


def test_several_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, RANK=5, WORLD_SIZE=8, LOCAL_RANK=1, LOCAL_WORLD_SIZE=4)
    team = join(wanted=True)
    assert (team.rank, team.world, team.local, team.neighbours, team.first) == (5, 8, 1, 4, False)
    assert here() is team is join(wanted=True)


def test_several_for_a_recipe_for_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, RANK=0, WORLD_SIZE=2)
    with pytest.raises(BadRecipe, match=r"2 ranks were started, and the recipe is for one: add MultiDevice\(\)"):
        join(wanted=False)
    assert here() is ranks.ALONE


@pytest.mark.parametrize(
    ("name", "cards", "cores", "said"),
    [
        (None, 1, 8, "2 ranks were started on this machine, and it has 1 CUDA device: start 1"),
        ("cuda", 1, 8, "2 ranks were started on this machine, and it has 1 CUDA device: start 1"),
        (None, 0, 1, "2 ranks were started on this machine, and it has 1 processor core and no CUDA device: start 1"),
        ("cpu", 4, 1, "2 ranks were started on this machine, and it has 1 processor core: start 1"),
        ("cuda", 0, 8, "2 ranks were started on this machine, and it has 0 CUDA devices: give --device cpu"),
        ("cuda:1", 4, 8, "2 ranks cannot train on 'cuda:1': give 'cuda' (a device each) or 'cpu'"),
    ],
)
def test_more_ranks_than_devices_are_refused_by_the_missing_fact(
    name: str | None, cards: int, cores: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(ranks, "cores", lambda: float(cores))
    with pytest.raises(BadValue) as error:
        Team(0, 2, 0, 2).device(name)
    assert str(error.value) == said
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("name", "cards", "got"), [(None, 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 2, "cpu"), (None, 0, "cpu")]
)
def test_each_rank_has_its_device(name: str | None, cards: int, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: met.append(number))
    monkeypatch.setattr(ranks, "cores", lambda: 2.0)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: met.append(backend))
    monkeypatch.setattr(dist, "new_group", lambda backend, timeout: f"control by {backend}")
    monkeypatch.setattr(ranks.atexit, "register", lambda _: None)
    team = Team(1, 2, 1, 2)
    assert team.device(name) == got
    assert met == ([1, "nccl"] if got != "cpu" else ["gloo"])
    assert team.control == "control by gloo"


@pytest.mark.parametrize(("count", "world"), [(3, 2), (4, 2), (1, 4), (0, 3), (7, 3)])
def test_turns_are_even_and_each_thing_is_somebodys(count: int, world: int) -> None:
    turns = [list(Team(rank, world).turns(count)) for rank in range(world)]
    assert len({len(one) for one in turns}) == 1
    assert sorted(turn for one in turns for turn in one if turn < count) == list(range(count))


class Noisy(Tensors):
    """Draws for a whole batch at once."""

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Any:
        (rows,) = (super().batch(indices, generator),)
        return rows + torch.rand(len(indices), generator=generator)


@pytest.mark.parametrize("kind", [Tensors, Noisy])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_parts_together_are_the_batch_whatever_draws(kind: type[Tensors], world: int) -> None:
    import dataclasses

    feed = Feed(kind(torch.arange(40.0)), batch_size=8, seed=3)
    parts = [
        dataclasses.replace(feed, serve=sliced(feed.serve, r, world), served=type(feed.served)()) for r in range(world)
    ]
    served = [part.batches() for part in parts]
    whole = feed.batches()
    for _ in range(7):
        assert torch.equal(torch.cat([next(one) for one in served]), next(whole))
    assert {part.served.receipt for part in parts} == {feed.served.receipt}


def test_parts_of_mixed_samples_are_those_of_the_whole_batch() -> None:
    import dataclasses

    data = Augmented(Tensors(torch.rand(24, 1, 8, 8), torch.arange(24) % 3), Augment(mixup=0.4, classes=3))
    feed = Feed(data, batch_size=8, seed=3)
    parts = [
        dataclasses.replace(feed, serve=sliced(feed.serve, r, 2), served=type(feed.served)()).batches() for r in (0, 1)
    ]
    whole = feed.batches()
    for _ in range(4):
        pieces, (images, targets) = [next(part) for part in parts], next(whole)
        assert torch.equal(torch.cat([piece[0] for piece in pieces]), images)
        assert torch.equal(torch.cat([piece[1] for piece in pieces]), targets)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    ticket = next(Feed(Tensors(torch.arange(9)), batch_size=9, seed=0).tickets())
    with pytest.raises(BadValue, match="a batch of 9 cannot be shared by 2 processes equally"):
        share(ticket, 0, 2)


@pytest.mark.parametrize(
    "text", ["Connection closed by peer [127.0.0.1]:99", "[gloo/transport] Read error", "NCCL timeout"]
)
def test_a_lost_rank_is_said_in_one_line(text: str) -> None:
    with pytest.raises(Lost, match=r"^rank 1 of 2 lost another rank, so all end") as error, Team(1, 2).together():
        raise RuntimeError(text + "\nmore")
    assert isinstance(error.value, HalftimeError)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), Team(1, 2).together():
        raise RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="socket"), Team().together():
        raise RuntimeError("socket")


def test_no_environment_of_this_test_is_left() -> None:
    assert "WORLD_SIZE" not in os.environ
