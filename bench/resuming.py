"""Real trainings that are stopped and go on, against the same training that nobody stopped.

Four recipes, between them every kind of state: momentum, Adam's averages, a schedule, an averaged network, image sizes
that follow progress, gradient clipping, a watch on the score, 16-bit arithmetic, micro-batches; the network has batch
statistics and dropout, the samples are noisy. A child trains; after a random batch and a random wait it gets SIGTERM or
SIGKILL, so that it may be anywhere: in a step, an evaluation, a checkpoint, a log entry; then another child resumes.
The final weights must be the same to the last bit, the scores along the way too, and SIGTERM may not cost one step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first optimizer step imports it, which takes a second: here once for all children
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import halftime as ht
from bench import children, damage, tables
from halftime import methods as m
from halftime.data.feed import Tensors
from halftime.errors import StorageError
from halftime.ledger.store import Ledger, load_all
from halftime.run import Run
from halftime.train import train

STEPS, BATCH, SEED, STOPPED, FULL = 60, 16, 3, 3, 4  # the last two are exit codes
RECIPES = {
    "SGD": ht.Recipe([m.SGD(lr=0.05)], steps=STEPS, batch_size=BATCH),
    "AdamW, OneCycle": ht.Recipe([m.AdamW(lr=0.01), m.OneCycle()], steps=STEPS, batch_size=BATCH),
    "SGD, EMA, ProgressiveResize, ClipGradients": ht.Recipe(
        [m.SGD(lr=0.05), m.EMA(decay=0.9), m.ProgressiveResize(), m.ClipGradients()], steps=STEPS, batch_size=BATCH
    ),
    "AdamW, DropOnStall, MixedPrecision, micro-batches": ht.Recipe(
        [m.AdamW(lr=0.01), m.DropOnStall(patience=1), m.MixedPrecision()], steps=STEPS, batch_size=BATCH, micro_batch=4
    ),
}


class Noisy(Tensors):
    """Images with noise from the sample's own generator; tells a pipe about every batch."""

    pipe: int | None = None

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        if self.pipe is not None:
            os.write(self.pipe, b".")
        images, labels = super().batch(indices, generator)
        return images + 0.3 * torch.randn(images.shape, generator=generator), labels


def workload(pipe: int | None = None) -> ht.Workload:
    """Stripes, upright or lying, in 12 batches an epoch; evaluation takes about a third of the time."""
    random_ = torch.Generator().manual_seed(0)
    labels = torch.arange(520) % 2
    images = torch.rand(520, 1, 1, 12, generator=random_).expand(520, 1, 12, 12).clone()
    images[labels == 1] = images[labels == 1].transpose(2, 3)
    data = Noisy(images[:200], labels[:200])
    data.pipe = pipe
    return ht.Workload(name="stripes", model=network, train=data, valid=(images, labels), loss=cross_entropy,
                       score=ht.accuracy, target=0.9, evaluations=10)  # fmt: skip


def network() -> nn.Module:
    """Small, with batch statistics and dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(128, 2),
    )  # fmt: skip


@dataclasses.dataclass
class Course:
    """One training in a ledger of its own, over as many children as it takes."""

    recipe: ht.Recipe
    root: Path
    every: float = 60.0  # seconds between checkpoints

    def go(self, disk: damage.Disk | None = None) -> tuple[int, int]:
        """A child that starts the training, or goes on with it."""
        begun = load_all(Ledger(self.root))  # without one that was stopped before its first line
        resume = begun[0].id if begun else None

        def work(pipe: int) -> int:
            try:
                with disk or contextlib.nullcontext():
                    task = workload(None if disk else pipe)  # that pipe is not on the disk that fails
                    train(task, self.recipe, SEED, device="cpu", ledger=self.root, quiet=True, resume=resume,
                          checkpoint_every=self.every)  # fmt: skip
            except ht.Stopped:
                return STOPPED
            except StorageError as error:
                return FULL if "\n" not in str(error) else 1
            return 0

        return children.forked(work)

    @property
    def run(self) -> Run:
        """The record so far."""
        return load_all(Ledger(self.root))[0]

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return [run.state for run in load_all(Ledger(self.root))] == ["finished"]

    def same(self, other: Course) -> bool:
        """Whether two finished courses have the same weights and scores."""
        mine, theirs = self.run, other.run
        curves = [[(e.step, e.score, e.loss) for e in run.evaluations] for run in (mine, theirs)]
        complete = mine.state == "finished" and mine.steps == STEPS and mine.intact is not False
        return complete and curves[0] == curves[1] and mine.weights.read_bytes() == theirs.weights.read_bytes()


def straight(root: Path) -> dict[str, Course]:
    """Each recipe, stopped by nobody."""
    torch.set_num_threads(1)
    found = {}
    for i, (name, recipe) in enumerate(RECIPES.items()):
        found[name] = Course(recipe, root / f"straight{i}")
        if code := children.ended(*found[name].go()):
            raise SystemExit(f"{name} does not even train: exit code {code}")
    return found


def stop(course: Course, dice: random.Random, seen: Counter[str]) -> bool:
    """Stop a course at a random moment; whether it was still running."""
    number = dice.choice((signal.SIGTERM, signal.SIGKILL))
    code = children.stopped(*course.go(), dice.randint(1, STEPS), number, children.moment(dice, 0.008))
    if code in (0, 70):  # it was faster than the signal, or broke
        return False
    seen[number.name] += 1
    if code == STOPPED:
        run = course.run
        seen["stopped mid-epoch"] += run.steps % 12 != 0
        kept = [int(p.stem.removeprefix("step-")) for p in (run.folder / "checkpoints").glob("step-*.json")]
        seen["SIGTERM that lost steps"] += run.steps > max(kept, default=0)
    return True


def trials(root: Path, points: int, dice: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Stop and resume at `points` random points, in turn over the recipes."""
    wanted = straight(root)
    seen = {name: Counter[str]() for name in RECIPES}
    for point in range(points):
        name = list(RECIPES)[point % len(RECIPES)]
        for turn in itertools.count():  # a signal that came too late is sent once more, to a training from the start
            found = Course(RECIPES[name], root / f"point{point}-{turn}", dice.choice((0.0, 0.02, 60.0)))
            if stop(found, dice, seen[name]):
                break
        if dice.random() < 0.3:
            stop(found, dice, seen[name])
        if not found.finished:
            children.ended(*found.go())
        seen[name]["points"] += 1
        seen[name]["different"] += not found.same(wanted[name])
    columns = ("points", "SIGTERM", "SIGKILL", "stopped mid-epoch", "SIGTERM that lost steps", "different")
    rows = [{"recipe": name, **{c: seen[name][c] for c in columns}} for name in RECIPES]
    different, lost = (sum(row[c] for row in rows) for c in ("different", "SIGTERM that lost steps"))
    stops = sum(row["SIGTERM"] for row in rows)
    return [
        tables.count("resuming: different", "Stopped and resumed: how many trainings end with other weights or scores?",
                     "0", "differ", different, points),
        tables.count("resuming: steps lost", "How many SIGTERMs lose a step?", "0", "lose", lost, stops),
    ], rows  # fmt: skip


def faults(root: Path, n: int, dice: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Trainings whose disk fails at a random operation, and which go on when it is well again."""
    name = "AdamW, OneCycle"
    wanted = straight(root)[name]
    seen = {error: Counter[str]() for error in damage.ERRORS}
    for turn in range(n):
        error = damage.ERRORS[turn % len(damage.ERRORS)]
        found = Course(RECIPES[name], root / f"fault{turn}", every=dice.choice((0.0, 0.05)))
        code = children.ended(*found.go(damage.Disk(dice.randint(1, 250), error)))
        seen[error]["trainings"] += 1
        seen[error]["stopped"] += code == FULL
        if not found.finished:
            children.ended(*found.go())
        seen[error]["wrong"] += code not in (0, FULL) or not found.same(wanted)
    rows = [{"error": damage.called(error), **seen[error]} for error in damage.ERRORS]
    wrong = sum(row.get("wrong", 0) for row in rows)
    return [
        tables.count("disk errors: trainings", "The disk fails in a training, then is well: how many end otherwise?",
                     "0", "differ", wrong, n)
    ], rows  # fmt: skip
