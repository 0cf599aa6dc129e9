"""FreezeEarly: the first layers stop for good, the last one never, and a stop in between changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import SGD, FreezeEarly
from halftime.methods.freeze_early import Freezer, frozen_count
from halftime.recipe import Recipe
from tests.contract.tasks import task, trained


@pytest.mark.parametrize("layers", [1, 2, 3, 10, 57])
@pytest.mark.parametrize(("begin", "share"), [(0.0, 1.0), (0.5, 0.5), (0.9, 0.1)])
def test_the_count_grows_with_progress_and_never_reaches_the_last_layer(
    layers: int, begin: float, share: float
) -> None:
    counts = [frozen_count(p / 100, layers, begin, share) for p in range(101)]
    assert counts == sorted(counts)
    assert all(c == 0 for p, c in enumerate(counts) if p / 100 <= begin)
    assert counts[-1] == min(layers - 1, int(share * layers + 1e-9))


def test_frozen_layers_stand_still_and_the_others_move() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    freezer = Freezer(network)
    for count in (0, 2, 2):
        freezer.freeze(count)
        before = [p.detach().clone() for p in network.parameters()]
        optimizer.zero_grad()
        network(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        moved = [not torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True)]
        assert moved == [count == 0] * 4 + [True, True]  # momentum and decay do not move what is frozen


def test_a_frozen_front_gets_no_gradients() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    freezer = Freezer(network)
    freezer.freeze(2)
    seen: list[Any] = []
    network[1].register_full_backward_hook(lambda *given: seen.append(given))
    network(torch.randn(4, 3)).sum().backward()
    assert seen == []  # backward did not come that far


def test_a_shared_parameter_freezes_with_its_last_layer() -> None:
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    freezer = Freezer(nn.Sequential(first, nn.Linear(3, 3), last))
    freezer.freeze(2)
    assert first.weight.requires_grad
    assert not first.bias.requires_grad  # type: ignore[union-attr]


def test_what_was_frozen_before_stays_so_and_counting_back_thaws() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    freezer = Freezer(network)
    assert len(freezer.layers) == 2
    freezer.freeze(1)
    assert not network[1].weight.requires_grad
    freezer.freeze(0)
    assert network[1].weight.requires_grad
    assert not network[0].weight.requires_grad


def test_the_record_says_how_many(tmp_path: Path) -> None:
    run = trained(task(), Recipe([SGD(), FreezeEarly(begin=0.2, share=0.7)], steps=10, batch_size=16), tmp_path)
    assert run.events[-1] == "FreezeEarly: 1 of 3 layers frozen"


@pytest.mark.parametrize(("field", "value"), [("begin", 1.0), ("begin", -0.1), ("share", 0.0), ("share", "half")])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^FreezeEarly\.{field} must be") as error:
        FreezeEarly(**{field: value})
    assert "\n" not in str(error.value)
