"""A disk that fails while a checkpoint or a record is written.

`Disk` fails the n-th operation that would change the disk, for every n, with each of four errors. A full
disk (ENOSPC, EDQUOT) writes half of what it is given and refuses all growth from then on, one that turned read-only
(EROFS) refuses everything, a bad block (EIO) fails once. Wanted: a StorageError of one line, the last checkpoint or
record as it was, no `.part` file left (where deleting is possible at all), and all well again on a disk that is well.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch

from bench import tables
from halftime.errors import StorageError
from halftime.ledger import checkpoint
from halftime.ledger.lines import Writer, read

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
NEVER = 10**9


def called(error: int) -> str:
    """An error's name, such as ENOSPC."""
    return errno.errorcode[error]


class Disk:
    """Inside, the operations of this process that change the disk are counted, and fail from the `at`-th on."""

    def __init__(self, at: int, error: int) -> None:
        self.at, self.error, self.count = at, error, 0
        self._real: list[tuple[Any, str, Any]] = []

    def fails(self, grows: bool) -> bool:
        """Count one operation; whether it fails."""
        self.count += 1
        if self.count <= self.at:
            return self.count == self.at
        return {errno.EROFS: True, errno.EIO: False}.get(self.error, grows)

    def strike(self, grows: bool = True) -> None:
        """Count one operation, and fail it if it is its turn."""
        if self.fails(grows):
            raise OSError(self.error, os.strerror(self.error))

    def write(self, real: Callable[[bytes], int], data: bytes) -> int:
        """A write: a full disk takes half of it first."""
        if self.fails(grows=True):
            if self.error in (errno.ENOSPC, errno.EDQUOT) and self.count == self.at:
                real(bytes(data)[: len(data) // 2])
            raise OSError(self.error, os.strerror(self.error))
        return real(data)

    def __enter__(self) -> Self:
        real_write, real_open, real_os_open = os.write, Path.open, os.open

        def opened(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self.strike()
                return _File(real_open(path, mode, *more, **named), self)
            return real_open(path, mode, *more, **named)

        def os_opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self.strike()
            return real_os_open(path, flags, *more, **named)

        self._put(os, "write", lambda file, data: self.write(lambda part: real_write(file, part), data))
        self._put(os, "open", os_opened)
        self._put(Path, "open", opened)
        for owner, name, grows in (
            (os, "fsync", True),
            (os, "ftruncate", False),
            (Path, "mkdir", True),
            (Path, "replace", False),
            (Path, "unlink", False),
            (Path, "rmdir", False),
        ):
            self._put(owner, name, self._counted(getattr(owner, name), grows))
        return self

    def __exit__(self, *_: object) -> None:
        while self._real:
            setattr(*self._real.pop())

    def _put(self, owner: Any, name: str, stand_in: Any) -> None:
        self._real.append((owner, name, getattr(owner, name)))
        setattr(owner, name, stand_in)

    def _counted(self, real: Any, grows: bool) -> Any:
        def operation(*given: Any, **named: Any) -> Any:
            self.strike(grows)
            return real(*given, **named)

        return operation


class _File:
    """An open file of a `Disk`."""

    def __init__(self, real: io.IOBase, disk: Disk) -> None:
        self._real, self._disk = real, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def write(self, data: bytes) -> int:
        return self._disk.write(self._real.write, data)


def state(step: int, floats: int = 4096) -> dict[str, Any]:
    """A state in which every number tells the step."""
    return {"network": {"w": torch.full((floats,), float(step))}, "optimizer": {"state": {0: {"step": step}}}}


def whole(step: int, found: dict[str, Any]) -> bool:
    """Whether it is the state of this step."""
    return bool((found["network"]["w"] == step).all()) and found["optimizer"]["state"] == {0: {"step": step}}


def checkpoint_fault(root: Path, at: int, error: int) -> tuple[bool, str]:
    """Fail one operation of writing a checkpoint: (whether it was reached, what went wrong)."""
    for step in (1, 2):
        checkpoint.write(root, step, state(step))
    disk = Disk(at, error)
    said = _said(disk, lambda: checkpoint.write(root, 3, state(3)))
    if disk.count < at:
        return False, ""
    step, found, notice = checkpoint.read(root)
    wrong = said
    if step < 2 or not whole(step, found) or notice:
        wrong = wrong or f"step {step} was read, {notice}"
    if error != errno.EROFS and list(root.glob("*.part")):
        wrong = wrong or "a half-written file was left"
    checkpoint.write(root, 4, state(4))
    if checkpoint.read(root)[0] != 4 or list(root.glob("*.part")):
        wrong = wrong or "the next checkpoint is not well"
    return True, wrong


def record_fault(root: Path, at: int, error: int) -> tuple[bool, str]:
    """Fail one operation of writing a run's record: (whether it was reached, what went wrong)."""
    path, written, disk = root / "attempt-001.jsonl", 0, Disk(at, error)

    def work() -> None:
        nonlocal written
        with Writer(path) as log:
            for turn in range(3):
                log.scalar("loss", torch.tensor(1.0), turn)
                log.flush()
                log.record("beat", durable=True, turn=turn)
                written = turn + 1
            log.end("finished")

    said = _said(disk, work)
    if disk.count < at:
        return False, ""
    records, intact = read(path) if path.exists() else ([], None)
    beats = [r["turn"] for r in records if r["kind"] == "beat"]
    if intact is False or beats[:written] != list(range(written)):
        said = said or f"of {written} records {len(beats)} can be read, digest {intact}"
    return True, said


def _said(disk: Disk, work: Callable[[], Any]) -> str:
    """What is wrong with the error that some work on a failing disk ends in; nothing if it is as it should be."""
    try:
        with disk:
            work()
    except StorageError as error:
        return "" if "\n" not in str(error) else "several lines"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "no error at all" if disk.count >= disk.at else ""


def faults(root: Path, n: int, _: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Every operation, every error; `n` is the least number of cases that must have been tried."""
    rows, tried, wrong = [], 0, 0
    for what, attempt in (("checkpoint", checkpoint_fault), ("record", record_fault)):
        for error in ERRORS:
            at, found = 1, Counter[str]()
            while True:
                reached, problem = attempt(root / f"{what}-{called(error)}-{at}", at, error)
                if not reached:
                    break
                found[problem] += 1
                at += 1
            bad = {problem: times for problem, times in found.items() if problem}
            rows.append({"file": what, "error": called(error), "points": at - 1, "wrong": sum(bad.values()),
                         "how": "; ".join(bad)[:100]})  # fmt: skip
            tried, wrong = tried + at - 1, wrong + sum(bad.values())
    if tried < n:
        raise SystemExit(f"only {tried} operations were found to fail, not {n}: the guard has lost its subject")
    question = "An operation of writing a checkpoint or record fails: how often is anything lost, left or unsaid?"
    return [tables.count("disk errors: files", question, "0", "wrong", wrong, tried)], rows
