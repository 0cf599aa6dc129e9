"""How much is lost by the learning rate that halftime chooses, and by those of Lightning's and fastai's finders?

Claim: over at least ten pairs of workload and optimizer the chosen rate, trained at full length, ends with a validation
loss of at most 1.05 times that of the best of a grid of nine rates on nine of ten pairs, and never above 1.2 times,
at the cost of at most 1.5 trainings.

How: the nine rates of the grid, the rate of halftime's chooser, and those that `Tuner.lr_find` and the valley rule
suggest with their defaults, are each trained to the end on the same seeds; the regret is the mean loss over the mean
loss of the best of the grid. The best of nine is chosen by the very losses it is judged by, which favours the grid.
Everybody sees the same network, data, batches and optimizer. A rate whose training diverges has no loss: its regret is
infinite and is written as nothing. The constants of the chooser were set on the pairs `rate_pairs.SEEN`; the others it
had never seen.

Each pair's row goes to `--scratch FILE` as it comes, and a later call goes on after it. Peers live in an environment of
their own, outside the checkout: `--peers-venv DIR` makes it where it is not there and runs everything in it.

    python -m bench.rates --peers-venv DIR --scratch rows.jsonl --json bench/results/rates.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import halftime as ht
from bench import tables
from bench.overhead import environment, versions
from bench.rate_pairs import PAIRS, SEEN, Pair
from halftime.data.feed import Feed
from halftime.errors import unknown
from halftime.search import rates
from halftime.search.phases import ShuffledTargets, changed, optimizer_of

PREDICTED = "at most 1.05 on 9 of 10 pairs, never above 1.2; Lightning far above on most, fastai in between"
NINE, SEEDS, SEARCH = (
    9,
    (100, 101, 102),
    7,
)  # rates of the grid; seeds of the judge; what the chooser's seeds are moved by
STEPS = 100  # of a finder's ramp: the default of both


def loss_of(pair: Pair, rate: float, seed: int, share: float = 1.0, shuffled: bool = False) -> float:
    """The validation loss after one training; infinite where it diverged."""
    recipe = changed(pair.recipe, lr=rate)
    recipe = recipe.replace(steps=max(1, round(pair.steps * share))).plus(*[ShuffledTargets()] * shuffled)
    workload = dataclasses.replace(pair.workload(), evaluations=1)
    with tempfile.TemporaryDirectory() as folder:
        run = ht.train(workload, recipe, seed, device="cpu", ledger=folder, quiet=True)
    loss = run.evaluations[-1].loss if run.state == "finished" else math.inf
    return loss if math.isfinite(loss) else math.inf


def chosen(pair: Pair) -> rates.Chosen:
    """What halftime chooses over the grid's range."""
    return rates.choose(
        lambda rate, share, seed: loss_of(pair, rate, seed + SEARCH, share),
        *pair.grid,
        control=lambda rate, share, seed: loss_of(pair, rate, seed + SEARCH, share, shuffled=True),
    )


class Batches:
    """The batches that halftime would serve, for as long as a ramp takes."""

    def __init__(self, pair: Pair) -> None:
        self.feed = Feed(pair.workload().train, pair.batch_size, SEARCH)
        self.batch_size = pair.batch_size

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[Any]:
        batches = self.feed.batches()
        yield from (next(batches) for _ in range(STEPS))


def built(pair: Pair, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The pair's optimizer."""
    return optimizer_of(changed(pair.recipe, lr=lr)).optimizer(model, torch.optim.SGD(model.parameters()))


def lightning(pair: Pair) -> float | None:
    """`Tuner.lr_find` with its defaults; None where it suggests nothing."""
    import lightning
    from lightning.pytorch.tuner import Tuner

    workload = pair.workload()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = workload.model(), 1e-3

        def training_step(self, batch: Any, _: int) -> Tensor:
            return workload.loss(self.model(batch[0]), batch[1])  # type: ignore[no-any-return]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return built(pair, self.model, self.lr)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=10, default_root_dir=folder,
                                    **dict.fromkeys(off, False))  # fmt: skip
        found = Tuner(trainer).lr_find(Module(), train_dataloaders=Batches(pair), num_training=STEPS)
    return found.suggestion() if found else None


def fastai(pair: Pair) -> float | None:
    """`Learner.lr_find` with its defaults: the valley rule."""
    from fastai.basics import DataLoaders, Learner, OptimWrapper
    from fastai.callback.schedule import valley

    workload, model = pair.workload(), pair.workload().model()

    def optimizer(_: Any, lr: float = 1e-3, **__: Any) -> Any:
        return OptimWrapper(opt=built(pair, model, lr))

    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(DataLoaders(Batches(pair), Batches(pair)), model, loss_func=workload.loss,
                          opt_func=optimizer, path=folder)  # fmt: skip
        with learner.no_bar(), learner.no_logging():
            return float(learner.lr_find(show_plot=False, suggest_funcs=(valley,)).valley)


FINDERS: dict[str, Callable[[Pair], float | None]] = {"lightning": lightning, "fastai": fastai}


def measure(pair: Pair, quick: bool) -> dict[str, Any]:
    """One pair's row."""
    low, high = pair.grid
    seeds = SEEDS[:1] if quick else SEEDS
    grid = [low * (high / low) ** (i / (NINE - 1)) for i in range(NINE)]
    mean = lambda rate: statistics.fmean(loss_of(pair, rate, seed) for seed in seeds)  # noqa: E731
    losses = {rate: mean(rate) for rate in grid}
    best = min(losses, key=lambda rate: losses[rate])
    found = chosen(pair)
    row: dict[str, Any] = {"pair": pair.name, "seen": pair.name in SEEN, "best rate": best, "best loss": losses[best]}
    row |= {"halftime rate": found.rate, "halftime": None, "cost": found.cost, "why": found.why, "seeds": len(seeds)}
    if found.rate is not None:
        row["halftime"] = _finite(mean(found.rate) / losses[best])
    for name, finder in FINDERS.items():
        torch.manual_seed(SEARCH)
        try:
            rate = finder(pair)
        except Exception as error:  # a peer that is missing or stumbles is a line of the table
            row |= {f"{name} rate": f"{type(error).__name__} {error}"[:60], name: None}
            continue
        row |= {f"{name} rate": rate, name: _finite(mean(rate) / losses[best]) if rate else None}
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def figures(rows: list[dict[str, Any]]) -> list[tables.Figure]:
    """How many pairs kept within 1.05, and the regrets by chooser; no rate and no loss count as missing it."""
    found = []
    for name in ("halftime", *FINDERS):
        regrets = [row[name] for row in rows if row.get(name) is not None]
        if name != "halftime" and not any(isinstance(row[f"{name} rate"], float) for row in rows):
            continue  # not installed here
        above = sum(row.get(name) is None or row[name] > 1.05 for row in rows)
        question = f"On how many pairs does the rate of {name} end above 1.05 times the best of nine?"
        found.append(tables.count(f"{name}: above 1.05", question, PREDICTED, "pairs above", above, len(rows)))
        if regrets:
            most = f"How many times the best loss is that of {name} (where there is one; at most {max(regrets):.3g})?"
            found.append(tables.sample(f"{name}: regret", most, PREDICTED, "times", regrets))
    cost = [row["cost"] for row in rows]
    question = f"How many trainings does halftime's choice cost (at most {max(cost):.3g})?"
    return [*found, tables.sample("cost", question, "at most 1.5", "trainings", cost)]


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = tables.options(__doc__)
    parser.add_argument("--peers-venv", type=Path, metavar="DIR", help="make this environment, and run in it")
    parser.add_argument("--pairs", metavar="A,B", help=f"some of {', '.join(PAIRS)}")
    parser.add_argument("--quick", action="store_true", help="a sixth of the steps and one seed: proves that it runs")
    parser.add_argument("--scratch", type=Path, metavar="FILE", help="rows as they come; a later call goes on")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.peers_venv:
        python, rest = environment(given.peers_venv, "peers"), ["--quick"] * given.quick
        rest += [f"--{n}={getattr(given, n)}" for n in ("pairs", "scratch", "json", "date") if getattr(given, n)]
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        return subprocess.run([python, "-m", "bench.rates", *rest], check=False).returncode
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = given.pairs.split(",") if given.pairs else list(PAIRS)
    for name in names:
        if name not in PAIRS:
            raise SystemExit(str(unknown("pair", name, PAIRS)))
    done = given.scratch and given.scratch.exists() and given.scratch.read_text().splitlines()
    rows = {row["pair"]: row for row in map(json.loads, done or [])}
    for name in random.Random(0).sample(names, len(names)):
        if name in rows:
            continue
        pair = PAIRS[name]
        rows[name] = measure(dataclasses.replace(pair, steps=pair.steps // 6) if given.quick else pair, given.quick)
        print(json.dumps(rows[name]), file=sys.stderr)
        if given.scratch:
            with given.scratch.open("a") as file:
                file.write(json.dumps(rows[name]) + "\n")
    shown = [rows[name] for name in names]
    tables.publish(given, figures(shown), {"Regret by pair": shown, "Versions": versions()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
