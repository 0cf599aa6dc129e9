"""ZeroResidual: each block starts as the identity, whatever it is called and however it adds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from halftime.methods import EMA, Kaiming, ZeroResidual
from halftime.methods.zero_residual import branch_norms, zero_residual_
from halftime.recipe import Recipe
from halftime.workloads.networks import GPT, ResNet18, SmallConv
from tests.contract.tasks import residual_network, task, trained


class Adding(nn.Module):
    """A block that adds in its own way."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 4), nn.LayerNorm(4))
        self.drop, self.add = nn.Dropout(0.5), add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(x, self.drop(self.body(x)))


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x + f": lambda x, f: x + f,
    "f + x": lambda x, f: f + x,
    "in place": lambda x, f: f.add_(x),
    "augmented": lambda x, f: f.__iadd__(x),
    "torch.add": lambda x, f: torch.add(f, x),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_block_starts_as_the_identity(way: str) -> None:
    block, x = Adding(WAYS[way]).eval(), torch.randn(3, 4)
    assert branch_norms(block, x) == [block.body[4]]
    assert zero_residual_(block, x) == 1
    assert torch.equal(block(x), x)
    assert bool(block.body[1].weight.all())  # type: ignore[operator]


def test_in_a_resnet_it_is_the_last_norm_of_each_body_and_no_shortcut() -> None:
    network = ResNet18(3, 10, width=8)
    found = branch_norms(network, torch.randn(4, 3, 16, 16))
    assert found == [block.body[4] for block in network.stages]  # type: ignore[union-attr, index]
    assert len(found) == 8


def test_a_norm_before_a_rectifier_or_a_branch_without_one_is_left_alone() -> None:
    assert branch_norms(SmallConv(1, 4, (8, 8), (1, 1)), torch.randn(2, 1, 8, 8)) == []
    assert branch_norms(GPT(11, 8, layers=2, width=16, heads=2), torch.randint(11, (2, 8))) == []

    class Rectified(Adding):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.relu(self.body(x))

    assert branch_norms(Rectified(WAYS["x + f"]), torch.randn(2, 4)) == []


def test_gradients_reach_the_scale_and_the_block_learns() -> None:
    block, x = Adding(WAYS["x + f"]).eval(), torch.randn(8, 4)
    zero_residual_(block, x)
    block(x).square().sum().backward()
    assert block.body[4].weight.grad.abs().sum() > 0  # type: ignore[operator, union-attr]


def test_looking_leaves_the_network_and_the_random_state_as_they_were() -> None:
    network = residual_network().train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.get_rng_state()
    branch_norms(network, torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert not any(m._forward_hooks for m in network.modules())


def test_it_comes_after_other_initial_weights_and_the_record_says_how_many(tmp_path: Path) -> None:
    what = Recipe([Kaiming(), ZeroResidual(), EMA()], steps=2, batch_size=16)
    assert [type(m) for m in what.methods].index(ZeroResidual) > [type(m) for m in what.methods].index(Kaiming)
    run = trained(task(model=residual_network), what, tmp_path)
    assert run.events == ("ZeroResidual: the last norm of 1 residual branches set to zero",)
    run = trained(task(), what, tmp_path)
    assert run.events == ("ZeroResidual: no residual branch ends in a norm: nothing was changed",)
