"""HardExamples: importance kept honest, epochs of equal length, and less noise where scores are gradient lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.methods import SGD, HardExamples
from halftime.methods.hard_examples import balancing, importance, often
from tests.contract.tasks import task, trained


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9])
def test_factors_have_mean_one_and_a_floor(strength: float) -> None:
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0)) ** 3
    factors = importance(scores, strength)
    assert float(factors.mean()) == pytest.approx(1.0)
    assert float(factors.min()) >= 1.0 - strength
    assert torch.equal(factors.argsort(), importance(scores, 0.5).argsort()) or strength == 0.0
    assert importance(torch.zeros(4), strength).tolist() == [1.0] * 4


def test_the_expected_gradient_of_an_epoch_is_that_of_all_data() -> None:
    source = torch.Generator().manual_seed(1)
    scores, each = torch.rand(60, generator=source), torch.randn(60, 5, generator=source)
    feed, weights = often(Feed(Tensors(torch.arange(60)), 1, seed=2), scores, strength=0.8)
    sums = torch.stack(
        [(each[ids] * weights[ids][:, None]).sum(0) for ids in (feed.order(2, e, 60) for e in range(2000))]
    )
    wide = sums.std(0) / len(sums) ** 0.5
    assert bool(((sums.mean(0) - each.sum(0)).abs() < 4 * wide + 1e-6).all())
    plain = torch.stack([each[feed.order(2, e, 60)].sum(0) for e in range(2000)]).mean(0)
    assert (plain - each.sum(0)).abs().max() > 5 * (sums.mean(0) - each.sum(0)).abs().max()  # without weights it is not


def test_the_noise_is_less_where_the_score_is_the_length_of_the_gradient() -> None:
    source = torch.Generator().manual_seed(3)
    lengths = torch.rand(400, generator=source) ** 4 + 1e-3
    each = torch.nn.functional.normalize(torch.randn(400, 8, generator=source)) * lengths[:, None]
    noise = {}
    for strength in (0.0, 0.9):
        feed, weights = often(Feed(Tensors(torch.arange(400)), 8, seed=0), lengths, strength)
        steps = [ids for e in range(40) for ids in feed.order(0, e, 400)[:400].split(8)]
        means = torch.stack([(each[ids] * weights[ids][:, None]).mean(0) for ids in steps])
        noise[strength] = float((means - each.mean(0)).square().sum(1).mean())
    assert noise[0.9] < 0.6 * noise[0.0]


def test_honest_is_a_dial_between_full_correction_and_none() -> None:
    factors = torch.tensor([0.5, 1.0, 2.0]).double()
    assert balancing(factors, 1.0).tolist() == [2.0, 1.0, 0.5]
    assert balancing(factors, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert balancing(factors, 0.5).tolist() == pytest.approx([2**0.5, 1.0, 0.5**0.5])


def test_an_epoch_keeps_its_length_and_the_run_says_what_was_done(tmp_path: Path) -> None:
    run = trained(task(), ht.Recipe([SGD(), HardExamples(proxy_epochs=1)], epochs=2, batch_size=16), tmp_path)
    assert run.steps == 12
    (said,) = [e for e in run.events if e.startswith("HardExamples: served ")]
    low, high = (float(word) for word in said.split("served ")[1].split(" times")[0].split(" to "))
    assert 0.5 <= low < 1.0 < high
    assert "of the clock" in said


def test_the_control_has_the_same_spread_and_other_samples() -> None:
    from tests.contract.tasks import TRAIN, network

    torch.manual_seed(0)
    net, feed = network(), Feed(Tensors(*TRAIN), 16, seed=0)
    method = HardExamples(proxy_epochs=1)
    assert method.control() == HardExamples(proxy_epochs=1, score="random")
    factors = []
    for one in (method, method.control()):
        acting = one.start(net, torch.optim.SGD(net.parameters()), one.data(feed))
        acting.lr_factor(0.0)
        factors.append(acting.factors)  # type: ignore[attr-defined]
    assert torch.equal(factors[0].sort().values, factors[1].sort().values)
    assert not torch.equal(*factors)


def test_its_range_is_checked() -> None:
    for field, value in (("strength", 1.0), ("honest", 2.0), ("proxy_epochs", 0), ("score", "margin")):
        with pytest.raises(ht.InputError, match=rf"^HardExamples\.{field} must be"):
            HardExamples.from_dict({field: value})
