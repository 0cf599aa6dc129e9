"""How many microseconds a step does halftime add to the bare PyTorch loop, and how many do its peers?

Claim: an empty recipe, with the ledger on as every user has it, adds at most 50 microseconds a step.

How: a tiny network (64-128-10, batch 32, plain SGD, data in memory, one thread) is trained for a block of a few hundred
steps by each arm; a round runs every arm once, in random order, in this one process; there are many rounds. What counts
is the difference to the bare loop in the same round. The bare loop runs twice a round ("bare again"): the difference
between the two is the error of the method, and no difference smaller than its quartiles means anything.

What is fair about it: every arm draws the same batches by the same permutation with the same indexing, and the clock is
in that indexing, from the request of one batch to the request of a later one: set-up, evaluation and saving count for
nobody. Before anything is timed, the weights that each arm ends with are compared to those of the bare loop. Every
doubt is decided for the peers: they are fed by a plain iterable (no DataLoader), write nothing and, but for one arm,
log nothing, while halftime logs loss and learning rate of every step, keeps its clock, watches for signals, and is
timed until its log is written: the end of its block is the first request of the evaluation.

Peers live in an environment of their own, outside the checkout. `--peers-venv DIR` makes it where it is not there
(pip install of torch, halftime's dependencies and SETS below) and runs the whole comparison in it. Composer pins an
older torch, so it has a set and an environment of its own: `--set composer --peers-venv DIR`.

    python -m bench.overhead --peers-venv DIR --json bench/results/overhead.json
    python -m bench.overhead --peers-venv DIR --set composer --json bench/results/overhead-composer.json
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import random
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from bench import peers, tables

PREDICTED = "at most 50"
HALFTIME = "halftime, empty recipe"
NEEDS = ("numpy", "safetensors>=0.5", "scikit-learn>=1.5", "jinja2>=3.1", "platformdirs", "pooch[progress]", "tqdm",
         "nvidia-ml-py")  # fmt: skip
SETS = {
    "peers": ("torch==2.13.0", "lightning", "accelerate", "fastai"),
    "composer": ("mosaicml",),  # 0.32 asks for torch < 2.7.1
}
Arms = Mapping[str, Callable[[peers.Block], None]]
ARMS = {
    "peers": [name for name in peers.ARMS if name != "composer"],
    "composer": ["bare", "bare again", HALFTIME, "composer"],
}


def environment(folder: Path, chosen: str) -> Path:
    """The interpreter of the peers' environment, made where it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", *SETS[chosen], *NEEDS], check=True)
        if (
            chosen == "peers"
        ):  # fastai asks for torchvision, whose wheel fits another build of torch; nobody here uses it
            subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    return python


def one(name: str, steps: int, warm: int, arms: Arms = peers.ARMS) -> tuple[float, torch.nn.Module]:
    """Microseconds a step of one block of an arm, and the network it trained."""
    torch.manual_seed(peers.SEED)
    with tempfile.TemporaryDirectory() as folder:
        block = peers.Block(peers.network(), peers.Batches(*peers.data(steps)), Path(folder))
        gc.collect()
        arms[name](block)
    return block.seconds(warm) * 1e6, block.model


def able(names: list[str], steps: int) -> tuple[list[str], list[dict[str, object]]]:
    """The arms that run here, and for each whether it ends with the weights of the bare loop."""
    _, wanted = one("bare", steps, 1)
    found, rows = [], []
    for name in names:
        try:
            _, model = one(name, steps, 1)
        except Exception as error:  # whatever a peer stumbles over is its line in the table
            rows.append({"arm": name, "state": f"does not run: {type(error).__name__} {error}"[:110]})
            continue
        same = all(torch.equal(a, b) for a, b in zip(wanted.parameters(), model.parameters(), strict=True))
        found.append(name)
        rows.append({"arm": name, "state": "same weights as bare" if same else "OTHER weights than bare"})
    return found, rows


def rounds(names: list[str], given: argparse.Namespace, arms: Arms = peers.ARMS) -> dict[str, list[float]]:
    """Microseconds a step by arm and round; the first round is only a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    order, dice = list(names), random.Random(given.seed)
    for turn in range(given.rounds + 1):
        dice.shuffle(order)
        for name in order:
            spent, _ = one(name, given.steps, given.warm, arms)
            if turn:
                taken[name].append(spent)
    return taken


def beyond(taken: dict[str, list[float]], name: str) -> list[float]:
    """What a step of an arm took more than one of the bare loop in the same round."""
    return [mine - bare for mine, bare in zip(taken[name], taken["bare"], strict=True)]


def figures_of(taken: dict[str, list[float]]) -> list[tables.Figure]:
    """One figure for each arm that is no control."""
    found = []
    for name in taken.keys() - {"bare", "bare again"}:
        question = f"How long is a step of {name} beyond the bare loop's?"
        predicted = PREDICTED if name == HALFTIME else "more than halftime"
        found.append(tables.sample(f"overhead: {name}", question, predicted, "us", beyond(taken, name)))
    return sorted(found, key=lambda figure: figure["median"])


def compared(taken: dict[str, list[float]]) -> list[dict[str, object]]:
    """For each arm: its step, and its differences to the bare loop in the same round."""
    rows = []
    for name, values in taken.items():
        over = beyond(taken, name)
        low, median, high = tables.quartiles(over)
        row = {"arm": name, "step (us)": tables.quartiles(values)[1], "over bare (us)": median}
        row |= {
            "lower quartile": low,
            "upper quartile": high,
            "least": min(over),
            "most": max(over),
            "rounds": len(over),
        }
        rows.append(row)
    return rows


def versions() -> list[dict[str, object]]:
    """What was compared."""
    rows: list[dict[str, object]] = [{"package": "python", "version": sys.version.split()[0]}]
    for name in ("torch", "lightning", "accelerate", "fastai", "mosaicml"):
        try:
            rows.append({"package": name, "version": importlib.metadata.version(name)})
        except importlib.metadata.PackageNotFoundError:
            rows.append({"package": name, "version": "not installed"})
    return rows


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = tables.options(__doc__)
    parser.add_argument(
        "--peers-venv", type=Path, metavar="DIR", help="make this environment if need be, and run in it"
    )
    parser.add_argument("--set", choices=SETS, default="peers", help="which peers (peers)")
    parser.add_argument("--arms", help="names between semicolons, instead of a whole set")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=400, help="steps in a block")
    parser.add_argument("--warm", type=int, default=50, help="first steps of a block that are not timed")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the arms")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.peers_venv:
        python = environment(given.peers_venv, given.set)
        rest = [f"--{name}={getattr(given, name)}" for name in ("set", "rounds", "steps", "warm", "seed", "date")]
        rest += [f"--{name}={getattr(given, name)}" for name in ("json", "arms") if getattr(given, name)]
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        return subprocess.run([python, "-m", "bench.overhead", *rest], check=False).returncode
    torch.set_num_threads(1)
    peers.hush()
    names = given.arms.split(";") if given.arms else ARMS[given.set]
    names, states = able(list(names), given.steps)
    began = time.perf_counter()
    taken = rounds(names, given)
    print(f"{given.rounds} rounds of {len(names)} arms x {given.steps} steps in {time.perf_counter() - began:.0f} s")
    shown = {"Arms": states, "Versions": versions(), "Microseconds a step": compared(taken)}
    tables.publish(given, figures_of(taken), shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
