"""How many images a second does Pack with batched augmentation serve, beside per-sample code and beside peers?

Claims, with the same augmentation: at least 3 times per-sample code on one core like for like (float32 handed out),
at least 10 times where bytes are handed to the device and normalised there, and with two threads at least 3 times the
best DataLoader setting on two cores.

Two jobs: cifar10 (bytes 32x32x3; reflect-pad by 4 and crop, flip, normalise) and the BCCD photographs (JPEG 640x480;
a random-resized crop to 256x256, flip, normalise), which per-sample code and peers decode each time, and a pack once.
One more arm crops from copies of 320 pixels that the pack stores besides: fewer pixels to read, but they are shrunk
twice, so it is not like for like and no claim rests on it. What a loader needs to write of its own is written before
anything is timed.

How: a round runs every arm once, in random order, over the same number of images; there are several rounds, and the
first is a warm-up. Pack runs twice a round ("Pack again"): the difference is the error of the method. The clock
starts when the first batch is in the hand, so that starting workers counts for nobody; what they had made ahead by
then counts for them.

Peers live in an environment of their own, outside the checkout: `--peers-venv DIR` makes it where it is not there and
runs the whole comparison in it. A peer that cannot be installed or does not run is a row that says so.

    python -m bench.packing --peers-venv DIR --json bench/results/packing.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import random
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench import tables

NEEDS = ("torch==2.14.1", "torchvision==0.29.1", "numpy", "safetensors>=0.5", "scikit-learn>=1.5", "jinja2>=3.1",
         "platformdirs", "pooch[progress]", "tqdm", "nvidia-ml-py", "pillow", "pyarrow", "simplejpeg")  # fmt: skip
PEERS = {"grain": ("grain",), "litdata": ("litdata",), "mosaicml-streaming": ("mosaicml-streaming",),
         "spdl": ("spdl-core", "spdl-io"), "datasets": ("datasets",)}  # fmt: skip
JOBS = {"cifar10": (512, 0), "bccd": (32, 256)}  # images in a batch, side of the crop


def environment(folder: Path) -> Path:
    """The interpreter of the peers' environment, made where it is not there; each peer on its own may fail."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *NEEDS], check=True)
        for packages in PEERS.values():
            subprocess.run([*pip, *packages], check=False)
    return python


def job_of(name: str, folder: Path, count: int) -> Any:
    """The raw samples of a job."""
    from bench.loaders import Job

    batch, size = JOBS[name]
    if name == "cifar10":
        from halftime.workloads.cifar10 import images

        pixels, labels = images()[0]
        return Job(list(pixels.numpy()[:count]), labels.tolist()[:count], batch, size, folder)
    root = Path(os.environ.get("HALFTIME_DATA", ".")) / "bccd" / "JPEGImages"
    if not root.is_dir():
        raise SystemExit(f"{root} is no folder: let HALFTIME_DATA name the one that holds bccd/")
    raw = [path.read_bytes() for path in sorted(root.glob("*.jpg"))]
    return Job(raw, list(range(len(raw))), batch, size, folder)


def rate(stream: Any, count: int, batch: int) -> float:
    """Images a second from the first batch on."""
    batches: Iterator[Any] = iter(stream())
    next(batches)
    began, seen = time.perf_counter(), 0
    for _ in batches:
        seen += batch
    spent = time.perf_counter() - began
    assert count - 2 * batch <= seen < count, f"{seen} images of {count}"
    return seen / spent


def able(names: list[str], job: Any, count: int) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """The arms that run here, made and run once; for each a line."""
    from bench.loaders import ARMS

    found, rows = {}, []
    for name in names:
        try:
            made = ARMS[name](job, count)
            rate(made, count, job.batch)
        except Exception as error:  # whatever a peer stumbles over is its line in the table
            said = " ".join(f"{type(error).__name__} {error}".split())
            rows.append({"arm": name, "state": f"does not run: {said}"[:110]})
            continue
        found[name] = made
        rows.append({"arm": name, "state": "runs"})
    return found, rows


def measure(job: Any, count: int, names: list[str], given: argparse.Namespace) -> tuple[Any, list[dict[str, object]]]:
    """Images a second by arm and round, and which arms run."""
    found, states = able(names, job, count)
    taken: dict[str, list[float]] = {name: [] for name in found}
    order, dice = list(found), random.Random(given.seed)
    for _ in range(given.rounds):  # `able` was the warm-up
        dice.shuffle(order)
        for name in order:
            taken[name].append(rate(found[name], count, job.batch))
    return taken, states


def figures_of(name: str, taken: dict[str, list[float]]) -> list[tables.Figure]:
    """What was claimed, round by round."""
    workers = [arm for arm in taken if arm.startswith("DataLoader")]
    best = [max(taken[arm][i] for arm in workers) for i in range(len(taken["Pack"]))]
    alone = taken["DataLoader, 0 workers"]
    claims = (
        ("per core, like for like", "Pack", alone, "at least 3"),
        ("per core, bytes handed out", "Pack, bytes out", alone, "at least 10"),
        ("over the best DataLoader on two cores", "Pack, 2 threads", best, "at least 3"),
        ("against itself", "Pack again", taken["Pack"], "1, within 5 %"),
    )
    return [
        tables.sample(
            f"packing {name}: {what}",
            f"{name}: how many times as many images a second, {what}?",
            predicted,
            "times",
            [mine / other for mine, other in zip(taken[arm], against, strict=True)],
        )
        for what, arm, against, predicted in claims
    ]


def rows_of(taken: dict[str, list[float]]) -> list[dict[str, object]]:
    """Images a second: one line an arm, the fastest first."""
    rows = []
    for name, values in taken.items():
        low, median, high = tables.quartiles(values)
        rows.append({"arm": name, "images/s": median, "lower quartile": low, "upper quartile": high, "n": len(values)})
    return sorted(rows, key=lambda row: -row["images/s"])  # type: ignore[operator]


def versions() -> list[dict[str, object]]:
    """What was compared."""
    names = ("torch", "simplejpeg", "grain", "litdata", "mosaicml-streaming", "spdl-core", "spdl-io", "datasets")
    rows: list[dict[str, object]] = []
    for name in names:
        try:
            rows.append({"package": name, "version": importlib.metadata.version(name)})
        except importlib.metadata.PackageNotFoundError:
            rows.append({"package": name, "version": "not installed"})
    return rows


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = tables.options(__doc__)
    parser.add_argument("--peers-venv", type=Path, metavar="DIR", help="make this environment if need be; run in it")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--arms", nargs="+", help="some of the arms; the DataLoaders and Packs are always there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, nargs=2, default=(20480, 384), help="in a block of cifar10, of bccd")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the arms")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.peers_venv:
        rest = [
            word for word in (arguments or sys.argv[1:]) if word != "--peers-venv" and word != str(given.peers_venv)
        ]
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        command = [environment(given.peers_venv), "-m", "bench.packing", *rest]
        return subprocess.run(command, check=False).returncode
    from bench.loaders import ARMS, OURS, PLAIN

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    figures, shown = [], {"Versions": versions()}
    for name, count in zip(JOBS, given.images, strict=True):
        if name not in given.jobs:
            continue
        with tempfile.TemporaryDirectory() as folder:
            names = [arm for arm in ARMS if not given.arms or arm in (*PLAIN, *OURS, *given.arms)]
            names = [arm for arm in names if JOBS[name][1] or "stored" not in arm]
            taken, states = measure(job_of(name, Path(folder), count), count, names, given)
        figures += figures_of(name, taken)
        shown |= {f"{name}: arms": states, f"{name}: images a second": rows_of(taken)}
    tables.publish(given, figures, shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
