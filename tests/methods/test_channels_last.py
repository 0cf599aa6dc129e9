"""ChannelsLast: another layout, the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftime.methods import ChannelsLast
from halftime.methods.channels_last import channels_last


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 8, 8), (4, 7, 1, 1), (0, 3, 2, 2)])
def test_the_layout_changes_and_the_numbers_do_not(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape)
    moved = channels_last(images)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert moved.shape == images.shape
    assert torch.equal(moved, images)


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (2, 3, 4), (2, 3, 4, 5, 6)])
def test_what_is_not_four_dimensional_is_left_as_it_is(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    assert channels_last(tensor) is tensor


def test_what_is_in_the_layout_is_not_copied() -> None:
    images = channels_last(torch.randn(2, 3, 4, 4))
    assert channels_last(images).data_ptr() == images.data_ptr()


def test_outputs_and_gradients_are_equal_within_rounding() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.GroupNorm(2, 4)
        )

    plain, moved = network(), ChannelsLast().model(network())
    images = torch.randn(4, 3, 9, 9)
    inputs, _ = ChannelsLast().batch({"image": images, "age": torch.zeros(4)}, None, 0.0)
    one, other = plain(images), moved(inputs["image"])
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    one.square().sum().backward()
    other.square().sum().backward()
    for (name, p), q in zip(plain.named_parameters(), moved.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-3), name  # type: ignore[arg-type]


def test_the_kernels_are_in_the_layout() -> None:
    net = ChannelsLast().model(nn.Conv2d(3, 8, 3))
    assert net.weight.is_contiguous(memory_format=torch.channels_last)


def test_it_promises_rounding_at_most_and_needs_images() -> None:
    assert ChannelsLast.exact
    assert ChannelsLast.needs == {"images"}
    assert "ProgressiveResize" in ChannelsLast.after  # a resized image has the layout of its own
