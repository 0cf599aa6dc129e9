"""Gather: train what a comparison asks for, each side at its own rate and over several lengths, and write it down.

Everything that was trained is in the ledger, in a group that is named by what would make it another measurement: the
recipes, the data, the code of halftime, packages, machine and device. So a measurement that was killed goes on by being
asked for again, and one that is done is not trained twice.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from halftime.errors import BadData, InputError
from halftime.evidence.grounds import Comparison
from halftime.evidence.record import entry, unmeasured
from halftime.ledger.checkpoint import replace
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger, load_all
from halftime.measure.prior import Entry
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.search.phases import changed, optimizer_of
from halftime.search.prove import warm_up
from halftime.search.rates import BUDGET, DRIFT
from halftime.search.tune import tune
from halftime.train import train
from halftime.workload import Workload

PILOT = 1000  # its seed: what is judged must be fresh
LENGTHS = (0.4, 1.0)  # of a ground's training, each with a whole schedule: what is judged is the curve over them
TUNING = 16  # trainings in a search for a rate, about
START = 0.12  # seconds that a training takes beside its steps, until one was watched


class TimeUp(Exception):
    """The time that was given is over; what was trained is in the ledger."""


@dataclasses.dataclass
class Gathering:
    """The measurements of one call, on one ledger and device.

    Args:
        ledger: where the trainings go, and where those of earlier calls are found.
        device: that trains.
        seeds: pairs of runs for each comparison.
        until: seconds on the clock of `time.monotonic` after which no training begins.
        quiet: whether to say nothing while it goes on.
    """

    ledger: Ledger
    device: torch.device
    seeds: int
    until: float = math.inf
    quiet: bool | None = None

    def __post_init__(self) -> None:
        self.ledger.check_writable()
        self.about = {**fingerprint(self.device), "halftime": sources()}
        self.known = {
            (run.group, run.seed): run for run in load_all(self.ledger) if run.state in ("finished", "failed")
        }
        self._rates = self.ledger.root / "evidence-rates.json"

    @property
    def kind(self) -> str:
        """The class of the device: "cpu", or the name of the GPU."""
        return str(self.about["machine"].get("gpu", self.device.type))

    def key(self, comparison: Comparison) -> str:
        """Names a measurement: twelve characters that change with anything that would make it another one."""
        arms = {name: recipe.to_dict() for name, recipe in comparison.arms.items()}
        return _hashed({**self._same(comparison.workload), "arms": arms, "seeds": self.seeds})

    def pilot(self, comparison: Comparison) -> float:
        """Seconds of one training of the ground's own recipe, all that it takes beside its steps included."""
        group, recipe = f"evidence-pilot/{self._of(comparison.workload)}", comparison.ground.recipe
        if (group, PILOT) not in self.known:
            warm_up(comparison.workload, (recipe,), str(self.device))
        return self._run(comparison.workload, recipe, PILOT, group).device_seconds

    def seconds(self, comparisons: Iterable[Comparison]) -> float:
        """About how long some comparisons will take, from pilots of their grounds; what is in the ledger takes no time.

        A search for a rate that several of them need is made once.
        """
        total, searches = 0.0, dict[str, float]()
        for one in comparisons:
            whole, key = self.pilot(one), self.key(one)
            for arm, length, seed in self._jobs(one):
                total += (length * whole) * ((_group(key, arm, length), seed) not in self.known)
            keys = [self._rate_key(one.workload, recipe) for recipe in self._to_tune(one)]
            searches |= dict.fromkeys(keys, BUDGET * whole + TUNING * START)
        return total + math.fsum(searches[key] for key in searches.keys() - self._read().keys())

    def measure(self, comparison: Comparison) -> Entry:
        """Do what is missing of a comparison; the entry of its method's file.

        Raises:
            TimeUp: the time that was given is over.
        """
        began = time.monotonic()
        head = {"key": self.key(comparison), "device": self.kind, "date": dt.date.today().isoformat(), **self.about}
        try:
            warm_up(comparison.workload, comparison.arms.values(), str(self.device))
        except InputError as error:  # the method cannot work here: that is known before anything is trained
            return unmeasured(comparison, str(error), head)
        rates = self._tuned(comparison)
        found: dict[tuple[str, float, int], Run] = {}
        for arm, length, seed in self._jobs(comparison):
            recipe = _long(comparison.arms[arm], rates[arm]["rate"], length)
            group = _group(head["key"], arm, length)
            found[arm, length, seed] = self._run(comparison.workload, recipe, seed, group)
        runs = {
            arm: [[found[arm, length, seed] for length in LENGTHS] for seed in range(self.seeds)]
            for arm in comparison.arms
        }
        self.say(f"{type(comparison.method).__name__} on {comparison.ground.name}: {time.monotonic() - began:.0f} s")
        facts = identity(comparison.workload, comparison.base, 0, "")["workload"]
        return entry(comparison, facts, runs, rates, head)

    def _jobs(self, comparison: Comparison) -> Iterable[tuple[str, float, int]]:
        """(arm, length, seed) of all trainings that are judged: seed by seed, within each in random order."""
        for seed in range(self.seeds):
            jobs = [(arm, length, seed) for arm in comparison.arms for length in LENGTHS]
            random.Random(f"{comparison.ground.name} {comparison.method} {seed}").shuffle(jobs)
            yield from jobs

    def say(self, text: str) -> None:
        """A line on stderr."""
        if self.quiet is not True:
            print(text, file=sys.stderr, flush=True)

    def _run(self, workload: Workload, recipe: Recipe, seed: int, group: str) -> Run:
        """A run of the ledger: the one that is there, or the one that was stopped gone on with, or a new one."""
        known = self.known.get((group, seed))
        if known is not None and known.recipe.hash == recipe.hash:
            return known
        self._check_time()
        stopped = None if self._begun.isdisjoint({(group, seed)}) else self._stopped(group, seed)
        run = train(workload, recipe, seed, ledger=self.ledger, group=group, resume=stopped, device=str(self.device),
                    quiet=True)  # fmt: skip
        self.known[group, seed] = run
        return run

    @functools.cached_property
    def _begun(self) -> set[tuple[str, int]]:
        """What earlier calls began and did not end."""
        return {(run.group, run.seed) for run in load_all(self.ledger)} - self.known.keys()

    def _stopped(self, group: str, seed: int) -> str | None:
        mine = [run for run in load_all(self.ledger) if (run.group, run.seed) == (group, seed)]
        return next((run.id for run in mine if run.state in ("preempted", "killed", "lost")), None)

    def _tuned(self, comparison: Comparison) -> dict[str, dict[str, Any]]:
        """The rate of each arm, and how it was found: each by a search of its own, all at the same cost."""
        found = {arm: self._rate(comparison.workload, recipe) for arm, recipe in (("base", comparison.base),)}
        for arm, recipe in comparison.arms.items():
            if arm != "base":
                found[arm] = found["base"] if comparison.method.exact else self._rate(comparison.workload, recipe)
        return found

    def _to_tune(self, comparison: Comparison) -> Iterable[Recipe]:
        return (comparison.base,) if comparison.method.exact else comparison.arms.values()

    def _rate(self, workload: Workload, recipe: Recipe) -> dict[str, Any]:
        """The tuned rate of a recipe; a search that has been made for it on this code and machine is not made again."""
        key, known = self._rate_key(workload, recipe), self._read()
        if key not in known:
            self._check_time()
            found = tune(workload, recipe, ledger=self.ledger, device=str(self.device), quiet=True)
            own = getattr(optimizer_of(recipe), "lr", None)
            told = {"rate": own if found.chosen.rate is None else found.chosen.rate, "why": found.chosen.why}
            known[key] = told | {"tune": found.id, "cost": found.cost, "device_seconds": found.device_seconds}
            replace(self._rates, json.dumps(known, indent=1).encode())
        return dict(known[key])

    def _rate_key(self, workload: Workload, recipe: Recipe) -> str:
        return _hashed({**self._same(workload), "recipe": recipe.to_dict()})

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._rates.read_text())) if self._rates.exists() else {}
        except ValueError:
            raise BadData(f"{self._rates} is damaged: delete it; the rates are then searched for again") from None

    def _same(self, workload: Workload) -> dict[str, Any]:
        about = {name: self.about[name] for name in ("packages", "machine", "halftime")}
        return {**about, "device": str(self.device), "workload": identity(workload, Recipe(steps=1), 0, "")["workload"]}

    def _of(self, workload: Workload) -> str:
        return _hashed(self._same(workload))

    def _check_time(self) -> None:
        if time.monotonic() >= self.until:
            raise TimeUp


def _group(key: str, arm: str, length: float) -> str:
    return f"evidence-{key}/{arm}/{length:g}"


def _long(recipe: Recipe, rate: float | None, length: float) -> Recipe:
    """A recipe at its tuned rate, so many times as long, the rate moved to that."""
    if rate is not None:
        recipe = changed(recipe, lr=float(f"{rate * length**-DRIFT:.3g}"))
    if recipe.steps is not None:
        return recipe.replace(steps=max(1, round(recipe.steps * length)))
    return recipe.replace(epochs=(recipe.epochs or 1.0) * length)


def _hashed(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def sources() -> str:
    """Twelve characters that change with the code of halftime, and with nothing else in a checkout."""
    total, package = hashlib.sha256(), Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*.py")):
        total.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:12]
