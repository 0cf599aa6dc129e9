"""Machine: settings of the process that are no part of a recipe, timed like switches: threads, precision of matmul.

They are timed before anything else, since all trainings that follow gain. What is clearly faster holds for the rest of
the search, both arms of the proof included: it is no part of the ratio, and stands in the outcome as `settings`, so
that it can be set where the recipe is used. When the search ends, everything is as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import torch

from halftime.measure.device import pick
from halftime.recipe import Recipe
from halftime.search.records import Decision, Gain, Pace
from halftime.search.switches import clear, words
from halftime.search.timing import ROUNDS, pace
from halftime.search.work import Work

PRECISE = "matmul in high precision"
HOPEFUL = 1.1  # a setting that looks faster by so much is looked at again, even where it is not clear yet


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting: its name, how it is written in a program, and what sets it."""

    name: str
    written: str
    apply: Callable[[], None]

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """Set inside, as it was outside."""
        with kept_settings():
            self.apply()
            yield


@contextlib.contextmanager
def kept_settings() -> Iterator[None]:
    """Puts threads and precision back as they were."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def settings(device: torch.device) -> list[Setting]:
    """Other numbers of threads where the processor trains, a lower precision of matmul where a GPU does."""
    if device.type == "cuda":
        return [named(PRECISE)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = sorted({1, 2, cores // 2, cores} - {0, torch.get_num_threads()})
    return [named(f"{n} thread{'s' * (n > 1)}") for n in counts if n <= cores]


def named(name: str) -> Setting:
    """A setting by its name, whatever holds in this process now.

    Example:
        >>> named("2 threads").written
        'torch.set_num_threads(2)'
    """
    if name == PRECISE:
        text = 'torch.set_float32_matmul_precision("high")'
        return Setting(name, text, lambda: torch.set_float32_matmul_precision("high"))
    count = int(name.partition(" ")[0])
    return Setting(name, f"torch.set_num_threads({count})", lambda: torch.set_num_threads(count))


def try_settings(work: Work, recipe: Recipe) -> None:
    """Time each setting against what holds, and let it hold where it is clearly faster at two looks.

    Args:
        work: of the search.
        recipe: what is trained.
    """
    offered = work.journal.once("settings", lambda: [s.name for s in settings(pick(work.place.device))])
    for setting in map(named, offered):  # not those of now: a search may go on with other threads than it began with
        if work.journal.spent >= work.until:
            return
        began, looks = work.journal.spent, []
        for longer in (1, 2):
            key = f"setting {setting.name} {longer}"
            found = Pace(**work.journal.once(key, _look(work, recipe, setting, longer)))
            looks.append(found)
            if found.why or not (clear(found) or found.ratio >= HOPEFUL):
                break
        kept = len(looks) == 2 and clear(looks[1])
        gain = Gain(found.ratio, found.low, found.high, found.rounds, 0.0, found.ratio) if found.ratio else None
        why = found.why or f"{words(found)}" + ("" if kept else ": not clearly faster")
        work.decide(Decision(work.stage, setting.name, "kept" if kept else "dropped", why, gain=gain,
                             seconds=round(work.journal.spent - began, 3)))  # fmt: skip
        if kept:
            setting.apply()
            work.settings.append(setting.written)


def _look(work: Work, recipe: Recipe, setting: Setting, longer: int) -> Callable[[], dict[str, object]]:
    def look() -> dict[str, object]:
        rounds = ROUNDS + 2 * (longer > 1)
        how = {"device": work.place.device, "rounds": rounds, "longer": longer, "least": work.block}
        try:
            return dataclasses.asdict(pace(work.workload, recipe, recipe, within=setting.within, **how))  # type: ignore[arg-type]
        except RuntimeError as error:  # at its own rate the base diverges within a few steps: it is tuned next
            return dataclasses.asdict(Pace(0.0, 0.0, 0.0, 1.0, 0, 0, 0.0, 0.0, f"not timed: {error}"))

    return look
