"""Places that no method of today uses, and shapes of data, loss and score that the easy task does not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.errors import BadRecipe
from halftime.methods import EMA, SGD, AdamW, ClipGradients, LabelSmoothing, MixedPrecision, OneCycle
from halftime.places import PLACES, ComputeLoss

from .tasks import TRAIN, VALID, Interrupting, network, recipe, same, task, terminate, trained, weights


@dataclasses.dataclass(frozen=True)
class Half(ht.Method):
    """Trains on the first part of the samples: uses the place `data`."""

    share: float = ht.setting(0.5, above=0, high=1)

    def data(self, data: Feed) -> Feed:
        kept = int(len(data.dataset) * self.share)
        shuffled = data.order
        return dataclasses.replace(data, order=lambda seed, epoch, _: shuffled(seed, epoch, kept))


@dataclasses.dataclass(frozen=True)
class Sharpness(ht.Method):
    """Steps along the gradient at a worse place nearby (Foret et al. 2021): its own `update`."""

    radius: float = ht.setting(0.05, above=0)

    slot: ClassVar[str] = "update"

    def update(self, compute_loss: ComputeLoss, optimizer: torch.optim.Optimizer) -> bool:
        optimizer.zero_grad()
        compute_loss()
        moved = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        steps = sharpest(moved, self.radius)
        optimizer.zero_grad()
        compute_loss()
        with torch.no_grad():
            torch._foreach_sub_(moved, steps)
        optimizer.step()
        return True


@torch.no_grad()
def sharpest(moved: list[Tensor], radius: float) -> list[Tensor]:
    """Climb by `radius` along the gradient; what was added."""
    norm = torch.stack([p.grad.norm() for p in moved if p.grad is not None]).norm()
    steps = [p.grad * (radius / norm) for p in moved if p.grad is not None]
    torch._foreach_add_(moved, steps)
    return steps


def test_the_data_place_changes_what_is_served(tmp_path: Path) -> None:
    run = trained(task(), recipe(Half(share=0.5), steps=9), tmp_path, seed=2)
    few = tuple(column[:48] for column in TRAIN)
    assert same(weights(run), weights(trained(task(train=few), recipe(steps=9), tmp_path, seed=2)))
    assert not same(weights(run), weights(trained(task(), recipe(steps=9), tmp_path, seed=2)))


def test_an_epoch_is_an_epoch_of_what_is_served(tmp_path: Path) -> None:
    run = trained(task(), ht.Recipe([Half(share=0.5)], epochs=2, batch_size=16), tmp_path)
    assert run.steps == 6


def test_a_method_from_elsewhere_is_read_back_in_its_run(tmp_path: Path) -> None:
    run = trained(task(), recipe(Half(share=0.25), steps=2), tmp_path)
    assert "Half(share=0.25)" in map(str, run.recipe.methods)
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=4, act=terminate)), recipe(Half(), steps=8), tmp_path)
    again = trained(task(), recipe(Half(), steps=8), tmp_path, resume=stopped.value.run)
    assert same(weights(again), weights(trained(task(), recipe(Half(), steps=8), tmp_path)))


@pytest.mark.parametrize("micro_batch", [None, 6])
def test_the_update_place_may_go_forward_and_back_twice(micro_batch: int | None, tmp_path: Path) -> None:
    what = recipe(Sharpness(), steps=12, micro_batch=micro_batch)
    run = trained(task(), what, tmp_path, seed=1)
    torch.manual_seed(1)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    batches = Feed(Tensors(*TRAIN), 16, 1).batches()
    for _ in range(12):
        images, kinds = next(batches)
        parts = list(zip(images.split(micro_batch or 16), kinds.split(micro_batch or 16), strict=True))

        def both_ways(parts: Any = parts) -> None:
            optimizer.zero_grad()
            for part, wanted in parts:
                (cross_entropy(net(part), wanted) * (len(part) / 16)).backward()

        both_ways()
        moved = list(net.parameters())
        steps = sharpest([*moved[0::2], *moved[1::2]], 0.05)  # the trainer's order: kernels, then biases
        both_ways()
        with torch.no_grad():
            torch._foreach_sub_([*moved[0::2], *moved[1::2]], steps)
        optimizer.step()
    for key, value in weights(run).items():
        assert torch.allclose(value, net.state_dict()[key], rtol=1e-4, atol=1e-5), key


@dataclasses.dataclass(frozen=True)
class Refusing(ht.Method):
    """Undoes every third update: uses the place `attempt`."""

    every: int = ht.setting(3, low=2)

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, feed: Feed) -> ht.Places:
        return Undoing(model, feed, self.every)


class Undoing(ht.Places):
    def __init__(self, model: nn.Module, feed: Feed, every: int) -> None:
        self.model, self.feed, self.every, self.told = model, feed, every, list[str]()

    def attempt(self, update: Any, compute_loss: ComputeLoss, optimizer: torch.optim.Optimizer) -> bool:
        before = [p.detach().clone() for p in self.model.parameters()]
        update(compute_loss, optimizer)
        if self.feed.served.step % self.every:
            return True
        with torch.no_grad():
            for parameter, kept in zip(self.model.parameters(), before, strict=True):
                parameter.copy_(kept)
        self.told.append(f"undone: samples {self.feed.served.ids.tolist()[:2]}")
        return False

    def events(self) -> list[str]:
        told, self.told = self.told, []
        return told


@pytest.mark.parametrize("stop", [False, True], ids=["through", "stopped"])
def test_a_step_that_was_not_applied_is_no_step_of_the_budget(stop: bool, tmp_path: Path) -> None:
    what = recipe(Refusing(), OneCycle(), SGD(lr=0.1, momentum=0.0), steps=10)
    through = trained(task(), what, tmp_path / "through")
    run = through
    if stop:  # in the middle of an epoch, after two steps were undone
        with pytest.raises(ht.Stopped) as stopped:
            trained(task(train=Interrupting(TRAIN, at=9, act=terminate)), what, tmp_path / "stopped")
        run = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
        assert same(weights(run), weights(through))
    assert run.steps == 10
    assert len(run.events) == 4  # batches 3, 6, 9 and 12 of 14 in all
    rates = [rate for _, rate in run.series("lr")]
    plain = trained(task(), recipe(OneCycle(), SGD(lr=0.1, momentum=0.0), steps=10), tmp_path / "plain")
    assert rates == [rate for _, rate in plain.series("lr")]
    assert run.receipt == through.receipt != plain.receipt
    assert run.tried == 14


def test_two_updates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="update"):
        trained(task(), recipe(Sharpness(), MixedPrecision(dtype="fp16")), tmp_path)
    assert ht.Ledger(tmp_path).runs == []


class Spy(ht.Places):
    """Acts in every place of the loop, and notes which."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def lr_factor(self, progress: float) -> float:
        self.seen.append("lr_factor")
        return 1.0

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        self.seen.append("batch")
        return inputs, targets

    @contextmanager
    def forward(self) -> Iterator[None]:
        self.seen.append("forward")
        yield

    def update(self, compute_loss: ComputeLoss, optimizer: torch.optim.Optimizer) -> bool:
        self.seen.append("update")
        return super().update(compute_loss, optimizer)

    def attempt(self, update: Any, compute_loss: ComputeLoss, optimizer: torch.optim.Optimizer) -> bool:
        self.seen.append("attempt")
        return super().attempt(update, compute_loss, optimizer)

    def after_step(self, progress: float) -> None:
        self.seen.append("after_step")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.seen.append("evaluating")
        yield

    def evaluated(self, score: float) -> None:
        self.seen.append("evaluated")

    def events(self) -> list[str]:
        self.seen.append("events")
        return ["the spy was asked"]


SEEN: list[str] = []


@dataclasses.dataclass(frozen=True)
class Watching(ht.Method):
    """Acts in every place, and notes the order."""

    def data(self, data: Feed) -> Feed:
        SEEN.append("data")
        return data

    def model(self, model: nn.Module) -> nn.Module:
        SEEN.append("model")
        return model

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        SEEN.append("init")
        assert len(sample) >= 1
        assert sample[0][0].shape == (16, 1, 8, 8)

    def loss(self, loss: Any, model: nn.Module) -> Any:
        SEEN.append("loss")
        return loss

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        SEEN.append("optimizer")
        return optimizer

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, feed: Feed) -> ht.Places:
        return Spy(SEEN)


def test_a_run_reaches_the_places_in_their_order(tmp_path: Path) -> None:
    SEEN.clear()
    watched = trained(task(evaluations=1), recipe(Watching(), steps=1), tmp_path)
    # around the update, the update and, inside it, network and loss; once more around the saving of the final weights,
    # and what was to be told last
    assert SEEN == ["data", "model", "init", "loss", "optimizer", "lr_factor", "batch", "attempt", "update", "forward",
                    "after_step", "events", "evaluating", "evaluated", "evaluating", "events"]  # fmt: skip
    assert watched.events == ("the spy was asked",) * 2
    assert set(SEEN) == set(PLACES)
    assert same(weights(watched), weights(trained(task(), recipe(steps=1), tmp_path)))


def test_a_field_with_the_name_of_a_place_is_refused() -> None:
    with pytest.raises(ht.InputError, match="update"):

        class Wrong(ht.Method):
            update: int = 1  # type: ignore[assignment]


class TwoHeads(nn.Module):
    """Says the kind of an image and how bright it is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.kind, self.light = nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        hidden = self.body(image)
        return {"kind": self.kind(hidden), "light": self.light(hidden)}


def two_losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "kind": cross_entropy(outputs["kind"], targets["kind"]),
        "light": mse_loss(outputs["light"][:, 0], targets["light"]),
    }


class Rows:
    """Dict samples, one at a time, with a random change: what many data sets do."""

    def __init__(self, images: Tensor, kinds: Tensor) -> None:
        self.images, self.kinds = images, kinds

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.images[index] + 0.1 * torch.randn(1, 8, 8) * float(np.random.rand() < 0.5)
        return {"image": image, "labels": {"kind": self.kinds[index], "light": self.images[index].mean()}}


def heads(train: Any = None) -> ht.Workload:
    return ht.Workload(
        name="two heads",
        model=TwoHeads,
        train=train or Rows(*TRAIN),
        valid=Rows(*VALID),
        loss=two_losses,
        score=lambda outputs, targets: (outputs["kind"].argmax(1) == targets["kind"]).float(),
        evaluations=3,
    )


@pytest.mark.parametrize("micro_batch", [None, 7])
def test_dict_batches_and_a_dict_of_losses(micro_batch: int | None, tmp_path: Path) -> None:
    what = recipe(EMA(decay=0.5), OneCycle(), ClipGradients(), steps=60, micro_batch=micro_batch)
    run = trained(heads(), what, tmp_path)
    assert run.state == "finished", run.reason
    assert run.score is not None
    assert run.score > 0.8
    whole, kind, light = (dict(run.series(key)) for key in ("loss", "loss/kind", "loss/light"))
    assert len(whole) == 60
    for step, value in whole.items():
        assert value == pytest.approx(kind[step] + light[step], rel=1e-4)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_a_dict_of_losses_in_16_bits(kind: str, tmp_path: Path) -> None:
    run = trained(heads(), recipe(MixedPrecision(dtype=kind), AdamW(lr=0.01), steps=60), tmp_path)
    assert run.score is not None
    assert run.score > 0.8


def test_a_method_for_classes_refuses_several_heads(tmp_path: Path) -> None:
    with pytest.raises(ht.InputError, match="LabelSmoothing"):
        trained(heads(), recipe(LabelSmoothing()), tmp_path)


class Stopping(Rows):
    """Sends the stop signal when a sample of its own list is read for the last time."""

    left = 10**9

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.left -= 1
        if self.left == 0:
            terminate()
        return super().__getitem__(index)


def test_going_on_with_random_samples_equals_going_through(tmp_path: Path) -> None:
    what = recipe(EMA(decay=0.5), steps=15)
    through = trained(heads(), what, tmp_path / "through")
    data = Stopping(*TRAIN)
    data.left = 260  # some are read for the digest and the first look, 16 in each step
    with pytest.raises(ht.Stopped) as stopped:
        trained(heads(data), what, tmp_path / "stopped")
    assert 0 < stopped.value.step < 15
    again = trained(heads(), what, tmp_path / "stopped", resume=stopped.value.run)
    assert same(weights(again), weights(through))


def test_random_samples_leave_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    before = (torch.get_rng_state().tolist(), str(np.random.get_state()))
    trained(heads(), recipe(steps=2), tmp_path)
    assert before == (torch.get_rng_state().tolist(), str(np.random.get_state()))
    data = Rows(*TRAIN)
    data.kinds = data.kinds[:40]  # breaks in the middle of a batch
    with pytest.raises(IndexError):
        trained(heads(data), recipe(steps=8), tmp_path)
    assert before == (torch.get_rng_state().tolist(), str(np.random.get_state()))


def test_a_data_class_may_be_a_data_set(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Listed:
        images: Any
        kinds: Any

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return self.images[index], self.kinds[index]

    listed = trained(task(train=Listed(*TRAIN)), recipe(steps=4), tmp_path)
    assert same(weights(listed), weights(trained(task(), recipe(steps=4), tmp_path)))


def test_a_batch_of_one_tensor_alone(tmp_path: Path) -> None:
    images = TRAIN[0]
    workload = ht.Workload(
        name="an image from itself",
        model=lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)),
        train=images,
        valid=(VALID[0],),
        loss=mse_loss,
        score=lambda outputs, targets: (outputs - targets).square().flatten(1).mean(1),
        better="lower",
        target=0.2,
        evaluations=3,
    )
    run = trained(workload, recipe(AdamW(lr=0.02), OneCycle(), steps=90), tmp_path)
    assert run.verdict == "reached 0.2"
    scores = [e.score for e in run.evaluations]
    assert scores[-1] < scores[0]
    assert scores[-1] == pytest.approx(run.evaluations[-1].loss, rel=1e-4)


class Share:
    """A score with state, as torchmetrics has: the share of right answers."""

    def reset(self) -> None:
        self.right, self.seen = 0, 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.right += int((outputs.argmax(1) == targets).sum())
        self.seen += len(targets)

    def compute(self) -> Tensor:
        return torch.tensor(self.right / self.seen)


def test_a_score_with_state_equals_the_function(tmp_path: Path) -> None:
    one = trained(task(score=Share()), recipe(steps=20), tmp_path)
    other = trained(task(), recipe(steps=20), tmp_path)
    assert [e.score for e in one.evaluations] == pytest.approx([e.score for e in other.evaluations])
    assert len(one.evaluations) == 4


def test_a_lower_score_may_be_better_for_a_method_that_listens(tmp_path: Path) -> None:
    from halftime.methods import DropOnStall

    error = lambda outputs, targets: (outputs.argmax(1) != targets).float()  # noqa: E731
    what = recipe(DropOnStall(patience=1, factor=0.5), steps=24)
    lower = trained(task(score=error, better="lower", evaluations=12), what, tmp_path)
    higher = trained(task(evaluations=12), what, tmp_path)
    rates = dict(lower.series("lr"))
    assert rates == dict(higher.series("lr"))
    assert rates[24] < rates[1]
    assert same(weights(lower), weights(higher))


def test_a_method_without_an_optimizer_has_the_plain_one(tmp_path: Path) -> None:
    plain = trained(task(), ht.Recipe(steps=3, batch_size=16), tmp_path)
    named = trained(task(), ht.Recipe([SGD(lr=1e-3, momentum=0.0)], steps=3, batch_size=16), tmp_path)
    assert same(weights(plain), weights(named))
