"""LabelSmoothing: the loss of torch's own label smoothing, for any cross-entropy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from halftime.errors import BadValue
from halftime.methods import LabelSmoothing
from halftime.methods.label_smoothing import smoothed


@pytest.mark.parametrize("shape", [(8, 3), (1, 2), (4, 5, 6), (2, 3, 4, 4)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.9])
def test_it_equals_torchs(shape: tuple[int, ...], smoothing: float) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(shape)).requires_grad_()
    classes = torch.randint(shape[1], (shape[0], *shape[2:]))
    ours = smoothed(cross_entropy(logits, classes), logits, smoothing)
    theirs = cross_entropy(logits, classes, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs, rtol=1e-5)
    (one,), (other,) = (torch.autograd.grad(loss, logits, retain_graph=True) for loss in (ours, theirs))
    assert torch.allclose(one, other, atol=1e-6)


def test_no_smoothing_is_the_loss_itself() -> None:
    logits, classes = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = cross_entropy(logits, classes)
    assert torch.equal(smoothed(loss, logits, 0.0), loss)


def test_the_best_outputs_are_the_soft_targets() -> None:
    soft = torch.tensor([[0.9 + 0.1 / 4, 0.1 / 4, 0.1 / 4, 0.1 / 4]])
    logits = soft.log().requires_grad_()
    smoothed(cross_entropy(logits, torch.tensor([0])), logits, 0.1).backward()
    assert torch.allclose(logits.grad, torch.zeros(1, 4), atol=1e-6)  # type: ignore[arg-type]


def test_it_wraps_any_loss_of_outputs_and_targets() -> None:
    def twice(outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * cross_entropy(outputs, targets)

    logits, classes = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    wrapped = LabelSmoothing(smoothing=0.25).loss(twice, torch.nn.Identity())
    assert torch.equal(wrapped(logits, classes), smoothed(twice(logits, classes), logits, 0.25))


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4]])
    assert smoothed(cross_entropy(logits, torch.tensor([0])), logits, 0.1).isfinite()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("smoothing", 1.0),
        ("smoothing", -0.1),
        ("smoothing", float("nan")),
        ("smoothing", "a little"),
        ("smoothing", True),
    ],
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^LabelSmoothing\.{field}") as error:
        LabelSmoothing(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
