"""Going on: the same bits as if nobody had stopped, or one line that says why not."""

import dataclasses

import pytest
import torch

import halftime as ht
from bench.resuming import RECIPES, SEED, network, workload
from halftime.data.feed import Tensors
from halftime.errors import BadCheckpoint
from halftime.ledger.store import Ledger
from halftime.methods import SGD, AdamW, ChannelsLast, FusedOptimizer, OneCycle
from halftime.train import train

POINTS = list(zip([*RECIPES, *RECIPES], (2, 9, 14, 31, 40, 47, 55, 60), strict=True))  # batches served before the end


class Broken(Exception):
    """Stands for anything that ends a run."""


class Fragile(Tensors):
    """Breaks off at a batch of one's choice."""

    last = None

    def batch(self, indices, generator):
        if self.last is not None:
            self.last -= 1
            if self.last < 0:
                raise Broken("the power went off\nand on")
        return super().batch(indices, generator)


def fragile(after=None, name="stripes", shift=0.0):
    base = workload()
    data = Fragile(base.train.columns[0] + shift, base.train.columns[1])
    data.last = after
    return ht.Workload(name=name, model=network, train=data, valid=base.valid, loss=base.loss, score=base.score)


def stopped(ledger, recipe, after, every=0.0):
    with pytest.raises(Broken):
        train(fragile(after), recipe, SEED, device="cpu", ledger=ledger, quiet=True, checkpoint_every=every)
    return Ledger(ledger).runs[-1].name


def gone_on(ledger, run, expected, **changes):
    given = {"workload": fragile(), "recipe": expected, "seed": SEED} | changes
    return train(**given, device="cpu", ledger=ledger, quiet=True, resume=run)


@pytest.mark.parametrize(("recipe", "after"), POINTS)
def test_the_same_bits_as_if_nobody_had_stopped(tmp_path, recipe, after):
    recipe = RECIPES[recipe]
    straight = train(fragile(), recipe, SEED, device="cpu", ledger=tmp_path / "straight", quiet=True)
    run = gone_on(tmp_path / "cut", stopped(tmp_path / "cut", recipe, after), recipe)
    assert run.state == "finished"
    assert run.attempts == 2
    assert run.weights.read_bytes() == straight.weights.read_bytes()
    assert [(e.step, e.score, e.loss) for e in run.evaluations] == [
        (e.step, e.score, e.loss) for e in straight.evaluations
    ]


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), AdamW(lr=0.01)], ids=["SGD", "AdamW"])
def test_a_fused_step_goes_on_over_kernels_that_lie_otherwise(tmp_path, optimizer):
    """State of the optimizer must lie in memory as its weight does: fused kernels go through both side by side."""
    x = torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = Fragile(x, (x.mean((1, 2, 3)) > 0).long())

    def model():
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3),
            torch.nn.Flatten(),
            torch.nn.Linear(128, 2),
        )

    task = ht.Workload(
        name="layers", model=model, train=data, valid=(x, data.columns[1]), loss=torch.nn.functional.cross_entropy,
        score=ht.accuracy, evaluations=2,
    )  # fmt: skip
    recipe = ht.Recipe([optimizer, ChannelsLast(), FusedOptimizer()], steps=12, batch_size=16)
    straight = train(task, recipe, SEED, device="cpu", ledger=tmp_path / "straight", quiet=True)
    data.last = 6
    with pytest.raises(Broken):
        train(task, recipe, SEED, device="cpu", ledger=tmp_path / "cut", quiet=True, checkpoint_every=0.0)
    data.last = None
    run = Ledger(tmp_path / "cut").runs[-1].name
    again = train(task, recipe, SEED, device="cpu", ledger=tmp_path / "cut", quiet=True, resume=run)
    assert again.weights.read_bytes() == straight.weights.read_bytes()


def test_the_schedule_goes_on(tmp_path):
    recipe = ht.Recipe([AdamW(lr=0.01), OneCycle()], steps=24, batch_size=16)
    straight = train(fragile(), recipe, SEED, device="cpu", ledger=tmp_path / "straight", quiet=True)
    run = gone_on(tmp_path / "cut", stopped(tmp_path / "cut", recipe, 13), recipe)
    assert run.series("lr") == straight.series("lr")
    assert run.series("loss") == straight.series("loss")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"recipe": ht.Recipe([SGD(lr=0.2)], steps=24, batch_size=16)}, "recipe"),
        ({"seed": SEED + 1}, "seed"),
        ({"workload": fragile(shift=0.5)}, "data"),
        ({"workload": fragile(name="spots")}, "workload"),
        ({"workload": dataclasses.replace(fragile(), target=0.123)}, "target"),
        ({"workload": dataclasses.replace(fragile(), margin=0.123)}, "margin"),
    ],
)
def test_another_run_is_refused(tmp_path, changes, what):
    recipe = ht.Recipe([SGD(lr=0.1)], steps=24, batch_size=16)
    run = stopped(tmp_path, recipe, 9)
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadCheckpoint, match=f"run {run} had another {what} ") as refused:
        gone_on(tmp_path, run, recipe, **changes)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == files  # nothing was written


def test_a_file_that_changed_since_is_refused(tmp_path):
    recipe, file = ht.Recipe([SGD(lr=0.1)], steps=24, batch_size=16), tmp_path / "mine.py"
    how = {"device": "cpu", "ledger": tmp_path / "ledger", "quiet": True, "source": str(file)}
    file.write_text("width = 1\n")
    with pytest.raises(Broken):
        train(fragile(9), recipe, SEED, checkpoint_every=0.0, **how)
    file.write_text("width = 2\n")
    run = Ledger(tmp_path / "ledger").runs[-1].name
    with pytest.raises(BadCheckpoint, match=f"run {run} had another file "):
        train(fragile(), recipe, SEED, resume=run, **how)
    file.write_text("width = 1\n")
    assert train(fragile(), recipe, SEED, resume=run, **how).state == "finished"


def test_a_finished_run_is_refused(tmp_path):
    recipe = ht.Recipe(steps=2, batch_size=16)
    run = train(fragile(), recipe, SEED, device="cpu", ledger=tmp_path, quiet=True)
    with pytest.raises(BadCheckpoint, match="is finished: there is nothing to go on with"):
        gone_on(tmp_path, run.id, recipe)


def test_without_a_checkpoint_it_starts_over(tmp_path):
    recipe = RECIPES["AdamW, OneCycle"]
    straight = train(fragile(), recipe, SEED, device="cpu", ledger=tmp_path / "straight", quiet=True)
    name = stopped(tmp_path / "cut", recipe, 20, every=60.0)
    run = gone_on(tmp_path / "cut", name, recipe)
    assert run.weights.read_bytes() == straight.weights.read_bytes()
    assert len(run.evaluations) == len(straight.evaluations)  # redone steps are superseded
    assert run.device_seconds > run.seconds  # and still paid for


def test_a_network_that_changed_its_shape_is_refused(tmp_path):
    recipe = ht.Recipe([SGD(lr=0.1)], steps=24, batch_size=16)
    run = stopped(tmp_path, recipe, 9)
    other = fragile()
    object.__setattr__(other, "model", lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2)))
    with pytest.raises(BadCheckpoint, match="does not fit this network or recipe") as refused:
        gone_on(tmp_path, run, recipe, workload=other)
    assert "\n" not in str(refused.value)


def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_it_used(tmp_path):
    recipe = RECIPES["SGD"]
    straight = train(fragile(), recipe, SEED, device="cpu", ledger=tmp_path / "straight", quiet=True)
    name = stopped(tmp_path / "cut", recipe, 20)
    newest = sorted((tmp_path / "cut" / "runs" / name / "checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    run = gone_on(tmp_path / "cut", name, recipe)
    assert any("is damaged" in event and "going on from step" in event for event in run.events)
    assert run.weights.read_bytes() == straight.weights.read_bytes()
