"""ConflictMeter: cosines of the heads' gradients in the trunk, told in the record, without a trace in the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from halftime.heads import added, head_gradients, jacobian, trunk_of
from halftime.methods import Compile, ConflictMeter, FreezeEarly, Guard, TaskWeights
from halftime.methods.conflict_meter import ConflictCounter, cosines
from tests.contract.tasks import recipe, same, task, trained, weights


class Pulled(nn.Module):
    """Two heads on one weight vector; what each wants of it is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.own = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(1))

    def losses(self, one: Tensor, other: Tensor) -> dict[str, Tensor]:
        return {"one": self.trunk @ one + self.own.sum(), "other": self.trunk @ other}


@pytest.mark.parametrize("angle", [0.0, 30.0, 80.0, 100.0, 180.0])
def test_the_cosine_is_that_of_the_angle_whatever_the_lengths(angle: float) -> None:
    net = Pulled()
    turn = torch.deg2rad(torch.tensor(angle))
    counter = ConflictCounter([*net.parameters()])
    counter.look(net.losses(torch.tensor([5.0, 0.0]), 0.1 * torch.stack([turn.cos(), turn.sin()])))
    assert counter.pairs == ["one and other"]
    assert counter.counts.shape == (1, 2)
    assert counter.counts[0, 1] == pytest.approx(float(turn.cos()), abs=1e-5)
    assert bool(counter.counts[0, 0]) == (angle > 90)


def test_the_trunk_is_what_more_than_one_head_reaches() -> None:
    net = Pulled()
    rows = head_gradients(net.losses(torch.ones(2), -torch.ones(2)), [net.trunk, net.own])
    assert trunk_of(rows) == [0]
    assert jacobian(rows, [0]).tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert net.trunk.grad is None
    assert rows[1][1] is None


def test_pieces_of_a_batch_are_added_before_they_are_compared() -> None:
    net = Pulled()
    pieces = [net.losses(torch.tensor([1.0, 0.0]), torch.tensor([x, 1.0])) for x in (3.0, -4.0)]
    rows = added(*(head_gradients(piece, [net.trunk, net.own]) for piece in pieces))
    assert jacobian(rows, trunk_of(rows)).tolist() == [[2.0, 0.0], [-1.0, 2.0]]
    counter = ConflictCounter([*net.parameters()])
    counter.looking(lambda backward: [backward(piece) for piece in pieces])()  # type: ignore[arg-type, return-value]
    assert counter.counts[0].tolist() == pytest.approx([1.0, -1 / 5**0.5])
    assert net.trunk.grad is not None  # the backward pass was done as ever


def test_a_head_without_gradient_opposes_nobody() -> None:
    assert cosines(torch.tensor([[0.0, 0.0], [1.0, 2.0]])).tolist() == [0.0]


def test_the_record_has_it_and_the_training_does_not(tmp_path: Path) -> None:
    with_it = trained(task(), recipe(ConflictMeter(every=1), steps=40), tmp_path / "with")
    without = trained(task(), recipe(ConflictMeter(every=1000), steps=40), tmp_path / "without")
    lines = [text for text in with_it.events if text.startswith("ConflictMeter: ")]
    assert len(lines) >= 2
    assert all("kind and tall in " in line and "mean cosine" in line for line in lines)
    assert not [text for text in without.events if text.startswith("ConflictMeter: ")]
    assert same(weights(with_it), weights(without))


def test_a_step_that_is_tried_again_counts_once_and_one_that_is_left_out_not_at_all() -> None:
    net = Pulled()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    metering = ConflictMeter(every=1).start(net, optimizer, None)
    good, bad = 1.0, float("nan")

    def tried(rounds: list[float], applied: bool) -> None:
        pulls = iter(rounds)

        def update(compute_loss: Any, _: Any) -> bool:
            for _round in rounds:
                compute_loss()
            return applied

        def compute_loss(backward: Any) -> None:
            backward(net.losses(torch.tensor([next(pulls), 0.0]), torch.tensor([-1.0, 0.0])))

        metering.attempt(update, compute_loss, optimizer)

    tried([bad, good], True)
    assert metering.state_dict()["counts"].tolist() == [[1.0, -1.0]]
    tried([bad, bad], False)
    assert metering.state_dict()["counts"].tolist() == [[1.0, -1.0]]
    assert metering.state_dict()["looks"] == 1


@pytest.mark.parametrize("other", [Compile(backend="aot_eager"), FreezeEarly(begin=0.2), Guard(every=4), TaskWeights()])
def test_it_looks_at_later_steps_too(other: object, tmp_path: Path) -> None:
    run = trained(task(), recipe(ConflictMeter(every=2), other, steps=30), tmp_path)  # type: ignore[arg-type]
    assert run.state == "finished", run.reason
    assert [text for text in run.events if text.startswith("ConflictMeter: ")]


def test_heads_that_share_nothing_are_counted_where_the_weights_lie() -> None:
    one, other = (nn.Parameter(torch.ones(1, device="meta")) for _ in range(2))
    counter = ConflictCounter([one, other])
    for _ in range(2):
        counter.look({"a": one.sum(), "b": other.sum()})
    assert counter.counts.device.type == "meta"
