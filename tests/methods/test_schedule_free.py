"""ScheduleFree: what is judged is the average, with statistics of its own, and judging leaves no trace."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import schedulefree
import torch
from torch import nn

import halftime as ht
from halftime.data.feed import Feed
from halftime.errors import BadRecipe, BadValue
from halftime.methods import EMA, OneCycle, ScheduleFree, SoftPrune, SubsetPretrain
from halftime.methods.schedule_free import averaged, refresh_statistics
from tests.contract.tasks import network, recipe, same, task, trained, weights


def steps(net: nn.Module, optimizer: Any, count: int, seed: int = 0) -> None:
    source = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=source)
        optimizer.step()


def test_what_is_inside_is_the_average_of_the_fast_weights() -> None:
    """The slow twin: z goes by plain steps, x is the mean of all z, and gradients are taken at a point in between."""
    lr, beta = 0.1, 0.8
    net = nn.Linear(1, 1, bias=False)
    optimizer = schedulefree.SGDScheduleFree(net.parameters(), lr=lr, momentum=beta)
    optimizer.train()
    z = x = net.weight.item()
    for step in range(1, 12):
        y = (1 - beta) * z + beta * x
        assert net.weight.item() == pytest.approx(y, abs=1e-6)
        net.weight.grad = torch.full((1, 1), 2 * net.weight.item() - 1.0)
        optimizer.step()
        z -= lr * (2 * y - 1.0)
        x += (z - x) / step
        with averaged(net, optimizer):
            assert net.weight.item() == pytest.approx(x, abs=1e-6)


def test_afterwards_all_is_as_it_was_bit_for_bit_even_when_something_breaks() -> None:
    net = network()
    optimizer = schedulefree.AdamWScheduleFree(net.parameters(), lr=0.03)
    optimizer.train()
    steps(net, optimizer, 3)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    random = torch.get_rng_state()

    def break_inside() -> None:
        with averaged(net, optimizer, [torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))]):
            assert not same(net.state_dict(), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_inside()
    assert same(net.state_dict(), before)
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    steps(net, optimizer, 1)  # it is in training mode again, or this would raise


@pytest.mark.parametrize("evaluations", [1, 12])
def test_looking_more_often_changes_nothing(evaluations: int, tmp_path: Path) -> None:
    what = recipe(ScheduleFree(lr=0.03, batches=2), steps=12)
    one = trained(task(evaluations=evaluations), what, tmp_path)
    assert same(weights(one), weights(trained(task(evaluations=3), what, tmp_path)))


@pytest.mark.parametrize("order", [SoftPrune(share=0.9), SubsetPretrain(share=0.5, until=0.4)], ids=str)
def test_looking_ahead_decides_no_epoch(order: ht.Method, tmp_path: Path) -> None:
    what = recipe(ScheduleFree(lr=0.03, batches=16), order, steps=24)
    runs = [trained(task(evaluations=n), what, tmp_path) for n in (1, 6)]
    assert same(*map(weights, runs))


def test_statistics_are_those_of_all_batches_together() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.BatchNorm2d(2))
    batches = [torch.randn(8, 1, 3, 3) for _ in range(3)]
    assert refresh_statistics(net, batches) == 2
    between = net[0](torch.cat(batches)).detach()
    norm: Any = net[1]
    assert torch.allclose(norm.running_mean, between.mean((0, 2, 3)), atol=1e-5)
    each = torch.stack([net[0](b).detach().var((0, 2, 3)) for b in batches])
    assert torch.allclose(norm.running_var, each.mean(0), atol=1e-5)
    assert norm.momentum == 0.1
    assert net.training


def test_without_such_layers_no_batch_is_looked_at() -> None:
    def batches() -> Any:
        raise AssertionError("nobody should ask")
        yield

    assert refresh_statistics(nn.Linear(2, 2), batches()) == 0
    assert refresh_statistics(nn.BatchNorm1d(2, track_running_stats=False), batches()) == 0


@pytest.mark.parametrize(
    "inputs", [(torch.ones(4, 2), torch.ones(4, 2)), {"a": torch.ones(4, 2), "b": torch.ones(4, 2)}]
)
def test_a_network_may_take_several_inputs(inputs: Any) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.norm(a + b)

    net = Two()
    refresh_statistics(net, [inputs])
    assert torch.equal(net.norm.running_mean, torch.full((2,), 2.0))


def test_the_average_of_a_real_run_needs_its_statistics(tmp_path: Path) -> None:
    run = trained(task(), recipe(ScheduleFree(lr=0.03), steps=60), tmp_path)
    assert run.score is not None
    assert run.score > 0.9
    kept, fresh = weights(run), network()
    fresh.load_state_dict(kept)
    feed = Feed(task().train, 16, 0)
    refresh_statistics(fresh, [feed.look(step)[0] for step in range(16)])
    assert same(kept, fresh.state_dict())


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
def test_the_warmup_rises_to_the_rate(algorithm: str) -> None:
    net = network()
    method = ScheduleFree(warmup=0.5, algorithm=algorithm)
    optimizer = method.optimizer(net, torch.optim.SGD(net.parameters()))
    acting = method.start(net, optimizer, None)  # type: ignore[arg-type]
    assert [acting.lr_factor(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    steps(net, optimizer, 1)


def test_the_outer_average_is_judged(tmp_path: Path) -> None:
    both = recipe(EMA(decay=0.5), ScheduleFree(lr=0.03, batches=2), OneCycle(), steps=8)
    names = [type(m).__name__ for m in both.methods]
    assert names.index("EMA") > names.index("ScheduleFree")
    alone = both.minus("EMA")
    assert not same(weights(trained(task(), both, tmp_path)), weights(trained(task(), alone, tmp_path)))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == "schedulefree":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(BadRecipe, match=r"ScheduleFree needs the package schedulefree: pip install schedulefree"):
        trained(task(), recipe(ScheduleFree(), steps=2), tmp_path)
    assert ht.Ledger(tmp_path).runs == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 0), ("algorithm", "adam"), ("beta", 0.0), ("beta", 1.0), ("warmup", 1.0), ("batches", 0), ("batches", 1.5)],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^ScheduleFree\.{field}") as error:
        ScheduleFree(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
