"""Whitening: what the filters answer to patches of the data is uncorrelated and of unit variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from halftime.errors import BadValue
from halftime.methods import SGD, Kaiming, Whitening
from halftime.methods.whitening import directions, first_convolution, whiten_
from halftime.recipe import Recipe
from tests.contract.tasks import task, trained, weights


def smooth(samples: int = 64, channels: int = 3) -> Tensor:
    """Images whose neighbouring pixels and colours are alike."""
    torch.manual_seed(0)
    noise = torch.randn(samples, channels, 20, 20)
    blurred = nn.functional.avg_pool2d(noise, 3, stride=1)
    return blurred + 0.5 * blurred.mean(1, keepdim=True) + 0.3


@pytest.mark.parametrize("bias", [False, True])
def test_answers_are_uncorrelated_and_of_unit_variance(bias: bool) -> None:
    images, layer = smooth(), nn.Conv2d(3, 24, 2, bias=bias)
    assert whiten_(layer, images, eps=0.0) == 24
    answers = layer(images).transpose(0, 1).flatten(1).detach().double()
    assert torch.allclose(answers[:12].cov(), torch.eye(12, dtype=torch.double), atol=1e-3)
    assert torch.allclose(answers[12:].cov(), torch.eye(12, dtype=torch.double), atol=1e-3)
    if bias:
        assert answers.mean(1).abs().max() < 1e-4


def test_the_second_half_is_the_negative_of_the_first() -> None:
    layer = nn.Conv2d(3, 24, 2)
    whiten_(layer, smooth())
    assert torch.equal(layer.weight[:12], -layer.weight[12:])
    assert torch.equal(layer.bias[:12], -layer.bias[12:])  # type: ignore[index]


def test_few_filters_take_the_directions_of_most_variance() -> None:
    images, few, all_ = smooth(), nn.Conv2d(3, 6, 2, bias=False), nn.Conv2d(3, 24, 2, bias=False)
    assert (whiten_(few, images), whiten_(all_, images)) == (6, 24)
    assert torch.equal(few.weight[:3], all_.weight[:3])
    scales = all_.weight[:12].flatten(1).norm(dim=1)
    assert bool((scales.diff() > -1e-6).all())  # the less variance, the larger the scale


def test_what_is_left_over_stays_as_it_was() -> None:
    layer = nn.Conv2d(1, 11, 2)
    before = layer.weight.detach().clone()
    assert whiten_(layer, smooth(channels=1)) == 8
    assert torch.equal(layer.weight[8:], before[8:])
    assert not torch.equal(layer.weight[:8], before[:8])


def test_eps_bounds_what_a_flat_direction_is_scaled_by() -> None:
    patches = torch.randn(1000, 2) * torch.tensor([1.0, 0.0])
    filters, _ = directions(patches, eps=0.01)
    assert filters.abs().max() <= 10.0 + 1e-9
    assert filters.isfinite().all()


def test_strides_and_dilation_are_those_of_the_layer() -> None:
    images, layer = smooth(), nn.Conv2d(3, 24, 2, stride=2, dilation=2, padding=1, bias=False)
    whiten_(layer, images, eps=0.0)
    answers = conv2d(images, layer.weight[:12], dilation=2).transpose(0, 1).flatten(1).detach().double()
    assert torch.allclose(answers.cov(), torch.eye(12, dtype=torch.double), atol=1e-3)


def test_a_layer_that_does_not_fit_is_left_alone() -> None:
    assert first_convolution(nn.Linear(2, 2), 3) is None
    assert first_convolution(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), 4) is None
    assert first_convolution(nn.Sequential(nn.Conv2d(1, 4, 3)), 3) is None


def test_nothing_is_said_to_be_set_where_the_channels_do_not_fit(tmp_path: Path) -> None:
    def doubled() -> nn.Module:
        class Doubled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.rest = nn.Conv2d(2, 6, 3), nn.Linear(6, 3)

            def forward(self, images: Tensor) -> Tensor:
                return self.rest(self.first(torch.cat([images, images], 1)).mean((2, 3)))

        return Doubled()

    run = trained(task(model=doubled), Recipe([Whitening(), SGD(lr=0.1)], steps=2, batch_size=16), tmp_path)
    assert run.events == ("Whitening: no convolution that can be whitened: nothing was changed",)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_it_does_not_learn(frozen: bool, tmp_path: Path) -> None:
    methods = [Kaiming(), SGD(lr=0.1, weight_decay=0.1), Whitening(frozen=frozen)]
    short, long = (trained(task(), Recipe(methods, steps=n, batch_size=16), tmp_path) for n in (1, 8))
    assert torch.equal(weights(short)["0.weight"], weights(long)["0.weight"]) == frozen
    assert short.events == ("Whitening: 3 of 9 directions of a patch, each twice, in 6 filters",)


@pytest.mark.parametrize(("field", "value"), [("frozen", 1), ("eps", -1.0), ("eps", "small")])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^Whitening\.{field} must be") as error:
        Whitening(**{field: value})
    assert "\n" not in str(error.value)
