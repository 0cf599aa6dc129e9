"""EMA: an average that constant weights do not move, and a swap that always comes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from halftime.errors import BadValue
from halftime.methods import EMA
from halftime.methods.ema import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in net.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@torch.no_grad()
def disturb(net: nn.Module) -> None:
    for p in net.parameters():
        p.add_(torch.randn_like(p))


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_the_average_of_constant_weights_is_those_weights(decay: float) -> None:
    net = network()
    before, average = state(net), WeightAverage(net, decay)
    for _ in range(20):
        average.update()
    with average.swapped():
        assert same(state(net), before)


def test_the_average_is_the_recursion_written_out() -> None:
    net = nn.Linear(1, 1, bias=False)
    average, expected = WeightAverage(net, 0.5), net.weight.item()
    for n in range(1, 30):
        disturb(net)
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * net.weight.item()
        assert average.average[0].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("warmup", [1, 10, 100])
def test_the_memory_grows_with_the_updates_up_to_its_full_length(warmup: int) -> None:
    net = nn.Linear(1, 1, bias=False)
    average, kept = WeightAverage(net, 0.9, warmup), []
    for n in range(1, 60):
        before = average.average[0].item()
        with torch.no_grad():
            net.weight.fill_(before + 1.0)
        average.update()
        kept.append(1.0 - (average.average[0].item() - before))
        assert kept[-1] == pytest.approx(min(0.9, (1 + n) / (warmup + n)), abs=1e-4)
    assert kept == sorted(kept) or warmup == 1
    assert EMA(warmup=warmup).start(net, None, None).average.warmup == warmup  # type: ignore[arg-type, attr-defined]


def test_the_average_stays_among_the_weights_that_were() -> None:
    net = nn.Linear(1, 1, bias=False)
    average, seen = WeightAverage(net, 0.9), [net.weight.item()]
    for _ in range(30):
        disturb(net)
        seen.append(net.weight.item())
        average.update()
        assert min(seen) - 1e-6 <= average.average[0].item() <= max(seen) + 1e-6


def test_no_memory_is_the_last_weights() -> None:
    net = network()
    average = WeightAverage(net, decay=0.0)
    disturb(net)
    average.update()
    assert all(torch.equal(a, p) for a, p in zip(average.average, net.parameters(), strict=False))


def test_swapping_restores_bit_for_bit_even_when_something_breaks() -> None:
    net = network()
    average = WeightAverage(net, 0.9)
    disturb(net)
    average.update()
    before, kept = state(net), [a.clone() for a in average.average]

    def break_inside() -> None:
        with average.swapped():
            assert not same(state(net), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_inside()
    assert same(state(net), before)
    assert all(torch.equal(a, b) for a, b in zip(kept, average.average, strict=True))


def test_the_optimizer_keeps_its_parameters_through_a_swap() -> None:
    net = network()
    average, before = WeightAverage(net, 0.9), [p.data_ptr() for p in net.parameters()]
    with average.swapped():
        assert [p.data_ptr() for p in net.parameters()] == before
    assert [p.data_ptr() for p in net.parameters()] == before


def test_running_statistics_are_averaged_and_counters_are_not() -> None:
    net = network()
    average = WeightAverage(net, 0.0)
    net(torch.randn(8, 3))
    average.update()
    with average.swapped():
        assert net[1].num_batches_tracked.item() == 1  # type: ignore[operator, union-attr, index]
    assert len(average.average) == 8  # six parameters, a mean and a variance


@pytest.mark.parametrize("every", [1, 3])
def test_it_follows_every_so_many_steps_and_survives_a_stop(every: int) -> None:
    net = network()
    method, optimizer = EMA(decay=0.5, every=every), torch.optim.SGD(network().parameters())
    through, before = method.start(net, optimizer, None), method.start(net, optimizer, None)
    after = method.start(net, optimizer, None)
    for step in range(10):
        disturb(net)
        through.after_step(step / 10)
        if step < 4:
            before.after_step(step / 10)
        if step == 3:
            after.load_state_dict(before.state_dict())
        if step >= 4:
            after.after_step(step / 10)
    assert through.state_dict()["updates"] == after.state_dict()["updates"] == 10 // every
    pairs = zip(through.state_dict()["average"], after.state_dict()["average"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_average_has_no_gradient_and_is_no_parameter() -> None:
    net = network()
    count = len(list(net.parameters()))
    average = WeightAverage(net)
    average.update()
    assert not any(a.requires_grad for a in average.average)
    assert len(list(net.parameters())) == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decay", 1.0),
        ("decay", -0.1),
        ("decay", float("nan")),
        ("decay", "0.9"),
        ("every", 0),
        ("every", 1.0),
        ("every", -1),
        ("warmup", 0),
        ("warmup", 2.5),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^EMA\.{field}") as error:
        EMA(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
