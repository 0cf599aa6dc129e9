"""Timing: how much faster a step of one recipe is than of another, in blocks of real training that take turns.

A block is a short but whole training, so that loaders, schedules and what changes on the way cost what they cost. Each
round holds the first recipe twice and the second once, in random order: what the first seems to gain over itself is
the error of the method (A/A), and no gain smaller than that means anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch.utils.data import Subset

from halftime.data.feed import slices
from halftime.data.kinds import by_batch
from halftime.errors import Diverged, StorageError
from halftime.measure.statistics import LEVEL, quantile, spread
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search.failure import failure
from halftime.search.records import Pace
from halftime.search.work import BLOCK
from halftime.train import train
from halftime.workload import Workload

FEWEST, MOST = 12, 60  # steps of a block
TOO_LONG = "too long:"  # how the reason begins where a start-up cannot be earned back
STARTING = 2  # steps of a block that do not count: the first pays for whatever is made once
ROUNDS, LEAST = 6, 3
PATIENCE = 30.0  # seconds for all blocks of a recipe that takes long to begin, such as one that compiles
BEHIND = 0.9  # two rounds that are both slower than so are enough
_Made = TypeVar("_Made")
Block = tuple[float, ...]  # seconds a step, seconds needed once, seconds of compiling
JUDGED = 256  # validation samples; how long a block is judged is not timed, but waited for


def pace(
    workload: Workload,
    first: Recipe,
    second: Recipe,
    *,
    device: str | None = None,
    rounds: int = ROUNDS,
    longer: int = 1,
    least: float = BLOCK,
    within: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    checked: bool = True,
    patience: float = math.inf,
) -> Pace:
    """Time two recipes against each other.

    Args:
        workload: what is trained.
        first: the recipe to beat.
        second: the recipe that may be faster.
        device: as in `train`.
        rounds: blocks of `second`, and pairs of blocks of `first`; one more is a warm-up.
        longer: so many times the usual steps a block, to look again.
        least: seconds that a block of the usual steps takes at least.
        within: a context for the blocks of the second recipe, such as another number of threads.
        checked: whether each round times the first recipe against itself, too.
        patience: seconds of compiling beyond which nothing more is timed: it would not be earned back.

    Returns:
        The ratio of seconds a step. Where one of the recipes cannot be trained, its `why` says so.
    """
    short = shortened(workload)
    with tempfile.TemporaryDirectory() as folder:

        def block(recipe: Recipe, steps: int) -> Block:
            run = train(short, recipe.replace(steps=steps), ledger=folder, device=device, quiet=True)
            return *seconds_a_step(run), run.spans.get("compile", 0.0)

        usual, why = attempted(lambda: [block(first, FEWEST) for _ in range(2)][1])
        if usual is None:
            return untimed(f"failed: what it would be compared with could not be timed: {why}")
        steps = min(MOST, max(FEWEST, math.ceil(least / usual[0]))) * longer
        began = time.perf_counter()
        made, why = attempted(lambda: _inside(within, lambda: block(second, FEWEST)))
        if made is None:
            return untimed(why, steps)
        compiling = made[2]  # later blocks find much of it in a cache
        if compiling > patience:
            return dataclasses.replace(untimed(f"{TOO_LONG} {compiling:.1f} s of compiling", steps), startup=compiling)
        rounds = max(LEAST, min(rounds, int(PATIENCE / (time.perf_counter() - began))))
        taken: list[dict[str, Block]] = []
        dice = random.Random(f"{first.hash} {second.hash} {longer}")
        arms = [("first", first), ("second", second), *[("again", first)] * checked]

        def turn() -> dict[str, Block]:
            around = {"second": within}
            return {
                name: _inside(around.get(name, contextlib.nullcontext), lambda r=recipe: block(r, steps))  # type: ignore[misc]
                for name, recipe in dice.sample(arms, len(arms))
            }

        for _ in range(rounds):
            one, why = attempted(turn)
            if one is None:  # whichever of the two: they cannot be compared over so many steps
                return untimed(why, steps)
            taken.append(one)
            if len(taken) > 1 and all(t["first"][0] < BEHIND * t["second"][0] for t in taken):
                break
    return compared(taken, steps, compiling)


def attempted(timed: Callable[[], _Made]) -> tuple[_Made | None, str]:
    """What a block came to, or None and the reason: one that diverges, crashes or needs too much memory is a result."""
    try:
        return timed(), ""
    except StorageError:
        raise
    except Exception as error:
        return None, ": ".join(failure(error))


def untimed(why: str, steps: int = 0) -> Pace:
    """The pace of what could not be timed."""
    return Pace(0.0, 0.0, 0.0, 1.0, 0, steps, 0.0, 0.0, why)


def _inside(within: Callable[[], AbstractContextManager[object]], timed: Callable[[], Block]) -> Block:
    with within():
        return timed()


def compared(taken: Sequence[dict[str, Block]], steps: int, compiling: float = 0.0) -> Pace:
    """The ratio from rounds of (seconds a step, seconds needed once, …) of "first", "second" and perhaps "again"."""
    logs, same = [], []
    for turn in taken:
        one, again, two = (math.log(turn.get(name, turn["first"])[0]) for name in ("first", "again", "second"))
        logs.append((one + again) / 2 - two)
        same.append(one - again)
    n = len(taken)
    reach = quantile(0.5 + LEVEL / 2, n - 1) / math.sqrt(n)
    mean, half = math.fsum(logs) / n, (spread(logs) or 0.0) * reach
    aside = abs(math.fsum(same) / n) + (spread(same) or 0.0) * reach
    once = [turn["second"][1] - (turn["first"][1] + turn.get("again", turn["first"])[1]) / 2 for turn in taken]
    return Pace(
        ratio=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half), same=math.exp(aside), rounds=n,
        steps=steps, step=math.fsum(t["first"][0] for t in taken) / n, startup=max(compiling, sorted(once)[n // 2]),
    )  # fmt: skip


def curve(
    workload: Workload, recipes: Sequence[Recipe], *, device: str | None = None, rounds: int = LEAST, least: float
) -> list[Pace]:
    """Time several recipes in blocks that take turns: the pace of each against the first.

    Args:
        workload: what is trained.
        recipes: at least two.
        device: as in `train`.
        rounds: blocks of each; one more is a warm-up.
        least: seconds that a block takes at least, as far as its steps are not too many.

    Returns:
        A pace each; the `why` of one that cannot be trained says so, and of all where it is the first.
    """
    short = shortened(workload)
    with tempfile.TemporaryDirectory() as folder:
        steps = [FEWEST] * len(recipes)
        lost: dict[int, str] = {}  # those that cannot be timed, and why

        def block(k: int) -> float:
            recipe = recipes[k].replace(steps=steps[k])
            made, why = attempted(
                lambda: seconds_a_step(train(short, recipe, ledger=folder, device=device, quiet=True))[0]
            )
            if made is None:
                lost[k] = why
            return made or math.inf

        steps = [min(MOST, max(FEWEST, math.ceil(least / block(k)))) for k in range(len(recipes))]
        turns: list[list[float]] = [[0.0] * len(recipes) for _ in range(rounds)]
        dice = random.Random(" ".join(recipe.hash for recipe in recipes))
        for turn in turns:
            for k in dice.sample(range(len(recipes)), len(recipes)):
                turn[k] = math.inf if k in lost else block(k)

    def one(k: int) -> Pace:
        if why := lost.get(0, lost.get(k, "")):
            return untimed(why, steps[k])
        return compared([{"first": (turn[0], 0.0), "second": (turn[k], 0.0)} for turn in turns], steps[k])

    return [one(k) for k in range(len(recipes))]


def seconds_a_step(run: Run) -> tuple[float, float]:
    """(mean seconds of a step after the first ones, seconds of training beyond so many for every step).

    Raises:
        Diverged: before it could be timed.
    """
    spans = [seconds for step, seconds in run.series("step") if step > STARTING and seconds is not None]
    if run.state != "finished" or not spans:
        raise Diverged(run.reason or f"the run is {run.state}")
    step = math.fsum(spans) / len(spans)
    return max(step, 1e-9), run.seconds - step * run.steps


def shortened(workload: Workload) -> Workload:
    """The workload judged once, on few samples, without a target."""
    few = min(JUDGED, len(workload.valid))
    valid: Any = Subset(workload.valid, range(few))
    if by_batch(workload.valid):  # a whole batch at once, as a pair of tensors, where they are one
        batch = next(iter(slices(workload.valid, few)))
        plain = isinstance(batch, (tuple, list)) and all(isinstance(part, torch.Tensor) for part in batch)
        valid = tuple(batch) if plain else valid
    return dataclasses.replace(workload, evaluations=1, valid=valid)
