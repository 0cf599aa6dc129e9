"""Engine: the trainings of a search on several workers at once; what is common to all places where workers can be.

What is compared by its score at equal steps is trained in waves, both sides of a pair in the same one. What is timed
is not: a training that shares the machine with others takes as long as they let it. So trainings whose time to target
counts stay in this process, alone and in turn, as the timings of steps and the proof do, unless every worker has a
device of its own.

A job is sent as JSON, the workload by its name or file; what comes back is JSON too. A worker that dies takes nothing
with it: its training is a lost attempt in the ledger, and another worker goes on with it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from halftime.errors import BadWorkload, HalftimeError, StorageError
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger, load
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search.phases import ShuffledTargets
from halftime.search.records import Trial
from halftime.search.work import Job, Place, in_turn, trained
from halftime.workload import Workload
from halftime.workloads.source import find

LOST = 3  # workers that may die over one training until that is its result
GRACE = 10.0  # seconds that a worker has to write down what it was doing, when it is told to end
Answer = dict[str, Any]


class Pool(abc.ABC):
    """Workers somewhere; an engine of a search.

    Args:
        workers: trainings at once.
        each: whether each has a device of its own, so that what is timed may be trained by them.
        words: where the trainings happen, and with what.
        held: devices that are held for them, each of which costs money; one for each worker if None.
    """

    def __init__(self, workers: int, each: bool, words: str, held: int | None = None) -> None:
        self.workers, self.each, self.held = workers, each, held or workers
        alone = "" if each else "; what is timed, and the proof, runs alone on this machine"
        self.words = f"{words}{alone}"

    def __call__(self, place: Place, jobs: Sequence[Job], before: Sequence[Run] = ()) -> Iterator[Trial]:
        """Train jobs, as `in_turn` does; their trials come in order."""
        self.check(place.source)
        for alone, some in itertools.groupby(jobs, key=self.timed):
            train = in_turn if alone else self._wave
            yield from train(place, list(some), before)

    def check(self, source: str) -> None:
        """Refuse a workload that cannot be sent.

        Raises:
            BadWorkload: nobody knows where it comes from.
        """
        if not source:
            raise BadWorkload("workers cannot be sent a workload that is an object: give source, its name or .py file")

    def timed(self, job: Job) -> bool:
        """Whether the seconds of a training count, so that it must not share the machine."""
        return job.recipe.minutes is not None or (job.judged and not self.each)

    def _wave(self, place: Place, jobs: Sequence[Job], before: Sequence[Run]) -> Iterator[Trial]:
        """Train jobs by the workers; whoever leaves early leaves nothing running behind."""
        found: dict[int, Trial] = {}
        waiting, lost, at = deque(range(len(jobs))), Counter[int](), 0
        try:
            while at < len(jobs):
                while waiting and self.free():
                    k = waiting.popleft()
                    known = [*before, *(_since(place) if lost[k] else ())]
                    found |= self._begun(place, k, jobs[k], known)
                if at in found:
                    yield _told(found.pop(at), lost[at])
                    at += 1
                    continue
                k, answer, why = self.wait(place)
                lost[k] += answer is None
                if answer is not None:
                    found[k] = _trial(answer)
                elif lost[k] < LOST:
                    waiting.appendleft(k)
                else:
                    job, why = jobs[k], f"{why}, as {LOST - 1} before it did"
                    found[k] = Trial(job.stage, job.recipe.hash, job.seed, state="lost", reason=why)
        finally:
            self.stop()

    def _begun(self, place: Place, number: int, job: Job, known: Sequence[Run]) -> dict[int, Trial]:
        """Give a job to a worker, unless it is done and only its news was lost: then here is its trial."""
        mine = _of(place, job, known)
        if any(run.state in ("finished", "failed") for run in mine):
            return {number: trained(place, job, mine)}
        self.begin(number, content(place, job, mine))
        return {}

    @abc.abstractmethod
    def free(self) -> bool:
        """Whether a worker has nothing to do."""

    @abc.abstractmethod
    def begin(self, number: int, job: Answer) -> None:
        """Give a job to a worker that is free."""

    @abc.abstractmethod
    def wait(self, place: Place) -> tuple[int, Answer | None, str]:
        """(number, answer, "") of a job that is done, or (number, None, why) of one whose worker died.

        Raises:
            Stopped: Ctrl-C or SIGTERM came.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """End what is being trained."""

    def close(self) -> None:
        """End all workers."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def content(place: Place, job: Job, before: Sequence[Run] = ()) -> Answer:
    """A job as JSON: all that a worker must know.

    Args:
        place: of the search.
        job: what is trained.
        before: earlier runs of the same job; the first that was stopped is gone on with.
    """
    stopped = next((run.id for run in before if run.state in ("preempted", "killed", "lost")), "")
    return {
        "source": place.source,
        "workload": identity(place.workload, job.recipe, job.seed, place.source)["workload"],
        "ledger": str(place.ledger.root.resolve()),
        "search": place.search,
        "device": place.device,
        "job": {"stage": job.stage, "recipe": job.recipe.to_dict(), "seed": job.seed, "judged": job.judged},
        "before": stopped,
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
    }


def perform(asked: Answer) -> Answer:
    """Do a job where the worker is.

    Args:
        asked: made by `content`.

    Returns:
        The trial, or what is wrong with workload or disk, as JSON.
    """
    if torch.get_num_threads() != asked["threads"]:
        torch.set_num_threads(asked["threads"])
    torch.set_float32_matmul_precision(asked["precision"])
    try:
        workload, known = _found(asked["source"])
        job = Job(**{**asked["job"], "recipe": Recipe.from_dict(asked["job"]["recipe"], known)})
        mine = identity(workload, job.recipe, job.seed, asked["source"])["workload"]
        if other := [name for name, value in asked["workload"].items() if mine[name] != value]:
            raise BadWorkload(f"the workload that a worker finds as {asked['source']} has another {', '.join(other)}")
        ledger = Ledger(asked["ledger"])
        before = [ledger.run(asked["before"])] if asked["before"] else []
        trial = trained(Place(workload, ledger, asked["search"], asked["device"], asked["source"]), job, before)
    except StorageError as error:
        return {"storage": str(error)}
    except HalftimeError as error:
        return {"wrong": str(error)}
    except Exception as error:
        return {"wrong": f"a worker cannot train {asked['source']}: {type(error).__name__}: {error}"}
    return {"trial": dataclasses.asdict(trial)}


@functools.cache
def _found(source: str) -> tuple[Workload, tuple[type[Method], ...]]:
    workload, known, _ = find(source)
    return workload, (*known, ShuffledTargets)


def _trial(answer: Answer) -> Trial:
    if "trial" in answer:
        return Trial(**answer["trial"])
    raise StorageError(answer["storage"]) if "storage" in answer else BadWorkload(answer["wrong"])


def _told(trial: Trial, lost: int) -> Trial:
    """The trial, with what it took where workers died."""
    if not lost or not trial.ended:
        return trial
    return dataclasses.replace(trial, reason=f"{lost} worker{'s' * (lost > 1)} died over it; it was trained again")


def _of(place: Place, job: Job, runs: Sequence[Run]) -> list[Run]:
    """The runs of a job, the newest first."""
    about = (place.group(job.stage), job.seed, job.recipe.hash)
    return [run for run in reversed(runs) if (run.group, run.seed, run.recipe.hash) == about]


def _since(place: Place) -> list[Run]:
    """The runs that began after the search did, as the ledger has them now."""
    folders: list[Path] = [path for path in place.ledger.runs if path.name[1:] >= place.search[1:]]
    return [run for run in map(load, folders) if run is not None]


def share(cores: Sequence[int], workers: int) -> list[list[int]]:
    """Cores that lie beside each other for each worker, as many for one as for another.

    Example:
        >>> share([0, 1, 2, 3, 4], 2)
        [[0, 1], [2, 3]]
    """
    size = max(1, math.floor(len(cores) / workers))
    return [list(cores[k * size : (k + 1) * size]) for k in range(workers)]
