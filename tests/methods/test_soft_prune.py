"""SoftPrune: the expected gradient is that of all data, the last part is on everything, any mean can be taken apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.data.weights import Apart, tagged, weighed
from halftime.errors import BadWorkload
from halftime.methods import SGD, FastLoader, FocalPrior, LabelSmoothing, MixUp, SoftPrune
from halftime.methods.soft_prune import Pruned, _Pruning, kept, prunable, softly_pruned, weights_of
from tests.conftest import make_task
from tests.contract.tasks import TRAIN, Interrupting, same, task, terminate, trained, weights


def test_the_chance_to_be_served_times_the_weight_is_one() -> None:
    easy, draws = torch.tensor([True, False]).repeat(50_000), torch.arange(100_000).double() / 100_000
    for share in (0.1, 0.5, 0.9):
        served = torch.zeros(100_000).double()
        ids = kept(easy, draws, share)
        served[ids] = weights_of(easy[ids], share).double()
        assert float(served[easy].mean()) == pytest.approx(1.0, abs=1e-4)
        assert bool((served[~easy] == 1.0).all())


def test_the_expected_gradient_of_an_epoch_is_that_of_all_data() -> None:
    torch.manual_seed(0)
    net, x, y = nn.Linear(3, 2), torch.randn(40, 3), torch.arange(40) % 2
    losses = cross_entropy(net(x), y, reduction="none")
    each = torch.stack([torch.autograd.grad(loss, net.weight, retain_graph=True)[0] for loss in losses])
    total, sums, lengths = each.sum(0), [], []
    for seed in range(1500):
        order = softly_pruned(Feed(Tensors(x, y), 1, seed), share=0.6)[1]
        order.live = True
        order.length(seed, 0, 40)
        order.hear(torch.arange(40), losses.detach())
        ids = order(seed, 1, 40)
        sums.append((each[ids] * order.weights(ids)[:, None, None]).sum(0))
        lengths.append(len(ids))
    found = torch.stack(sums)
    wide = found.std(0) / len(sums) ** 0.5
    assert bool(((found.mean(0) - total).abs() < 4 * wide).all())
    assert sum(lengths) / len(lengths) < 0.75 * 40
    unweighed = torch.stack(sums).mean(0) - total  # and it would not be, were they all to count alike
    alike = each.sum(0) - 0.6 * each[prunable(losses)].sum(0)
    assert (alike - total).abs().max() > 3 * unweighed.abs().max()


def test_what_is_left_out_differs_between_epochs_and_hard_samples_never_are() -> None:
    order = Pruned(ordered, 100, share=0.5)
    order.live = True
    order.length(0, 0, 100)
    order.hear(torch.arange(100), torch.arange(100).float())
    epochs = [set(order(0, e, 100).tolist()) for e in (1, 2, 3)]
    assert all(set(range(50, 100)) <= ids for ids in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set.union(*epochs) == set(range(100)) or len(set.union(*epochs)) > 85


def ordered(seed: int, epoch: int, samples: int) -> torch.Tensor:
    return torch.arange(samples)


def test_the_last_part_is_on_everything_and_weighs_nothing() -> None:
    order = Pruned(ordered, 8, share=0.9, until=0.5)
    order.live = True
    order.length(0, 0, 8)
    order.hear(torch.arange(8), torch.tensor([0.1] * 6 + [9.0] * 2))
    for step in range(5):
        order.told(progress=0.05 * step)
    assert order.length(0, 1, 8) < 8
    order.told(progress=0.25)
    order.told(progress=0.4)  # now a step is long: with any two samples the epoch would end beyond
    assert order.length(0, 2, 8) == 8
    assert order.weights(torch.arange(8)).tolist() == [1.0] * 8


@pytest.mark.parametrize("until", [0.5, 0.7, 0.875])
def test_in_a_run_of_few_epochs_the_last_part_is_on_everything(
    until: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, int, bool]] = []
    plain = _Pruning.batch

    def noted(self: _Pruning, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        made = plain(self, inputs, targets, progress)
        seen.append((progress, self.order.lengths[-1], bool((self.tag["weights"] == 1.0).all())))
        return made

    monkeypatch.setattr(_Pruning, "batch", noted)
    trained(task(), ht.Recipe([SGD(lr=0.1), SoftPrune(share=0.6, until=until)], epochs=3, batch_size=16), tmp_path)
    last = [(length, alike) for progress, length, alike in seen if progress >= until]
    assert len(seen) == 18
    assert len(last) >= 2
    assert set(last) == {(96, True)}
    assert until == 0.5 or any(length < 96 for _, length, _ in seen)  # earlier there is time to leave samples out


def test_the_control_leaves_out_as_many_by_lot() -> None:
    method = SoftPrune(share=0.5)
    assert method.control() == SoftPrune(share=0.5, score="random")
    lengths: dict[bool, list[int]] = {True: [], False: []}
    lost = 0
    for random in (False, True):
        for seed in range(200):
            order = Pruned(ordered, 50, share=0.5, random=random)
            order.live = True
            order.length(seed, 0, 50)
            order.hear(torch.arange(50), torch.tensor([0.1] * 40 + [9.0] * 10))
            ids = order(seed, 1, 50)
            lengths[random].append(len(ids))
            lost += random and not set(range(40, 50)) <= set(ids.tolist())
    assert sum(lengths[True]) == pytest.approx(sum(lengths[False]), rel=0.03)
    assert lost > 150  # hard ones too


def rings(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A mean over samples that looks at values, so that it cannot be mapped over a batch."""
    rows = [(torch.abs if t.item() > 0 else torch.square)(o - t).sum() for o, t in zip(outputs, targets, strict=True)]
    return torch.stack(rows).mean()


@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        (cross_entropy, torch.randn(5, 3), torch.arange(5) % 3),
        (nn.CrossEntropyLoss(label_smoothing=0.1), torch.randn(5, 3), torch.arange(5) % 3),
        (cross_entropy, torch.randn(5, 3, 7), torch.randint(3, (5, 7))),
        (lambda o, t: (o["a"] - t["b"]).square().mean(), {"a": torch.randn(5, 2)}, {"b": torch.randn(5, 2)}),
        (rings, torch.randn(5, 2), torch.tensor([[1.0], [-1.0], [1.0], [1.0], [-1.0]])[:, 0]),
    ],
    ids=["plain", "module", "positions", "nest", "looks"],
)
def test_any_mean_is_taken_apart_and_its_gradients_are_the_same(loss, outputs, targets) -> None:  # type: ignore[no-untyped-def]
    leaves = [t.requires_grad_() for t in (outputs.values() if isinstance(outputs, dict) else [outputs])]
    tag = tagged(targets, torch.ones(5))
    whole, apart = loss(outputs, targets), weighed(Apart(loss), outputs, tag)
    assert torch.allclose(whole, apart, atol=1e-6)
    for a, b in zip(torch.autograd.grad(whole, leaves), torch.autograd.grad(apart, leaves), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert float(tag["losses"].mean()) == pytest.approx(float(whole.detach()), rel=1e-4)
    assert not tag["losses"].requires_grad


def test_a_loss_that_is_a_sum_or_several_is_refused_by_name(tmp_path: Path) -> None:
    for loss in (
        lambda o, t: cross_entropy(o, t, reduction="sum"),
        lambda o, t: {"one": cross_entropy(o, t), "two": o.square().mean()},
    ):
        with pytest.raises(BadWorkload, match=r"^SoftPrune needs a single loss that is the mean over the samples"):
            ht.train(make_task(loss=loss), ht.Recipe([SGD(), SoftPrune()], steps=2), quiet=True, device="cpu")
    assert ht.Ledger(tmp_path / "ledger").runs == []


@pytest.mark.parametrize("others", [(), (FastLoader(workers=2, ahead=4),), (MixUp(), FocalPrior(), LabelSmoothing())])
def test_going_on_in_any_step_equals_going_through(others: tuple[ht.Method, ...], tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), SoftPrune(share=0.7, until=0.8), *others], steps=20, batch_size=16)
    through = trained(task(train=Tensors(*TRAIN)), what, tmp_path / "through")
    assert max(e.step for e in through.evaluations) == 20
    for at in (2, 7, 8, 9, 12, 15, 19):
        with pytest.raises(ht.Stopped) as stopped:
            trained(task(train=Interrupting(TRAIN, at=at, act=terminate)), what, tmp_path / "stopped")
        again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
        assert same(weights(again), weights(through)), at


def test_helpers_change_nothing(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), SoftPrune(share=0.7)], steps=20, batch_size=16)
    runs = [trained(task(), w, tmp_path) for w in (what, what.plus(FastLoader(workers=3, ahead=5)))]
    assert same(*map(weights, runs))


def test_it_leaves_samples_out_in_a_run_and_the_first_pass_is_full() -> None:
    seen: list[torch.Tensor] = []

    class Noting(Tensors):
        draws = False

        def batch(self, indices, generator):  # type: ignore[no-untyped-def]
            seen.append(indices)
            return super().batch(indices, generator)

    data = Noting(*TRAIN)
    trained(task(train=data), ht.Recipe([SGD(lr=0.1), SoftPrune(share=0.6)], steps=30, batch_size=16), Path("l"))
    served = torch.stack([ids for ids in seen if len(ids) == 16][1:])  # the first was looked at
    assert len(served) == 30
    assert len(served[:6].unique()) == 96
    often = torch.bincount(served[6:].flatten(), minlength=96)
    assert int(often.max()) >= 2 * max(1, int(often.min()))


def test_it_is_frozen_and_its_range_is_checked() -> None:
    for field, value in (("share", 1.0), ("share", 0.0), ("until", 1.2), ("score", "luck")):
        with pytest.raises(ht.InputError, match=rf"^SoftPrune\.{field} must be"):
            dataclasses.replace(SoftPrune(), **{field: value})
