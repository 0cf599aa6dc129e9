"""Snapshots: everything comes back, the older of two, but not the rate."""

from __future__ import annotations

import torch
from torch import nn

from halftime.snapshots import Snapshots


def stepped(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    optimizer.zero_grad()
    net(torch.ones(4, 2)).square().sum().backward()
    optimizer.step()
    state = [t for s in optimizer.state.values() for t in s.values()]
    return [t.detach().clone() for t in (*net.parameters(), *net.buffers(), *state)]


def test_weights_statistics_and_optimizer_come_back_as_they_were_in_the_older() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    kept, seen = Snapshots(net, optimizer), []
    for _ in range(4):
        seen.append(stepped(net, optimizer))
        kept.keep()
    for group in optimizer.param_groups:
        group["k"], group["lr"] = 9, 0.7
    kept.go_back()
    state = [t for s in optimizer.state.values() for t in s.values()]
    now = [t.detach() for t in (*net.parameters(), *net.buffers(), *state)]
    assert len(now) == len(seen[2]) > 10
    assert all(torch.equal(a, b) for a, b in zip(now, seen[2], strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.7


def test_what_an_optimizer_counts_in_its_groups_comes_back() -> None:
    net = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.param_groups[0]["k"] = 3
    kept = Snapshots(net, optimizer)
    kept.keep()
    optimizer.param_groups[0]["k"] = 8
    kept.go_back()
    assert optimizer.param_groups[0]["k"] == 3


def test_a_snapshot_older_than_the_optimizers_state_leaves_no_momentum_behind() -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    kept = Snapshots(net, optimizer)
    kept.keep()
    first = stepped(net, optimizer)
    stepped(net, optimizer)
    kept.go_back()
    assert all(torch.equal(a, b) for a, b in zip(stepped(net, optimizer), first, strict=True))


def test_going_back_gives_up_the_newer_and_the_good_one_outlives_the_next() -> None:
    net = nn.Linear(2, 1)
    kept, good = Snapshots(net, torch.optim.SGD(net.parameters(), lr=0.1)), net.weight.detach().clone()
    kept.keep()
    for harm in (float("nan"), 7.0):  # the newer holds the harm; so may the one that is made after going back
        net.weight.data.fill_(harm)
        kept.keep()
        kept.go_back()
        assert torch.equal(net.weight, good)
