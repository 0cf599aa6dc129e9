"""Does a checkpoint survive whatever kills its process or its disk, and does a run go on as if nothing had happened?

Claims, each counted; the aim of every count is zero:

1. kills: a process that writes checkpoints back to back is killed (SIGKILL) at a random moment. Nothing may become
   unloadable, and what is loaded afterwards may not be older than the last one that the child reported as complete.
   The next child goes on in the same folder. How many kills hit a write in the middle is counted, too: a test whose
   kills all miss would prove nothing.
2. resuming: see `bench/resuming.py`: real trainings, stopped by SIGTERM or SIGKILL in random places, must end with
   the very bits of a training that nobody stopped.
3. disk errors: see `bench/damage.py`. 4. damage: see `bench/mutations.py`.

What is fair about it: SIGKILL does not lose what the system holds for the disk, so none of this says anything about a
power cut; the disk is the one that `--folder` lies on; moments are random, so a rare window may be missed: n and the
95 % bound of the rate are in the table.

    python -m bench.kills --json bench/results/kills.json
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

from bench import children, damage, mutations, resuming, tables
from halftime.errors import BadCheckpoint
from halftime.ledger import checkpoint

PREDICTED = "0"


def state(step: int, mib: float) -> dict[str, Any]:
    """What a training might store: every number in it tells the step."""
    each = int(mib * 2**20 / 4 / 8)
    tensors = {f"layer{i}": torch.full((each,), float(step)) for i in range(8)}
    return {"network": tensors, "optimizer": {"state": {0: {"step": step}}}, "methods": [{}, {"best": float(step)}]}


def whole(found: dict[str, Any], step: int) -> bool:
    """Whether a state is the one of this step, in all its parts."""
    return all(bool((t == step).all()) for t in found["network"].values()) and found["methods"][1]["best"] == step


def killed(folder: Path, first: int, mib: float, wait: float) -> tuple[int, bool]:
    """Kill a child that writes from step `first` on: (the last step it reported, whether a write was cut)."""

    def write_forever(pipe: int) -> None:
        for step in range(first, first + 10**6):
            checkpoint.write(folder, step, state(step, mib))
            os.write(pipe, struct.pack("q", step))

    child, pipe = children.forked(write_forever)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = children.drained(pipe)
    last = struct.unpack("q", said[-8:])[0] if said else first - 1
    names = {path.name for path in folder.iterdir()}
    alone = {n for n in names if n.endswith(".safetensors") and n.replace(".safetensors", ".json") not in names}
    return last, bool(alone) or any(n.endswith(".part") for n in names)


def trials(folder: Path, kills: int, mib: float, dice: random.Random) -> list[tables.Figure]:
    """Many kills in one folder, each followed by a look at what can be loaded."""
    torch.set_num_threads(1)
    began, warm = time.perf_counter(), 3
    for step in range(1, warm + 1):
        checkpoint.write(folder, step, state(step, mib))
    pace = (time.perf_counter() - began) / warm
    last, lost, old, cut = warm, 0, 0, 0
    for _ in range(kills):
        reported, hit = killed(folder, last + 1, mib, dice.uniform(0, 4 * pace))
        cut += hit
        try:
            step, found, notice = checkpoint.read(folder)
        except BadCheckpoint:
            lost += 1
            continue
        lost += not whole(found, step) or bool(notice)
        old += step < reported
        last = max(step, reported)
    about = f"{kills} SIGKILLs while {mib:g} MiB checkpoints are written"
    print(f"{about}: {cut} cut a write, {last} checkpoints written, {pace * 1e3:.1f} ms each")
    return [
        tables.count("kills: unloadable", f"{about}: how many leave damage?", PREDICTED, "damaged", lost, kills),
        tables.count("kills: older", f"{about}: how many lose a complete one?", PREDICTED, "lost", old, kills),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mib", type=float, default=4.0, help="size of a checkpoint that is killed")
    parser.add_argument("--points", type=int, default=50, help="trainings stopped and resumed")
    parser.add_argument("--mutations", type=int, default=400)
    parser.add_argument("--faults", type=int, default=40, help="trainings on a disk that fills up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to test (the system's temporary one)")
    given = parser.parse_args(arguments)
    dice = random.Random(given.seed)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        root, figures, shown = Path(name), [], {}
        if given.kills:
            figures += trials(root / "kills", given.kills, given.mib, dice)
        for title, n, run in (
            ("Trainings stopped and resumed", given.points, resuming.trials),
            ("Disk errors while a checkpoint or a record is written", given.faults, damage.faults),
            ("Disk errors while a network is trained", given.faults, resuming.faults),
            ("Damaged checkpoints", given.mutations, mutations.trials),
        ):
            if n:
                found, rows = run(root / str(len(shown)), n, dice)
                figures, shown = [*figures, *found], shown | {title: rows}
        tables.publish(given, figures, shown)
    return 1 if any(figure["median"] for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
