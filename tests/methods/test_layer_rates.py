"""LayerRates: every parameter's rate is its group's times its factor, whatever optimizer made the groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import SGD, AdamW, AnyOptimizer, LayerRates, Muon, ScheduleFree
from halftime.methods.layer_rates import layer_factors, scale_rates
from tests.contract.tasks import network, recipe, same, task, trained, weights

OPTIMIZERS = (SGD(lr=0.3, weight_decay=0.1), AdamW(), Muon(), ScheduleFree(weight_decay=0.1), AnyOptimizer())


class Tied(nn.Module):
    """Words in and out by one table, a gain, and norms in between."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(5, 4), nn.LayerNorm(4)
        self.hidden, self.out = nn.Linear(4, 4), nn.Linear(4, 5)
        self.out.weight = self.words.weight
        self.gain = nn.Parameter(torch.ones(()))


def rates(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, float]:
    return {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("net", [network(), Tied()], ids=["convolutions", "tied"])
@pytest.mark.parametrize("base", OPTIMIZERS, ids=lambda m: type(m).__name__)
def test_each_rate_is_the_groups_times_the_factor(base: Any, net: nn.Module) -> None:
    plain = torch.optim.SGD(net.parameters())
    before = base.optimizer(net, plain)
    after = LayerRates(biases=3.0, norms=0.5, first=0.2).optimizer(net, base.optimizer(net, plain))
    factors = layer_factors(net, 3.0, 0.5, 0.2)
    assert set(factors) == set(net.parameters())
    assert rates(after) == {p: lr * factors[p] for p, lr in rates(before).items()}
    assert len(set(factors.values())) >= 3


@pytest.mark.parametrize("base", OPTIMIZERS, ids=lambda m: type(m).__name__)
def test_every_other_option_goes_with_each_part(base: Any) -> None:
    net = network()
    before = base.optimizer(net, torch.optim.SGD(net.parameters()))
    options = {p: {k: v for k, v in g.items() if k not in ("params", "lr")}
               for g in before.param_groups for p in g["params"]}  # fmt: skip
    after = scale_rates(before, layer_factors(net, first=0.1))
    found = [(p, group) for group in after.param_groups for p in group["params"]]
    assert sorted(id(p) for p, _ in found) == sorted(id(p) for p in net.parameters())
    for p, group in found:
        assert {k: v for k, v in group.items() if k not in ("params", "lr")} == options[p]


def test_depth_goes_geometrically_to_one() -> None:
    net = nn.Sequential(*(layer for _ in range(5) for layer in (nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU())))
    factors = layer_factors(net, biases=1.0, norms=1.0, first=0.0625)
    found = [[factors[p] for p in net[i].parameters()] for i in range(0, 15, 3)]  # type: ignore[attr-defined]
    assert found == [[pytest.approx(f)] * 2 for f in (0.0625, 0.125, 0.25, 0.5, 1.0)]
    norms = [factors[p] for i in range(1, 15, 3) for p in net[i].parameters()]  # type: ignore[attr-defined]
    assert norms == [pytest.approx(f) for f in (0.0625, 0.125, 0.25, 0.5, 1.0) for _ in range(2)]


def test_one_layer_is_the_last_one() -> None:
    assert list(layer_factors(nn.Linear(2, 2, bias=False), first=0.1).values()) == [1.0]
    assert list(layer_factors(nn.LayerNorm(2), norms=2.0, first=0.1).values()) == [2.0, 2.0]


def test_factors_of_one_change_nothing(tmp_path: Path) -> None:
    one = recipe(LayerRates(biases=1.0), SGD(lr=0.1, weight_decay=0.01), steps=5)
    assert same(weights(trained(task(), one, tmp_path)), weights(trained(task(), one.minus("LayerRates"), tmp_path)))


def test_a_factor_is_a_longer_step() -> None:
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone(), net.bias.detach().clone()
    optimizer = LayerRates(biases=4.0).optimizer(net, torch.optim.SGD(net.parameters(), lr=0.1))
    net.weight.grad, net.bias.grad = torch.ones(2, 2), torch.ones(2)
    optimizer.step()
    assert torch.allclose(before[0] - net.weight, torch.full((2, 2), 0.1))
    assert torch.allclose(before[1] - net.bias, torch.full((2,), 0.4))


@pytest.mark.parametrize(("field", "value"), [("biases", 0), ("norms", -1.0), ("first", float("nan")), ("first", "1")])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^LayerRates\.{field}") as error:
        LayerRates(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
