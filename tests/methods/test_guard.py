"""The guard: what is bad is not applied, is told apart by a second try, and is said; what is good is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halftime.data.batch import suspects
from halftime.data.feed import Tensors
from halftime.errors import Diverged
from halftime.methods import SGD, AlternatingFlip, Guard, HardExamples, MixedPrecision, OneCycle, Packed, SoftPrune
from halftime.methods.guard import FEW, MEMORY, StepGuard
from tests.contract.tasks import DEVICES, TRAIN, recipe, same, task, trained, weights

NAN = float("nan")


def guarded(every: int = 3) -> tuple[nn.Module, StepGuard]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    return net, StepGuard(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), every=every)


def on(net: nn.Module, inputs: Tensor, factor: Callable[[], float] = lambda: 1.0) -> Callable[..., None]:
    def compute_loss(backward: Any) -> None:
        backward((net(inputs) - inputs.sum(1, keepdim=True)).square().mean() * factor())

    return compute_loss


def batch(number: int) -> Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(number))


def test_a_batch_with_nan_leaves_weights_and_statistics_alone() -> None:
    net, guard = guarded()
    for number in range(4):
        assert guard.step(on(net, batch(number)))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    broken = batch(5)
    broken[3, 2] = NAN
    assert not guard.step(on(net, broken), samples=lambda: [53])
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert guard.step(on(net, batch(6)))
    assert len(guard.told) == 1
    assert "samples [53]" in guard.told[0]


def test_a_fault_that_does_not_come_again_is_chance_and_the_step_is_the_same() -> None:
    trained_by = []
    for faults in ([1.0] * 4, [1.0, 1.0, 1.0, NAN, 1.0]):
        net, guard = guarded()
        factors = iter(faults)
        torch.manual_seed(1)  # the second try has the same dropout
        for number in range(4):
            assert guard.step(on(net, batch(number), lambda factors=factors: next(factors)))
        trained_by.append(list(net.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*trained_by, strict=True))
    assert "chance" in guard.told[0]


def test_exploded_weights_go_back_to_a_snapshot_at_half_the_rate() -> None:
    net, guard = guarded(every=3)
    states = []
    for number in range(10):
        states.append([p.detach().clone() for p in net.parameters()])
        guard.step(on(net, batch(number)))
    with torch.no_grad():
        net[4].weight.mul_(1e4)
    assert not guard.step(on(net, batch(11)))
    assert not guard.step(on(net, batch(12)))
    assert guard.rate == 0.5
    # of the last two snapshots, taken before steps 6 and 9, the older one
    assert all(torch.equal(now, then) for now, then in zip(net.parameters(), states[6], strict=True))
    assert guard.step(on(net, batch(13)))
    assert [text.split(":")[0] for text in guard.told] == ["skipped a batch", "skipped a batch",
                                                           "the next batch was bad too"]  # fmt: skip


def test_bad_batches_right_after_a_stop_go_back_to_where_it_went_on() -> None:
    net, guard = guarded(every=4)
    for number in range(6):
        guard.step(on(net, batch(number)))
    kept = Guard().start(net, guard.optimizer, None), Guard(every=4).start(net, guard.optimizer, None)
    kept[0].guard = guard  # type: ignore[attr-defined]
    kept[1].load_state_dict(kept[0].state_dict())
    weights = [p.detach().clone() for p in net.parameters()]
    again = kept[1].guard  # type: ignore[attr-defined]
    for number in (6, 7):
        assert not again.step(on(net, batch(number), lambda: NAN))
    assert "went back" in again.told[-1]
    assert all(torch.equal(now, then) for now, then in zip(net.parameters(), weights, strict=True))


def test_a_leap_of_the_loss_is_not_applied() -> None:
    net, guard = guarded()
    for number in range(8):
        guard.step(on(net, batch(number)))
    assert not guard.step(on(net, batch(8) * 100))
    assert "leapt" in guard.told[0]


def follows(losses: list[float]) -> list[str]:
    """What a guard tells of steps with these losses."""
    net = nn.Linear(1, 1)
    guard = StepGuard(net, torch.optim.SGD(net.parameters(), lr=0.0))
    for value in losses:
        guard.step(lambda backward, value=value: backward(net(torch.ones(1)).sum() * 0.0 + value))
    return guard.told


def test_late_in_a_training_a_leap_is_one_beyond_the_last_losses_and_not_beyond_the_first() -> None:
    falling = [2.3 * 0.99**step for step in range(MEMORY + 200)]
    assert follows(falling) == []
    (line,) = follows([*falling, 10 * falling[-1], falling[-1]])
    assert 10 * falling[-1] < falling[0]
    assert "the loss leapt to" in line


def test_a_noisy_loss_that_falls_is_no_alarm() -> None:
    noise = torch.randn(2000, generator=torch.Generator().manual_seed(0)).mul(0.5).exp().tolist()
    assert follows([2.3 * 0.997**step * much for step, much in enumerate(noise)]) == []


@pytest.mark.parametrize("device", DEVICES)
def test_the_second_try_draws_what_the_first_one_drew(device: str) -> None:
    net = nn.Linear(1, 1).to(device)
    guard, drawn = StepGuard(net, torch.optim.SGD(net.parameters(), lr=0.1)), list[tuple[float, float]]()

    def compute_loss(backward: Any) -> None:
        drawn.append((float(torch.rand(1)), float(torch.rand(1, device=device))))
        backward(net(torch.ones(1, device=device)).sum() * (NAN if len(drawn) == 1 else 1.0))

    assert guard.step(compute_loss)
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("own", [[], ["2"]], ids=["found none", "found a later one"])
def test_of_several_ranks_all_raise_the_layer_that_one_of_them_found_first(
    own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, said = ["", "0", "1", "2"], list[int]()

    def smallest(place: Tensor, how: Any) -> None:  # the other rank's batch overflows in its first layer
        assert how == torch.distributed.ReduceOp.MIN
        said.append(int(place))
        place.clamp_(max=names.index("0"))

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", smallest)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    guard, calls = StepGuard(net, torch.optim.SGD(net.parameters(), lr=1e-3)), list[int]()

    def compute_loss(backward: Any) -> None:
        calls.append(1)
        with torch.autocast("cpu", torch.float16):
            out = net[2](torch.full((2, 8), 1e6 if own and len(calls) == 2 else 1.0))
        backward(out.float().mean() * (NAN if len(calls) < 3 else 1.0))  # the loss of all ranks

    assert guard.step(compute_loss)
    assert len(calls) == 3
    assert guard.raised == ["0"]
    assert said == [names.index(own[0]) if own else len(names)]


def test_it_gives_up_with_the_reason() -> None:
    net, guard = guarded()
    for _ in range(FEW):
        assert not guard.step(on(net, batch(0), lambda: NAN))
    with pytest.raises(Diverged, match="loss is nan"):
        guard.step(on(net, batch(0), lambda: NAN))


def test_a_layer_that_overflows_in_16_bits_computes_in_32() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        net[0].weight.fill_(300.0)
    guard = StepGuard(net, torch.optim.SGD(net.parameters(), lr=1e-12))

    def compute_loss(backward: Any) -> None:
        with torch.autocast("cpu", torch.float16):
            out = net(torch.full((2, 4), 100.0))
        backward(out.float().mean())

    assert guard.step(compute_loss)
    assert guard.raised[0] == "0"
    assert "in 32 bits" in guard.told[0]
    assert guard.step(compute_loss)
    assert len(guard.told) == 1


def test_samples_that_stand_out_are_named() -> None:
    inputs = torch.randn(6, 3)
    ids = torch.arange(10, 16)
    assert suspects(inputs, ids) == list(range(10, 16))
    inputs[2, 1] = 1e6
    assert suspects({"x": inputs}, ids) == [12]


class Faulty(Tensors):
    """Gives NaN for one sample."""

    def __init__(self, columns: tuple[Tensor, ...], sample: int) -> None:
        super().__init__(*columns)
        self.sample = sample

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        images, kinds = super().batch(indices, generator)
        images = images.clone()
        images[indices == self.sample] = NAN
        return images, kinds


def test_a_run_names_the_sample_and_goes_on(tmp_path: Path) -> None:
    what = recipe(Guard(), OneCycle(), SGD(lr=0.1), steps=18)
    run = trained(task(train=Faulty(TRAIN, 17)), what, tmp_path)
    assert run.state == "finished", run.reason
    assert run.steps == 18
    assert run.tried == 20  # the sample came once in each of three epochs: the third time it is left out of its batch
    assert all("samples [17]" in text for text in run.events)
    assert len(run.events) == 3
    assert "left out from now on" in run.events[2] or "left out from now on" in run.events[1]
    without = trained(task(train=Faulty(TRAIN, 17)), what.minus("Guard"), tmp_path)
    assert without.state == "failed"


@pytest.mark.parametrize(
    "others", [(SoftPrune(),), (HardExamples(proxy_epochs=1),), (SoftPrune(), AlternatingFlip(), Packed())], ids=len
)
def test_who_goes_by_the_samples_of_a_batch_hears_which_are_left_out(others: tuple[Any, ...], tmp_path: Path) -> None:
    class Once(Faulty):  # as the data looked to those who saw it beforehand
        calls = 0

        def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
            self.calls += 1
            return super().batch(indices, generator) if self.calls > 4 else Tensors.batch(self, indices, generator)

    what = recipe(Guard(), SGD(lr=0.1), *others, steps=30)
    run = trained(task(train=Once(TRAIN, 17)), what, tmp_path)
    assert run.state == "finished", run.reason
    assert any("left out from now on" in text for text in run.events)


def test_a_clean_run_is_the_same_with_and_without(tmp_path: Path) -> None:
    what = recipe(OneCycle(), SGD(lr=0.1), steps=20)
    plain = trained(task(), what, tmp_path)
    run = trained(task(), what.plus(Guard()), tmp_path)
    assert same(weights(run), weights(plain))
    assert run.events == ()


def test_a_scale_that_collapses_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:  # finite, with a gradient that never is
        finite = nn.functional.cross_entropy(outputs, targets)
        return finite + (outputs - outputs.detach()).sum() * 1e38

    run = trained(task(loss=loss), recipe(MixedPrecision(dtype="fp16"), steps=60), tmp_path)
    assert run.state == "failed"
    assert "scale fell below 1" in run.reason
    assert run.steps == 0
    assert run.tried > 10


def test_where_scaling_refuses_at_the_step_of_a_snapshot_no_harm_gets_into_it() -> None:
    net, guard = guarded(every=2)
    for number in range(4):
        guard.step(on(net, batch(number)))
    good = [p.detach().clone() for p in net.parameters()]
    older = guard.snapshots._kept[0][0][0].clone()
    with torch.no_grad():
        net[0].weight.add_(1.0)

    def refuse(compute_loss: Any, optimizer: Any) -> bool:
        compute_loss()
        return False

    for number in range(FEW):
        assert not guard.step(on(net, batch(number)), refuse)
    assert "went back" in guard.told[0]
    assert not torch.equal(net[0].weight, good[0] + 1.0)
    assert torch.equal(net[0].weight, guard.snapshots._kept[0][0][0])
    assert not torch.equal(older, good[0])


def test_a_layer_that_was_raised_in_vain_goes_back_to_16_bits() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    guard = StepGuard(net, torch.optim.SGD(net.parameters(), lr=1e-3))

    def compute_loss(backward: Any) -> None:
        with torch.autocast("cpu", torch.float16):
            out = net(torch.full((2, 4), 1e6))
        backward(out.float().mean() * NAN)

    assert not guard.step(compute_loss)
    assert guard.raised == []
    with torch.autocast("cpu", torch.float16):
        assert net[0](torch.ones(1, 4)).dtype == torch.float16


def test_going_back_takes_back_what_schedule_free_counts() -> None:
    schedulefree = pytest.importorskip("schedulefree")
    net = nn.Linear(2, 1)
    optimizer = schedulefree.AdamWScheduleFree(net.parameters(), lr=0.01)
    optimizer.train()
    guard, counted = StepGuard(net, optimizer, every=2), []
    for number in range(5):
        counted.append(optimizer.param_groups[0]["k"])
        guard.step(on(net, torch.randn(8, 2, generator=torch.Generator().manual_seed(number))))
    guard._go_back("a test")
    assert optimizer.param_groups[0]["k"] == counted[2]


def test_without_a_guard_float16_says_when_a_loss_was_no_number(tmp_path: Path) -> None:
    what = recipe(MixedPrecision(dtype="fp16"), SGD(lr=0.1), steps=18)

    def plain() -> nn.Module:  # without statistics, which the sample would spoil
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    run = trained(task(train=Faulty(TRAIN, 17), model=plain), what, tmp_path)
    assert run.tried > run.steps
    assert any("its loss is no number" in text for text in run.events)
    assert trained(task(model=plain), what, tmp_path).events == ()


def test_what_a_guard_told_before_it_gave_up_stands_in_the_record(tmp_path: Path) -> None:
    run = trained(task(loss=lambda outputs, targets: outputs.sum() * NAN), recipe(Guard(), SGD(lr=0.1)), tmp_path)
    assert run.state == "failed"
    assert len([text for text in run.events if text.startswith("skipped a batch")]) == FEW + 1
    assert run.intact
