"""Trials: the trainings of one search as an Optuna study in the ledger's folder, shared by whoever works on it.

Optuna's journal is one append-only file. Asking for work happens under a lock of the file system, so that two processes
never train the same; a trial whose process is gone is offered again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import importlib.util
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from halftime.errors import InputError, writing
from halftime.run import process_id

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

FAR = 6 * 3600.0  # seconds


class Job(NamedTuple):
    """One training of a search: which phase wants it, and everything in which it differs from others."""

    phase: str
    rate: float
    share: float
    seed: int
    control: bool = False
    weight_decay: float | None = None
    batch_size: int | None = None
    minutes: float | None = None  # a budget in place of the share, for what is compared at equal time

    @classmethod
    def read(cls, trial: FrozenTrial) -> Job:
        """The job of a trial."""
        return cls(*json.loads(trial.user_attrs["job"]))


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a job: validation loss (infinite where it diverged), steps and seconds of training, the run's id."""

    loss: float
    steps: int = 0
    seconds: float = 0.0
    run: str = ""


@dataclasses.dataclass(frozen=True)
class Taken:
    """A job that this process is to do; `again` where somebody began it and was stopped."""

    trial: Trial
    job: Job
    again: bool


def check_optuna() -> None:
    """Say at once where Optuna is not installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError("tuning needs Optuna: pip install optuna")


class Trials:
    """The trials of one search.

    Args:
        folder: of the search in the ledger; the study lies there as `optuna.log`.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_optuna()
        from optuna import create_study
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.folder = folder
        with locked(folder / ".lock"), _hushed(), writing(folder):
            storage = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
            self.study: Study = create_study(study_name=folder.name, storage=storage, load_if_exists=True)

    def done(self) -> dict[Job, Result]:
        """Every job that has ended, and what came of it."""
        found = [t for t in self.study.get_trials(deepcopy=False) if t.state.name == "COMPLETE" and t.value is not None]
        return {Job.read(t): Result(float(t.value or 0.0), **t.user_attrs["result"]) for t in found}

    def take(self, wanted: Sequence[Job]) -> Taken | None:
        """One of the wanted jobs that nobody works on; None where others have them all."""
        with locked(self.folder / ".lock"), _hushed():
            self._free_the_dead()
            jobs = [(Job.read(t), t.state.name) for t in self.study.get_trials(deepcopy=False)]
            free = next((job for job in wanted if {(job, "RUNNING"), (job, "COMPLETE")}.isdisjoint(jobs)), None)
            if free is None:
                return None
            if (free, "WAITING") not in jobs:
                self.study.enqueue_trial(_numbers(free), user_attrs={"job": json.dumps(free)})
            trial = self.study.ask()  # the first that waits
            trial.set_user_attr("process", _process())
            job = Job(*json.loads(trial.user_attrs["job"]))
            for name, value in _numbers(job).items():
                _suggest(trial, name, value)
            return Taken(trial, job, (job, "FAIL") in jobs)

    def tell(self, taken: Taken, result: Result) -> None:
        """Write down what came of a job."""
        with _hushed():
            taken.trial.set_user_attr("result", {k: v for k, v in vars(result).items() if k != "loss"})
            self.study.tell(taken.trial, result.loss)

    def drop(self, taken: Taken) -> None:
        """Give a job back that this process will not do: whoever comes next may take it."""
        from optuna.trial import TrialState

        with _hushed():
            self.study.tell(taken.trial, state=TrialState.FAIL)

    def _free_the_dead(self) -> None:
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _dead(trial):
                self.study.tell(trial.number, state=TrialState.FAIL)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same path; the system frees it if the process dies."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), **(process_id() or {})}


def _dead(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial is gone; one on another machine is thought to live for `FAR` seconds."""
    who = dict(trial.user_attrs.get("process", {"host": socket.gethostname(), "pid": 0}))
    if who.pop("host") == socket.gethostname():
        return who != process_id(who["pid"]) if who["pid"] else True
    began = trial.datetime_start
    return began is not None and (dt.datetime.now() - began).total_seconds() > FAR


def _numbers(job: Job) -> dict[str, Any]:
    return {k: v for k, v in job._asdict().items() if k not in ("phase", "control") and v is not None}


def _suggest(trial: Trial, name: str, value: float) -> None:
    """Fix a number of a trial; Optuna draws none, so the range only has to hold it."""
    if isinstance(value, int):
        trial.suggest_int(name, 0, 2**31)
    else:
        trial.suggest_float(name, 0.0, 1e30)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Optuna says on stderr what the ledger knows; inside it keeps to warnings."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
