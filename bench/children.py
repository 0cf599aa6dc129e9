"""Forked children that are watched and killed; torch is imported once, in the parent."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable


def forked(work: Callable[[int], int | None]) -> tuple[int, int]:
    """Run `work(pipe)` in a forked child, whose exit code it returns: (process id, the pipe's end to read from).

    The caller must have kept torch to one thread: threads do not survive a fork.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    code = 70
    try:
        os.close(reads)
        code = work(writes) or 0
    except BaseException:
        traceback.print_exc()
    finally:  # never on into the parent's code
        os._exit(code)


def drained(pipe: int) -> bytes:
    """All that a dead child had said and nobody has read."""
    said = b""
    while more := os.read(pipe, 65536):
        said += more
    os.close(pipe)
    return said


def stopped(child: int, pipe: int, after: int, number: signal.Signals, wait: float) -> int:
    """Hear `after` bytes, wait some seconds, send a signal: the exit code, negative for a signal."""
    heard = 0
    while heard < after and (more := os.read(pipe, after - heard)):
        heard += len(more)
    time.sleep(wait)
    os.kill(child, number)
    return ended(child, pipe)


def ended(child: int, pipe: int) -> int:
    """Wait for a child: its exit code, negative for a signal."""
    drained(pipe)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def moment(dice: random.Random, longest: float) -> float:
    """A random wait; often none at all."""
    return dice.choice((0.0, dice.uniform(0, longest)))
