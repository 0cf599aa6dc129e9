"""What ranks compute as one. Two of them are in tests/contract/test_ranks.py; here a rank talks to its own echo."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from halftime.data import ranks
from halftime.data.ranks import Team
from halftime.data.together import averaged, by_itself, normalised_together_


class Echo(Team):
    """A rank whose only fellow says the same, or something constant."""

    other: Tensor | None = None

    def mean(self, tensor: Tensor) -> Tensor:
        return tensor.detach().clone() if self.other is None else (tensor.detach() + self.other) / 2


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    team = Echo(0, 2)
    monkeypatch.setattr(ranks, "_HERE", [team])
    return team


def test_the_loss_has_the_value_of_all_and_the_gradient_of_its_own(echo: Echo) -> None:
    echo.other = torch.tensor(5.0)
    outputs, targets = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    own = cross_entropy(outputs, targets)
    (gradient,) = torch.autograd.grad(own, outputs)
    both = averaged(cross_entropy)(outputs, targets)
    assert float(both.detach()) == float((own.detach() + 5.0) / 2)
    assert torch.equal(torch.autograd.grad(both, outputs)[0], gradient)
    several = averaged(lambda o, t: {"a": cross_entropy(o, t), "b": o.mean()})(outputs, targets)
    assert several.keys() == {"a", "b"}


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, momentum=None),
                                   nn.BatchNorm2d(3, track_running_stats=False)])  # fmt: skip
def test_batch_normalisation_is_torchs_own_where_all_ranks_hold_the_same(layer: nn.BatchNorm2d, echo: Echo) -> None:
    import copy

    plain, together = nn.Sequential(copy.deepcopy(layer)), nn.Sequential(copy.deepcopy(layer))
    normalised_together_(together)
    images = torch.randn(8, 3, 4, 4) * 3 + 1
    one, other = images.clone().requires_grad_(), images.clone().requires_grad_()
    for _ in range(2):
        first, second = plain(torch.cat([one, one])), together(other)
    assert torch.allclose(first[:8], second, rtol=1e-4, atol=1e-5)
    first.square().sum().backward()
    second.square().sum().backward()
    assert torch.allclose(one.grad / 2, other.grad, rtol=1e-3, atol=1e-4)  # type: ignore[operator, arg-type]
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, together.state_dict()[key], rtol=1e-4, atol=1e-6), key
    assert plain.state_dict().keys() == together.state_dict().keys()
    assert torch.allclose(plain.eval()(images), together.eval()(images), rtol=1e-5, atol=1e-5)


def test_by_itself_no_layer_waits_for_the_other_ranks(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(*_: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", waits)  # on CUDA, it gathers from all ranks
    model, images = nn.Sequential(nn.SyncBatchNorm(3)), torch.randn(8, 3, 4, 4)
    vars(model)["replica"] = SimpleNamespace(no_sync=nullcontext)
    with by_itself(model):
        found = model(images)
    assert torch.equal(found, nn.BatchNorm2d(3)(images))
    assert float(model[0].running_mean.abs().sum()) == 0.0
    with pytest.raises(TimeoutError):
        model(images)
