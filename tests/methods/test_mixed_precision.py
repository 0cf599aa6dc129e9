"""MixedPrecision: 16 bits inside, 32 outside, and a step that overflows is not taken."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.errors import BadValue, BadWorkload
from halftime.methods import MixedPrecision
from halftime.methods.clip_gradients import clip_before_step
from halftime.methods.mixed_precision import DTYPES, scaled_update
from halftime.places import Backward, ComputeLoss, overrides, plain_backward, plain_update
from tests.conftest import make_task


def parts(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer, torch.amp.GradScaler]:
    torch.manual_seed(seed)
    net = nn.Linear(4, 2)
    return net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), torch.amp.GradScaler("cpu")


def loss_of(net: nn.Module, factor: float = 1.0) -> ComputeLoss:
    def compute_loss(backward: Backward = plain_backward) -> None:
        backward(net(torch.ones(3, 4)).square().mean() * factor)

    return compute_loss


def test_an_overflow_is_reported_and_leaves_the_weights_alone() -> None:
    net, optimizer, scaler = parts()
    before = [p.detach().clone() for p in net.parameters()]
    scale = scaler.get_scale()
    assert scaled_update(loss_of(net, 1e37), optimizer, scaler) is False
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() < scale
    assert scaled_update(loss_of(net), optimizer, scaler) is True
    assert not all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))


def test_it_finds_a_scale_that_fits() -> None:
    net, optimizer, scaler = parts()
    optimizer.param_groups[0]["lr"] = 1e-36  # huge gradients, small steps
    applied = [scaled_update(loss_of(net, 1e34), optimizer, scaler) for _ in range(40)]
    assert applied.count(False) > 0
    assert applied == sorted(applied)  # skipped at first, then never again


def test_scaling_by_a_power_of_two_changes_nothing() -> None:
    scaled, plain = parts(), parts()
    for _ in range(5):
        assert scaled_update(loss_of(scaled[0]), scaled[1], scaled[2])
        assert plain_update(loss_of(plain[0]), plain[1])
    assert all(torch.equal(p, q) for p, q in zip(scaled[0].parameters(), plain[0].parameters(), strict=True))


@pytest.mark.parametrize("fused", [False, True])  # a fused optimizer would unscale inside its step, after clipping
def test_clipping_sees_true_gradients(fused: bool) -> None:
    (net, _, scaler), (other, _, _) = parts(), parts()
    scaled, plain = (torch.optim.SGD(n.parameters(), lr=0.1, momentum=0.9, fused=fused) for n in (net, other))
    for optimizer in (scaled, plain):
        clip_before_step(optimizer, norm=0.01)
    for _ in range(5):
        assert scaled_update(loss_of(net), scaled, scaler)
        plain_update(loss_of(other), plain)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


def test_a_dict_of_losses_is_scaled_as_their_sum() -> None:
    (net, optimizer, scaler), (other, plain, _) = parts(), parts()

    def both(backward: Backward = plain_backward) -> None:
        out = net(torch.ones(3, 4))
        backward({"first": out[:, 0].square().mean() / 2, "second": out[:, 1].square().mean() / 2})

    assert scaled_update(both, optimizer, scaler)
    plain_update(loss_of(other), plain)
    assert all(torch.allclose(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_products_are_in_16_bits_inside_and_32_outside(dtype: str) -> None:
    net, optimizer, _ = parts()
    acting = MixedPrecision(dtype=dtype).start(net, optimizer, None)
    with acting.forward():
        assert net(torch.ones(1, 4)).dtype == DTYPES[dtype]
        assert nn.functional.mse_loss(net(torch.ones(1, 4)), torch.zeros(1, 2)).dtype == torch.float32
    assert net(torch.ones(1, 4)).dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_only_float16_needs_its_own_update() -> None:
    net, optimizer, _ = parts()
    assert not overrides(MixedPrecision(dtype="bf16").start(net, optimizer, None), "update")
    assert overrides(MixedPrecision(dtype="fp16").start(net, optimizer, None), "update")


def test_the_scale_survives_a_stop() -> None:
    net, optimizer, _ = parts()
    before, after = (MixedPrecision(dtype="fp16").start(net, optimizer, None) for _ in range(2))
    before.update(loss_of(net, 1e37), optimizer)
    after.load_state_dict(before.state_dict())
    after.update(loss_of(net), optimizer)
    before.update(loss_of(net), optimizer)
    assert after.state_dict() == before.state_dict()
    assert all(isinstance(value, (int, float)) for value in after.state_dict().values())


@pytest.mark.parametrize(
    ("field", "value"),
    [("dtype", "fp8"), ("dtype", "float16"), ("dtype", 16), ("dtype", None), ("dtype", torch.bfloat16)],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^MixedPrecision\.{field}") as error:
        MixedPrecision(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)


def test_tf32_holds_for_forward_and_backward_and_is_put_back_after_each_step() -> None:
    net, optimizer, _ = parts()
    acting, seen = MixedPrecision(dtype="tf32").start(net, optimizer, None), list[str]()
    before = torch.get_float32_matmul_precision()

    def compute_loss(backward: Backward = plain_backward) -> None:
        loss = net(torch.ones(3, 4)).square().mean()
        loss.register_hook(lambda grad: seen.append(torch.get_float32_matmul_precision()))
        seen.append(torch.get_float32_matmul_precision())
        backward(loss)

    assert acting.attempt(plain_update, compute_loss, optimizer)
    assert seen == ["high", "high"]
    assert torch.get_float32_matmul_precision() == before == "highest"
    with pytest.raises(ZeroDivisionError):
        acting.attempt(lambda *_: 1 // 0 == 0, compute_loss, optimizer)
    assert torch.get_float32_matmul_precision() == before


def test_tf32_is_refused_before_the_first_step_where_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(
        BadWorkload, match=r"MixedPrecision: tf32 needs a CUDA device of compute capability 8.0, not cpu"
    ):
        ht.train(make_task(), ht.Recipe([MixedPrecision(dtype="tf32")], steps=2), device="cpu", ledger=tmp_path)
    assert ht.Ledger(tmp_path).runs == []


@pytest.mark.parametrize("has", [(7, 5), (8, 0), (9, 0)])
def test_tf32_asks_the_device(has: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halftime.methods.mixed_precision.capability", lambda _: has)
    with contextlib.nullcontext() if has >= (8, 0) else pytest.raises(BadWorkload, match=r"8\.0"):
        MixedPrecision(dtype="tf32").model(nn.Linear(1, 1))
