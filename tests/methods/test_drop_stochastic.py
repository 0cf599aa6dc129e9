"""DropStochastic: afterwards training is deterministic, evaluation is what it was, and what was removed is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from halftime.methods import DropStochastic
from halftime.methods.drop_stochastic import removed, without_stochastic
from halftime.recipe import Recipe
from halftime.workloads.networks import GPT
from tests.contract.tasks import task, trained


class DropPath(nn.Module):
    """As in timm: drops whole samples."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1) > self.drop_prob) if self.training and self.drop_prob else x


class StochasticDepth(nn.Module):
    """As in torchvision."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1) > self.p) if self.training and self.p else x


MADE = {
    "Dropout": lambda: nn.Dropout(0.5),
    "AlphaDropout": lambda: nn.AlphaDropout(0.5),
    "DropPath": lambda: DropPath(0.5),
    "StochasticDepth": lambda: StochasticDepth(0.5),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True),
    "LSTM": lambda: nn.LSTM(8, 8, num_layers=2, dropout=0.5),
}


@pytest.mark.parametrize("kind", MADE)
def test_afterwards_training_draws_nothing(kind: str) -> None:
    torch.manual_seed(0)
    layer, x = MADE[kind](), torch.randn(6, 5, 8) if kind in ("TransformerEncoderLayer", "LSTM") else torch.randn(64, 8)
    apply = lambda: layer(x)[0] if kind == "LSTM" else layer(x)  # noqa: E731
    assert not torch.equal(apply(), apply())
    names = list(layer.state_dict())
    layer.eval()
    before = apply()
    layer.train()
    assert without_stochastic(layer)
    random = torch.get_rng_state()
    assert torch.equal(apply(), apply())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.allclose(apply(), before, atol=1e-6)
    assert list(layer.state_dict()) == names


def test_the_built_in_transformer_is_covered_whole() -> None:
    network, tokens = GPT(11, 8, layers=2, width=16, heads=2, dropout=0.3), torch.randint(11, (4, 8))
    assert not torch.equal(network(tokens), network(tokens))
    said = without_stochastic(network)
    assert said == ["3 of Dropout(p=0.3)", "2 of Block(dropout_p=0.3)"]
    assert torch.equal(network(tokens), network(tokens))


def test_it_says_the_same_again_and_nothing_where_there_was_nothing() -> None:
    network = nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.2), nn.Dropout(0.1), nn.Dropout(0.0))
    assert removed(network) == []
    said = without_stochastic(network)
    assert said == ["2 of Dropout(p=0.1)", "1 of Dropout(p=0.2)"]
    assert without_stochastic(network) == removed(network) == said
    assert without_stochastic(nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2))) == []


def test_other_numbers_called_p_are_left_alone() -> None:
    norm = nn.PairwiseDistance(p=2.0)
    assert without_stochastic(norm) == []
    assert norm.norm == 2.0


def test_the_record_says_what_was_removed(tmp_path: Path) -> None:
    run = trained(task(), Recipe([DropStochastic()], steps=4, batch_size=16), tmp_path)
    assert run.events == ("DropStochastic: 1 of Dropout(p=0.1) removed",)
    plain = trained(task(model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))), run.recipe, tmp_path)
    assert plain.events == ("DropStochastic: nothing there to remove",)


def test_it_says_where_it_has_nothing_to_do() -> None:
    still, dropping = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
    assert DropStochastic().idle(still, None) == "nothing in the network is dropped at random"
    assert DropStochastic().idle(dropping, None) == ""
    assert dropping[1].p == 0.1
