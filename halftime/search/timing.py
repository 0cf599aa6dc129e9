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
from typing import Any

import torch
from torch.utils.data import Subset

from halftime.data.feed import slices
from halftime.errors import StorageError
from halftime.measure.statistics import LEVEL, quantile, spread
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search.records import Pace
from halftime.search.work import BLOCK, failure
from halftime.train import train
from halftime.workload import Workload

FEWEST, MOST = 12, 60  # steps of a block
STARTING = 2  # steps of a block that do not count: the first pays for whatever is made once
ROUNDS, LEAST = 6, 3
PATIENCE = 30.0  # seconds for all blocks of a recipe that takes long to begin, such as one that compiles
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

    Returns:
        The ratio of seconds a step. Where the second recipe cannot be trained, its `why` says so.

    Raises:
        HalftimeError: the first cannot be trained.
    """
    short = shortened(workload)
    with tempfile.TemporaryDirectory() as folder:

        def block(recipe: Recipe, steps: int) -> Block:
            run = train(short, recipe.replace(steps=steps), ledger=folder, device=device, quiet=True)
            return *seconds_a_step(run), run.spans.get("compile", 0.0)

        block(first, FEWEST)
        steps = min(MOST, max(FEWEST, math.ceil(least / block(first, FEWEST)[0]))) * longer
        try:
            began = time.perf_counter()
            compiling = _inside(within, lambda: block(second, FEWEST))[2]  # later blocks find much of it in a cache
        except StorageError:
            raise
        except Exception as error:
            return Pace(0.0, 0.0, 0.0, 1.0, 0, steps, 0.0, 0.0, ": ".join(failure(error)))
        rounds = max(LEAST, min(rounds, int(PATIENCE / (time.perf_counter() - began))))
        taken: list[dict[str, Block]] = []
        dice = random.Random(f"{first.hash} {second.hash} {longer}")
        for _ in range(rounds):
            order = [("first", first), ("again", first), ("second", second)]
            dice.shuffle(order)
            turn: dict[str, Block] = {}
            for name, recipe in order:
                around = within if name == "second" else contextlib.nullcontext
                turn[name] = _inside(around, lambda r=recipe: block(r, steps))  # type: ignore[misc]
            taken.append(turn)
    return compared(taken, steps, compiling)


def _inside(within: Callable[[], AbstractContextManager[object]], timed: Callable[[], Block]) -> Block:
    with within():
        return timed()


def compared(taken: Sequence[dict[str, Block]], steps: int, compiling: float = 0.0) -> Pace:
    """The ratio from rounds of (seconds a step, seconds needed once, …) of "first", "again" and "second"."""
    logs, same = [], []
    for turn in taken:
        one, again, two = (math.log(turn[name][0]) for name in ("first", "again", "second"))
        logs.append((one + again) / 2 - two)
        same.append(one - again)
    n = len(taken)
    reach = quantile(0.5 + LEVEL / 2, n - 1) / math.sqrt(n)
    mean, half = math.fsum(logs) / n, (spread(logs) or 0.0) * reach
    aside = abs(math.fsum(same) / n) + (spread(same) or 0.0) * reach
    once = [turn["second"][1] - (turn["first"][1] + turn["again"][1]) / 2 for turn in taken]
    return Pace(
        ratio=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half), same=math.exp(aside), rounds=n,
        steps=steps, step=math.fsum(t["first"][0] for t in taken) / n, startup=max(compiling, sorted(once)[n // 2]),
    )  # fmt: skip


def seconds_a_step(run: Run) -> tuple[float, float]:
    """(mean seconds of a step after the first ones, seconds of training beyond so many for every step).

    Raises:
        RuntimeError: the run diverged before it could be timed.
    """
    spans = [seconds for step, seconds in run.series("step") if step > STARTING and seconds is not None]
    if run.state != "finished" or not spans:
        raise RuntimeError(run.reason or f"the run is {run.state}")
    step = math.fsum(spans) / len(spans)
    return max(step, 1e-9), run.seconds - step * run.steps


def shortened(workload: Workload) -> Workload:
    """The workload judged once, on few samples, without a target."""
    few = min(JUDGED, len(workload.valid))
    valid: Any = Subset(workload.valid, range(few))
    if hasattr(workload.valid, "batch"):  # a whole batch at once, as a pair of tensors, where they are one
        batch = next(iter(slices(workload.valid, few)))
        plain = isinstance(batch, (tuple, list)) and all(isinstance(part, torch.Tensor) for part in batch)
        valid = tuple(batch) if plain else valid
    return dataclasses.replace(workload, evaluations=1, valid=valid)
