"""Everything halftime raises on purpose.

HalftimeError
├── InputError            the user's input is wrong: one line, exit code 2
│   ├── UnknownName       a method, argument, workload, recipe or run that does not exist
│   ├── BadValue          a value of the wrong type or out of its range
│   ├── BadRecipe         methods that cannot work together, or a file that is no recipe
│   ├── BadWorkload       network, data, loss and target do not fit each other
│   ├── BadData           data that is missing, empty, unlabelled or damaged
│   └── BadCheckpoint     a checkpoint that is missing, truncated or tampered with
├── Lost                  another rank of a training on several devices is gone
├── Diverged              a training that cannot go on; its run is recorded as failed, with the reason
└── StorageError          the disk is full or read-only: nothing half-written is left, exit code 2
Stopped                   Ctrl-C or SIGTERM was obeyed; a KeyboardInterrupt, so that loops around us stop too
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class HalftimeError(Exception):
    """The root of what halftime raises on purpose; its message is one printable line, whatever names went into it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in message).split()))


class InputError(HalftimeError):
    """The user's input is wrong."""


class UnknownName(InputError):
    """A name that nobody knows."""


class BadValue(InputError):
    """A value of the wrong type or out of its range."""


class BadRecipe(InputError):
    """Methods that cannot work together, or a file that is no recipe."""


class BadWorkload(InputError):
    """Network, data, loss and target do not fit each other."""


class BadData(InputError):
    """Data that is missing, empty, unlabelled or damaged."""


class BadCheckpoint(InputError):
    """A checkpoint that is missing, truncated or tampered with."""


class Lost(HalftimeError):
    """Another rank of a training on several devices is gone."""


class Diverged(HalftimeError):
    """A training that cannot go on."""


class StorageError(HalftimeError):
    """The disk is full or read-only."""


class Stopped(KeyboardInterrupt):
    """A run obeyed Ctrl-C or SIGTERM after saving everything; `run` names it, `signal` says which."""

    def __init__(self, run: str, step: int, signal: int) -> None:
        super().__init__(f"stopped at step {step}; go on with: halftime train --resume {run}")
        self.run, self.step, self.signal = run, step, signal


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """An `UnknownName` that points to the nearest right name.

    >>> str(unknown("method", "AdmaW", ["AdamW", "SGD"]))
    "there is no method 'AdmaW'; did you mean 'AdamW'? known: AdamW, SGD"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    hint = next((f"did you mean {n!r}? " for n in names if near and n.lower() == near[0]), "")
    return UnknownName(f"there is no {kind} {shorten(name)}; {hint}known: {', '.join(names) or 'none'}")


def shorten(value: object, limit: int = 60) -> str:
    """`repr` of a value on one line, cut where it would flood the message."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list inside itself
        text = f"<{type(value).__name__} too long to print>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's complaints about `path` into one line that says what to do."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "your disk quota is used up: free some space",
        errno.EROFS: "the disk is read-only: choose another folder",
        errno.EACCES: "you may not write there: choose another folder",
        errno.EPERM: "you may not write there: choose another folder",
        errno.ENOTDIR: "a part of that path is a file, not a folder: choose another folder",
        errno.EISDIR: "that is a folder: name a file",
        errno.ENOENT: "that folder does not exist: create it first",
    }
    try:
        yield
    except OSError as error:
        what = advice.get(error.errno or 0, str(error.strerror or error))
        raise StorageError(f"cannot write {path}: {what}") from error


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, whole."""
    beside = path.with_name(path.name + ".part")
    try:
        with writing(path):
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except HalftimeError:
        with contextlib.suppress(OSError):  # a disk that turned read-only lets nothing be deleted either
            beside.unlink(missing_ok=True)
        raise
