"""The networks: shapes, sizes, and what each promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftime.workloads.networks import GPT, ResNet18, SmallConv


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("side", [7, 8, 14, 28, 32])
def test_the_small_one_takes_smaller_images(side):
    model = SmallConv(3, 10, (8, 16, 16), (2, 1, 2))
    logits = model(torch.randn(2, 3, side, side))
    assert logits.shape == (2, 10)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (3, 20)])
def test_resnet_takes_images_of_any_size(channels, side):
    model = ResNet18(channels, 10, width=4).eval()
    assert model(torch.randn(2, channels, side, side)).shape == (2, 10)


def test_resnet18_has_its_known_size():
    # as often published for CIFAR-10 with this stem; a grey image saves 2 of 3 channels of 9 weights x 64
    assert size(ResNet18(3, 10)) == 11_173_962
    assert size(ResNet18(1, 10)) == 11_173_962 - 2 * 9 * 64


def test_resnet18_has_eighteen_layers_with_weights():
    weighted = [m for m in ResNet18(3, 10, width=4).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len([m for m in weighted if not (isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1))]) == 18


def test_gpt_has_its_size():
    width, layers, vocabulary, context = 384, 6, 65, 256
    block = 12 * width**2 + 4 * width  # four matrices of attention, eight of the two layers, two norms
    whole = layers * block + 2 * width + 2 * vocabulary * width + context * width
    assert size(GPT(vocabulary, context, layers=layers, width=width, heads=6)) == whole == 10_775_040


def test_gpt_sees_no_later_character():
    torch.manual_seed(0)
    model = GPT(11, 12, layers=2, width=16, heads=2).eval()
    one = torch.randint(11, (1, 12))
    two = one.clone()
    two[0, 7:] = (two[0, 7:] + 1) % 11
    with torch.no_grad():
        first, second = model(one), model(two)
    assert torch.allclose(first[..., :7], second[..., :7], atol=1e-6)
    assert not torch.allclose(first[..., 7:], second[..., 7:], atol=1e-6)


def test_gpt_attention_equals_a_plain_softmax():
    torch.manual_seed(0)
    block = GPT(11, 5, layers=1, width=8, heads=2).blocks[0]
    features = torch.randn(3, 5, 8)
    query, key, value = block.attention_in(features).split(8, dim=-1)
    mixed = torch.zeros_like(features)
    for head in (slice(0, 4), slice(4, 8)):
        weights = query[..., head] @ key[..., head].transpose(1, 2) / 2.0
        weights = weights.masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf")).softmax(-1)
        mixed[..., head] = weights @ value[..., head]
    torch.testing.assert_close(block._attend(features), mixed)


def test_gpt_takes_shorter_sequences_and_starts_near_even():
    torch.manual_seed(0)
    model = GPT(65, 64, layers=2, width=32, heads=4, dropout=0.5)
    tokens = torch.randint(65, (4, 16))
    logits = model(tokens)
    assert logits.shape == (4, 65, 16)
    loss = nn.functional.cross_entropy(logits, tokens.roll(-1, 1))
    assert abs(loss.item() - 4.174) < 0.1  # ln 65
