"""UsefulData: scores find what is hard, the best are kept, and the network is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.data.proxy import SCORES, Forgetting, el2n, margin, scores
from halftime.errors import BadData, BadWorkload, UnknownName
from halftime.methods import SGD, UsefulData
from halftime.methods.useful_data import hardest, useful
from tests.conftest import make_task
from tests.contract.tasks import bars, network, same, task, trained, weights


def test_the_scores_meet_their_slow_twins() -> None:
    outputs, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    for i, (row, label) in enumerate(zip(outputs.softmax(1), labels.tolist(), strict=True)):
        truth = torch.eye(4)[label]
        assert float(el2n(outputs, labels)[i]) == pytest.approx(float((row - truth).norm()), rel=1e-5)
        others = [float(p) for k, p in enumerate(row) if k != label]
        assert float(margin(outputs, labels)[i]) == pytest.approx(max(others) - float(row[label]), rel=1e-4, abs=1e-6)


def test_positions_are_averaged_and_ignored_ones_count_as_right() -> None:
    outputs, labels = torch.randn(2, 3, 5), torch.randint(3, (2, 5))
    by_position = torch.stack([el2n(outputs[:, :, i], labels[:, i]) for i in range(5)]).mean(0)
    assert torch.allclose(el2n(outputs, labels), by_position)
    ignored = torch.full((2, 5), -100)
    assert el2n(outputs, ignored).tolist() == margin(outputs, ignored).tolist() == [0.0, 0.0]


def test_forgetting_counts_falls_from_right_to_wrong() -> None:
    watch, history = Forgetting(3), torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    history[:, 2] = False
    for right in history:
        watch.see(torch.arange(3), right)
    for i in range(2):
        falls = sum(bool(a) and not bool(b) for a, b in zip(history[:-1, i], history[1:, i], strict=True))
        assert float(watch.counts[i]) == falls > 0
    assert float(watch.counts[2]) == 21.0


@pytest.mark.parametrize("score", ["el2n", "margin", "loss", "forgetting"])
def test_wrong_labels_are_found_at_the_hard_end(score: str) -> None:
    images, kinds = bars(240)
    wrong = torch.arange(0, 240, 20)
    kinds[wrong] = (kinds[wrong] + 1) % 3
    torch.manual_seed(0)
    found = scores(network(), Tensors(images, kinds), score, epochs=8, lr=0.01, batch_size=16)
    ends = hardest(found, 0.1).tolist()
    assert len(set(ends) & set(wrong.tolist())) >= 8  # of twelve; two or three by luck


@pytest.mark.parametrize("score", SCORES)
def test_network_and_random_states_stay_as_they_were(score: str) -> None:
    torch.manual_seed(1)
    net = network()
    before, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    first, second = (scores(net, Tensors(*bars(40)), score, epochs=1) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), random)
    assert same(net.state_dict(), before)
    assert all(p.grad is None for p in net.parameters())


def test_the_hardest_are_kept_and_the_epoch_is_shorter() -> None:
    assert hardest(torch.tensor([0.1, 0.9, 0.5, 0.9, 0.2]), 0.6).tolist() == [1, 2, 3]
    feed = Feed(Tensors(*bars(96)), 16, seed=0)
    kept = useful(network(), feed, keep=0.5, proxy_epochs=1)
    assert kept.steps_per_epoch == 3
    assert len(set(kept.order(0, 0, 96).tolist())) == 48
    assert set(kept.order(0, 0, 96).tolist()) == set(kept.order(0, 7, 96).tolist())


def test_the_control_keeps_as_many_by_lot_and_trains_no_proxy(tmp_path: Path) -> None:
    control = UsefulData(keep=0.5).control()
    assert control == UsefulData(keep=0.5, score="random")
    run = trained(task(), ht.Recipe([SGD(), control], epochs=2, batch_size=16), tmp_path)
    assert run.steps == 6  # an epoch is half as long
    (said,) = [e for e in run.events if "UsefulData" in e]
    assert "0.5 of the samples kept, by random" in said


def test_the_proxy_is_inside_the_clock_and_not_trained_again_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from halftime.methods import useful_data

    calls: list[int] = []
    real = useful_data.scores_of

    def slow(*given, **named):  # type: ignore[no-untyped-def]
        calls.append(1)
        time.sleep(0.3)
        return real(*given, **named)

    monkeypatch.setattr(useful_data, "scores_of", slow)
    what = ht.Recipe([SGD(lr=0.1), UsefulData(keep=0.5, proxy_epochs=1)], steps=12, batch_size=16)
    through = trained(task(), what, tmp_path / "through")
    assert through.seconds > 0.3
    assert through.spans.get("data", 0.0) < 0.3 * len(calls)  # it is no waiting for a batch
    from tests.contract.tasks import TRAIN, Interrupting, terminate

    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=12, act=terminate)), what, tmp_path / "stopped")
    before = len(calls)
    again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
    assert len(calls) == before
    assert same(weights(again), weights(through))


def test_what_cannot_be_scored_is_refused_in_one_line() -> None:
    class Two(nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            return x, x

    with pytest.raises(UnknownName, match="did you mean 'el2n'"):
        scores(network(), Tensors(*bars(8)), "el2")
    with pytest.raises(BadWorkload, match="one tensor of logits"):
        scores(nn.Sequential(network(), Two()), Tensors(*bars(8)), "el2n", epochs=0 + 1)
    with pytest.raises(BadData, match="diverged"):
        scores(network(), Tensors(bars(8)[0] * torch.nan, bars(8)[1]), "el2n")
    with pytest.raises(ht.InputError, match=r"^UsefulData\.keep must be above 0"):
        UsefulData(keep=0.0)


def test_targets_that_are_no_class_numbers_are_refused_by_name() -> None:
    x = torch.randn(64, 1, 8, 8)
    numbers = make_task(train=(x, x), valid=(x, x), model=nn.Identity, loss=nn.functional.mse_loss,
                        score=nn.functional.mse_loss, better="lower", target=None)  # fmt: skip
    with pytest.raises(BadWorkload, match=r"^UsefulData needs targets that are class numbers"):
        ht.train(numbers, ht.Recipe([UsefulData()], steps=2), quiet=True, device="cpu")
