"""FocalPrior: the first outputs are the frequencies, and the loss is the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.errors import BadValue
from halftime.heads import heads_of
from halftime.methods import EMA, SGD, CutMix, EasyFirst, FocalPrior, UsefulData
from halftime.methods.focal_prior import focal_loss, map_places, prior_bias, served_targets, set_prior_
from tests.contract.tasks import TRAIN, VALID, network, task, trained


def test_gamma_zero_is_the_plain_loss() -> None:
    outputs, labels = torch.randn(9, 4), torch.randint(4, (9,))
    assert torch.allclose(focal_loss(outputs, labels, 0.0), cross_entropy(outputs, labels))
    yes = torch.randint(2, (9, 4)).float()
    assert torch.allclose(focal_loss(outputs, yes, 0.0), binary_cross_entropy_with_logits(outputs, yes))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_it_is_the_formula_of_the_paper(gamma: float) -> None:
    outputs, labels = torch.randn(9, 4, dtype=torch.double), torch.randint(4, (9,))
    truth = outputs.softmax(1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(focal_loss(outputs, labels, gamma), (-((1 - truth) ** gamma) * truth.log()).mean())
    yes = one_hot(labels, 4).double()
    truth = torch.where(yes == 1, outputs.sigmoid(), 1 - outputs.sigmoid())
    assert torch.allclose(focal_loss(outputs, yes, gamma), (-((1 - truth) ** gamma) * truth.log()).mean())


def test_gradients_are_finite_where_the_network_is_certain() -> None:
    for targets in (torch.tensor([0, 1]), torch.eye(2)):
        outputs = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
        focal_loss(outputs, targets, 0.5).backward()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


def test_places_without_a_class_do_not_count() -> None:
    outputs, labels = torch.randn(2, 3, 5), torch.randint(3, (2, 5))
    labels[:, 2:] = -100
    assert torch.allclose(focal_loss(outputs, labels), focal_loss(outputs[:, :, :2], labels[:, :2]))


def test_with_weights_of_zero_the_first_outputs_are_the_frequencies() -> None:
    labels = torch.tensor([0] * 700 + [1] * 290 + [2] * 10)
    layer = nn.Linear(5, 3)
    nn.init.zeros_(layer.weight)
    set_prior_(layer, labels)
    assert torch.allclose(layer(torch.randn(1, 5)).softmax(1)[0], torch.tensor([0.7, 0.29, 0.01]), atol=2e-3)
    yes = one_hot(labels, 3).float()
    set_prior_(layer, yes)
    assert torch.allclose(layer(torch.randn(1, 5)).sigmoid()[0], torch.tensor([0.7, 0.29, 0.01]), atol=2e-3)


def test_a_class_that_never_occurs_has_a_finite_bias_and_none_is_no_class() -> None:
    assert prior_bias(torch.tensor([0, 0, -100, 2]), 4).isfinite().all()
    assert torch.equal(prior_bias(torch.tensor([0, 0, -100, 2]), 4), prior_bias(torch.tensor([0, 0, 2]), 4))
    assert prior_bias(torch.zeros(50, 2), 2).isfinite().all()


def test_the_last_layer_is_found_and_what_does_not_fit_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    before = net[0].bias.detach().clone()
    assert "3 classes set" in set_prior_(net, torch.tensor([0, 1, 1, 2]))
    assert torch.equal(net[0].bias, before)
    assert "no bias" in set_prior_(nn.Linear(2, 3, bias=False), torch.tensor([0]))
    assert "nothing was set" in set_prior_(nn.Linear(2, 3), torch.tensor([7]))


def test_frequencies_are_those_of_what_is_served() -> None:
    class Read:
        """Samples one at a time."""

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.zeros(2), index

    some = lambda seed, epoch, samples: torch.tensor([1, 1, 5, 7])  # noqa: E731
    for data in (Read(), Tensors(torch.zeros(12, 2), torch.arange(12))):
        feed = Feed(data, 2, seed=0, order=some)
        assert served_targets(feed).tolist() == [1, 1, 5, 7]
        assert feed.served.step == 0


@pytest.mark.parametrize("method", [EasyFirst(), UsefulData()], ids=lambda m: type(m).__name__)
def test_who_will_be_served_is_not_known_before_samples_are_scored(method: ht.Method) -> None:
    """Data that lie by class: the first part of them would name half of the classes."""
    data = Tensors(torch.randn(32, 2), torch.arange(32) // 8)
    feed = method.data(Feed(data, 4, seed=0))
    assert torch.bincount(served_targets(feed)).tolist() == [8, 8, 8, 8]


def test_a_sigmoid_head_is_served_and_numbers_are_refused(tmp_path: Path) -> None:
    yes = tuple((images, one_hot(kinds, 3).float()) for images, kinds in (TRAIN, VALID))
    score = lambda outputs, targets: ((outputs > 0) == (targets == 1)).float().mean(1)  # noqa: E731
    loss = binary_cross_entropy_with_logits
    several = task(train=yes[0], valid=yes[1], loss=loss, score=score)
    run = trained(several, ht.Recipe([SGD(), FocalPrior()], steps=40, batch_size=16), tmp_path)
    assert run.score is not None
    assert run.score > 0.8
    assert "bias of 3 classes set" in run.events[0]
    soft = task(train=(TRAIN[0], yes[0][1] * 0.7), valid=yes[1], loss=loss, score=score)
    with pytest.raises(ht.InputError, match="FocalPrior needs"):
        trained(soft, run.recipe, tmp_path)


def test_one_hot_targets_of_a_softmax_are_refused_and_not_made_a_sigmoids(tmp_path: Path) -> None:
    yes = tuple((images, one_hot(kinds, 3).float()) for images, kinds in (TRAIN, VALID))

    def score(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.argmax(1) == targets.argmax(1)).float()

    softmax = task(train=yes[0], valid=yes[1], score=score)
    with pytest.raises(
        ht.InputError, match=r"^FocalPrior needs targets that are class numbers \(for a softmax\)"
    ) as error:
        trained(softmax, ht.Recipe([SGD(), FocalPrior()], steps=4, batch_size=16), tmp_path)
    assert "\n" not in str(error.value)
    assert ht.Ledger(tmp_path).runs == []


def test_an_average_begins_at_the_prior_and_mixing_comes_after(tmp_path: Path) -> None:
    recipe = ht.Recipe([EMA(), CutMix(), FocalPrior(), SGD()], steps=1)
    names = [type(m).__name__ for m in recipe.methods]
    assert names.index("FocalPrior") < names.index("EMA")
    assert names.index("FocalPrior") < names.index("CutMix")
    assert trained(task(model=network), recipe, tmp_path).state == "finished"


@pytest.mark.parametrize("value", [-1.0, float("nan"), "much", None, True])
def test_a_bad_value_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^FocalPrior\.gamma must be") as error:
        FocalPrior(gamma=value)
    assert "\n" not in str(error.value)


class Pair(nn.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 3, 1)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"maps": self.maps(one + other)}


def test_a_network_may_take_several_inputs() -> None:
    inputs = (torch.zeros(2, 1, 4, 5), torch.zeros(2, 1, 4, 5))
    assert map_places(Pair(), inputs) == 40
    assert heads_of(Pair(), inputs) == ["maps"]
