"""What does it cost to log a number, and can a killed process take its numbers with it?

1. Cost. Claim: at most 10 microseconds a scalar in the loop, the flush included. How: scalars that are tensors on the
   CPU, as the loop logs them, go through `Writer.scalar` in blocks; a block's time, with the flush at its end, is
   divided by its scalars. The flush, which comes once a second in a real run, is so counted in full and never hidden.
   The call alone is timed, too, for its median and its 99th percentile; two clock readings are in that number.
2. Kills. Claim: a complete line is never lost and the file can always be read. How: many processes at once write a
   run each, flush all the time, and report through a pipe, after each flush, how many scalars they have written; they
   are killed (SIGKILL) at random moments, and started again as the next attempt. Afterwards every file is read: it must
   hold at least what was reported, in order and without gaps.

What is fair about it: the disk is the one that `--folder` lies on; a SIGKILL is no power cut.

    python -m bench.ledger --json bench/results/ledger.json
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench import children, tables
from halftime.ledger.lines import Writer, read
from halftime.ledger.store import Ledger

PREDICTED = "at most 10"


def cost(root: Path, blocks: int, scalars: int) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Microseconds a scalar: whole blocks, and single calls."""
    torch.set_num_threads(1)
    values = [torch.tensor(1.0 / (step + 1)) for step in range(scalars)]
    whole, flushes, calls = [], [], []
    with Writer(root / "cost.jsonl") as log:
        for block in range(blocks + 1):
            began = time.perf_counter()
            for step, value in enumerate(values):
                log.scalar("loss", value, step)
            filled = time.perf_counter()
            log.flush()
            ended = time.perf_counter()
            if block:  # the first is a warm-up
                whole.append((ended - began) / scalars * 1e6)
                flushes.append((ended - filled) / scalars * 1e6)
        for step, value in enumerate(values):
            began = time.perf_counter()
            log.scalar("loss", value, step)
            calls.append((time.perf_counter() - began) * 1e6)
    about = f"blocks of {scalars} scalars"
    rows = [
        _row("call and flush", whole, about),
        _row("flush alone", flushes, about),
        _row("call alone", calls, "calls"),
    ]
    question = "How long does it take to log a scalar, the flush included?"
    return [tables.sample("ledger: scalar", question, PREDICTED, "us", whole)], rows


def _row(what: str, values: list[float], of: str) -> dict[str, Any]:
    p99 = sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
    return {"us a scalar": what, "median": tables.quartiles(values)[1], "p99": p99, "n": len(values), "of": of}


def write_forever(path: Path, pipe: int) -> None:
    """Log and flush until killed; after each flush, say how many scalars are written."""
    count = 0
    with Writer(path) as log:
        log.record("start", durable=True)
        while True:
            for _ in range(1 + count % 50):
                log.scalar("loss", torch.tensor(float(count)), count)
                count += 1
            log.flush()
            os.write(pipe, struct.pack("q", count))
            time.sleep(0.003)  # leaves files that can be read in good time


def examined(path: Path, reported: int) -> str:
    """What is wrong with the file of a killed process."""
    try:
        records, intact = read(path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    steps: list[int] = []
    for record in records:
        if record["kind"] == "series":
            first, n = record["steps"]["first"], record["steps"]["count"]
            steps += range(first, first + n)
            if record["values"] != [float(f"{step:.6g}") for step in range(first, first + n)]:
                return "values are wrong"
    if steps != list(range(len(steps))):
        return "there are gaps"
    if len(steps) < reported:
        return f"{reported - len(steps)} scalars are lost"
    return "" if intact is None else f"intact is {intact}"


def kills(root: Path, processes: int, n: int, dice: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Kill one of many writers at a time, and start its next attempt."""
    torch.set_num_threads(1)
    ledger, living, problems, scalars = Ledger(root), {}, [], 0
    folders = [ledger.new("run") for _ in range(processes)]

    def begin(folder: Path) -> None:
        path = ledger.attempt(folder)
        living[folder] = (path, *children.forked(lambda pipe: write_forever(path, pipe)))
        while not path.exists():  # the next attempt's number depends on it
            time.sleep(0.001)

    def finish(folder: Path) -> int:
        path, child, pipe = living.pop(folder)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = children.drained(pipe)
        reported = struct.unpack("q", said[-8:])[0] if said else 0
        if problem := examined(path, reported):
            problems.append(problem)
        return reported

    for folder in folders:
        begin(folder)
    for _ in range(n - processes):
        time.sleep(dice.uniform(0, 0.06))
        folder = dice.choice(folders)
        scalars += finish(folder)
        begin(folder)
    scalars += sum(finish(folder) for folder in folders)
    about = {"processes": processes, "SIGKILLs": n, "scalars reported": scalars}
    rows = [{**about, "wrong": len(problems), "how": "; ".join(sorted(set(problems)))[:100]}]
    question = f"{processes} writers, {n} SIGKILLs: how many lose a complete line or leave a file that cannot be read?"
    return [tables.count("ledger: kills", question, "0", "wrong", len(problems), n)], rows


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--scalars", type=int, default=10_000, help="in a block")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--kills", type=int, default=100, help="in all, the last one of each process included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to test (the system's temporary one)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        figures, rows = cost(Path(name), given.blocks, given.scalars)
        killed, states = kills(Path(name), given.processes, given.kills, random.Random(given.seed))
    tables.publish(given, [*figures, *killed], {"Cost": rows, "Killed writers": states})
    return 1 if killed[0]["median"] else 0


if __name__ == "__main__":
    sys.exit(main())
