"""Muon: the split covers every weight once, steps are orthogonal, and a kernel is stepped as the matrix it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import Muon
from halftime.methods.muon import OrthogonalAdamW, muon_groups, split_weights
from tests.contract.tasks import network


class Talker(nn.Module):
    """What a transformer has: tables, attention, a position that is a plain parameter, a head tied to the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.position = nn.Embedding(11, 8), nn.Parameter(torch.zeros(6, 8))
        self.attention, self.norm = nn.MultiheadAttention(8, 2), nn.LayerNorm(8)
        self.up, self.down, self.frozen = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 8)
        self.frozen.requires_grad_(False)
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.words.weight


class Heads(nn.Module):
    """A trunk and several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 8))
        self.heads = nn.ModuleDict({"kind": nn.Linear(8, 3), "turn": nn.Linear(8, 4)})


def names(net: nn.Module) -> dict[str, set[str]]:
    of = {p: name for name, p in net.named_parameters()}
    return {kind: {of[p] for p in found} for kind, found in split_weights(net).items()}


@pytest.mark.parametrize("net", [Talker(), Heads(), network(), nn.Linear(2, 2), nn.LayerNorm(3)], ids=str)
def test_the_groups_cover_every_trained_parameter_exactly_once(net: nn.Module) -> None:
    found = [id(p) for group in muon_groups(net) for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert len(found) == len(set(found)) > 0


def test_only_hidden_matrices_and_kernels_are_muons() -> None:
    talker = names(Talker())
    assert talker["matrices"] == {"attention.in_proj_weight", "attention.out_proj.weight", "up.weight", "down.weight"}
    assert talker["kernels"] == set()
    assert talker["decayed"] == {"words.weight", "position"}
    heads = names(Heads())
    assert heads["matrices"] == {"trunk.3.weight"}
    assert heads["kernels"] == {"trunk.0.weight"}
    assert heads["decayed"] == {"heads.kind.weight", "heads.turn.weight"}
    assert names(nn.Linear(2, 2)) == {"matrices": set(), "kernels": set(), "decayed": {"weight"}, "plain": {"bias"}}


def test_each_group_has_its_own_rate_and_only_weights_decay() -> None:
    groups = Muon(lr=0.1, kernel_lr=0.2, rest_lr=0.3, weight_decay=0.4).optimizer(Heads(), None).param_groups  # type: ignore[arg-type]
    assert [(g["by"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("muon", 0.1, 0.4),
        ("muon", 0.2, 0.4),
        ("adamw", 0.3, 0.4),
        ("adamw", 0.3, 0.0),
    ]
    assert muon_groups(Heads(), lr=0.7)[1]["lr"] == 0.7


def stepped(net: nn.Module, groups: list[dict[str, Any]], steps: int = 3) -> nn.Module:
    optimizer, source = OrthogonalAdamW(groups), torch.Generator().manual_seed(0)
    for _ in range(steps):
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=source)
        optimizer.step()
    return net


@pytest.mark.parametrize("shape", [(6, 6), (8, 5), (5, 8), (4, 3, 3, 3), (6, 2, 5)])
def test_a_step_is_nearly_the_orthogonal_matrix_of_the_decomposition(shape: tuple[int, ...]) -> None:
    """The slow twin: for gradient U S V, the step lies along U V with singular values near one."""
    weight = nn.Parameter(torch.zeros(shape))
    optimizer = OrthogonalAdamW([{"params": [weight], "by": "muon", "lr": 1.0, "weight_decay": 0.0}])
    weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    gradient = weight.grad.flatten(1).clone()
    optimizer.step()
    rows, columns = gradient.shape
    step = -weight.detach().flatten(1) / max(1.0, rows / columns) ** 0.5
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    inside = u.T @ step @ v.T  # diagonal, near the identity
    assert torch.allclose(inside, torch.diag(inside.diag()), atol=0.05)
    assert inside.diag().min() > 0.6
    assert inside.diag().max() < 1.3


def test_on_matrices_it_is_torchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.randn(5, 7)) for _ in range(2))
    theirs.data.copy_(ours.data)
    options = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    one = OrthogonalAdamW([{"params": [ours], "by": "muon", **options}])
    other = torch.optim.Muon([theirs], **options)
    for _ in range(4):
        ours.grad = torch.randn(5, 7)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    assert torch.equal(ours, theirs)


def test_on_the_rest_it_is_torchs_adamw() -> None:
    net = nn.Linear(3, 4)
    twin = copy.deepcopy(net)
    stepped(net, muon_groups(net, rest_lr=0.01, weight_decay=0.0))
    optimizer, source = (
        torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=0.0),
        torch.Generator().manual_seed(0),
    )
    for _ in range(3):
        for p in twin.parameters():
            p.grad = torch.randn(p.shape, generator=source)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))


def test_a_kernel_is_stepped_as_its_matrix_in_either_layout() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 2, 2)
    options = {"by": "muon", "lr": 0.05}
    flat = nn.ParameterList([nn.Parameter(kernel.flatten(1).clone())])
    usual = nn.ParameterList([nn.Parameter(kernel.clone())])
    inner = nn.ParameterList([nn.Parameter(kernel.clone(memory_format=torch.channels_last))])
    results = []
    for net in (flat, usual, inner):
        source = torch.Generator().manual_seed(3)
        optimizer = OrthogonalAdamW([{"params": list(net), **options}])
        for _ in range(3):
            gradient = torch.randn(4, 12, generator=source)
            net[0].grad = gradient.view(net[0].shape).to(
                memory_format=torch.channels_last if net is inner else torch.contiguous_format
            )
            optimizer.step()
        results.append(net[0].detach().flatten(1))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert inner[0].is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(results[0], kernel.flatten(1))


def test_its_state_is_one_and_brings_it_back() -> None:
    net = network()
    other = copy.deepcopy(net)
    first, second = (OrthogonalAdamW(muon_groups(n)) for n in (net, other))

    def step(which: nn.Module, optimizer: OrthogonalAdamW, seed: int) -> None:
        source = torch.Generator().manual_seed(seed)
        for p in which.parameters():
            p.grad = torch.randn(p.shape, generator=source)
        optimizer.step()

    step(net, first, 0)
    other.load_state_dict(net.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert len(first.state_dict()["state"]) == len(list(net.parameters()))
    for seed in (1, 2):
        step(net, first, seed)
        step(other, second, seed)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_a_weight_without_a_gradient_stays_and_a_closure_is_called() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = OrthogonalAdamW([{"params": [weight], "by": "muon"}])
    assert optimizer.step(lambda: 7.0) == 7.0
    assert torch.equal(weight, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 0), ("kernel_lr", 0.0), ("rest_lr", float("inf")), ("momentum", 1.0), ("weight_decay", -1), ("lr", None)],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^Muon\.{field}") as error:
        Muon(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
