"""Ablation: a recipe taken apart, and what each of its changes is worth, from the runs that tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from halftime.errors import BadData
from halftime.ledger.lines import Record, read
from halftime.ledger.store import Ledger, load_all
from halftime.measure import shares
from halftime.measure.ablation_runs import ENDED, cell, chained, finite
from halftime.measure.shares import Cell, Effect, Set
from halftime.measure.statistics import LEVEL, Interval, difference, holm
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files

Verdict = Literal["pays", "harms", "not clear", "not known"]


@dataclasses.dataclass(frozen=True)
class Part:
    """One change and what it is worth.

    Args:
        name: of the method, or "budget" and the like.
        words: what it is.
        alone: added to the base alone.
        without: left out of the whole: how many times later the target is met then.
        share: averaged over orders; the shares of all parts multiply to the whole.
        score: how much higher the final score is with it, the rest in place; positive is better.
        runs: ids of the runs that these rest on.
    """

    name: str
    words: str
    alone: Effect
    without: Effect
    share: Effect
    score: Interval | None
    runs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A recipe taken apart.

    Args:
        id: of the record.
        folder: of the record.
        started: seconds since 1970.
        workload: as in a run.
        device: that trained.
        seeds: of the newest call.
        base: with none of the changes.
        recipe: with all of them.
        parts: the changes.
        whole: from the base to the recipe.
        interaction: what the whole gains beyond the changes added alone: below 1 where they overlap.
        orders: in which changes were added.
        of: how many orders can be trained in all, None where that is not known.
        wanted: how many orders were asked for.
        refused: why some recipes could not be trained, by what they would have been.
        stretch: how many times its budget a recipe was given, at most, where it missed the target.
        runs: all that count.
        open: trainings that are still to come, at least.
        fingerprint: code, packages and machine.
    """

    id: str
    folder: Path
    started: float
    workload: dict[str, Any]
    device: str
    seeds: tuple[int, ...]
    base: Recipe
    recipe: Recipe
    parts: tuple[Part, ...]
    whole: Effect
    interaction: Effect
    orders: tuple[tuple[str, ...], ...]
    of: int | None
    wanted: int
    refused: dict[str, str]
    stretch: int
    runs: tuple[Run, ...]
    open: int
    fingerprint: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every run that was planned has ended."""
        return self.open == 0

    @property
    def exact(self) -> bool:
        """Whether every order was looked at."""
        return self.of is not None and len(self.orders) >= self.of

    def covers(self, seeds: Sequence[int], orders: int, stretch: int) -> bool:
        """Whether so much has been trained."""
        enough = (self.exact or orders <= self.wanted) and stretch <= self.stretch
        return self.complete and set(seeds) <= set(self.seeds) and enough

    @property
    def words(self) -> str:
        """What it shows, in a sentence or two."""
        if self.whole.estimate is None:
            return f"the whole has no ratio: {self.whole.why}"
        text = f"the whole is {factor(self.whole)} as fast to {self.workload['target']:g} as the base"
        pays, harms = ([name for name, told in self.verdicts.items() if told == word] for word in ("pays", "harms"))
        open_ = [part.name for part in self.parts if part.name not in pays + harms]
        text += f"; missed when left out: {', '.join(pays) or 'none for certain'}"
        text += f"; better left out: {', '.join(harms)}" if harms else ""
        return text + (f"; not clear: {', '.join(open_)}" if open_ else "")

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Whether each change pays in its place, by what leaving it out costs; all of them judged together (Holm)."""
        known = {part.name: part.without for part in self.parts if part.without.estimate is not None}
        luck = dict(zip(known, holm([shares.p_value(effect) for effect in known.values()]), strict=True))
        found: dict[str, Verdict] = {}
        for name in (part.name for part in self.parts):
            if name not in known:
                found[name] = "not known"
            elif luck[name] >= 1 - LEVEL:
                found[name] = "not clear"
            else:
                found[name] = "pays" if (known[name].estimate or 0.0) > 1.0 else "harms"
        return found

    @property
    def method(self) -> str:
        """How the shares were averaged."""
        if not self.orders:
            return "no order of adding the changes one by one can be trained, so there are no shares"
        some = "all" if self.exact else "drawn by chance"
        return f"shares are averaged over {len(self.orders)} order{'s' * (len(self.orders) > 1)} of adding, {some}"

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; infinite ends are null."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for gone in ("folder", "started", "runs", "id"):
            plain.pop(gone)
        plain |= {"base": self.base.to_dict(), "recipe": self.recipe.to_dict(), "recipe_hash": self.recipe.hash}
        plain |= {name: finite(getattr(self, name)) for name in ("whole", "interaction")}
        plain["parts"] = [finite(part) for part in self.parts]
        plain["verdicts"] = self.verdicts
        plain |= {"complete": self.complete, "exact": self.exact, "words": self.words}
        return {"ablation": self.id, **plain, "runs": [run.id for run in self.runs]}

    @classmethod
    def load(cls, folder: Path, ledger: Ledger, until: float = math.inf) -> Ablation:
        """Read an ablation and its runs from the ledger, and work it out anew.

        Args:
            folder: of its record.
            ledger: where the runs are.
            until: what was written or begun later is left out.

        Raises:
            BadData: it is none, or was stopped before it was planned.
        """
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        records = [record for record in records if record.get("t", 0.0) <= until]
        plans = [record for record in records if record["kind"] == "planned"]
        if not plans:
            raise BadData(f"ablation {folder.name} was stopped before it was planned: run halftime ablate again")
        start = next(record for record in reversed(records) if record["kind"] == "start")
        runs = [run for run in load_all(ledger) if run.started <= until]
        return cls(**_read(folder, start, plans[-1], runs), started=records[0]["t"])


def ablation_of(
    recipe: Recipe, workload: dict[str, Any], ledger: Ledger, device: str, fingerprint: dict[str, Any]
) -> Ablation | None:
    """The newest complete ablation of a recipe on a workload, if the ledger has one of the same device and machine.

    Args:
        recipe: that was taken apart.
        workload: as in a run.
        ledger: where to look.
        device: that trained; seconds of another one do not compare.
        fingerprint: of the runs it stands beside; code and packages may differ, the machine may not.
    """
    same = ("name", "data", "target", "better")
    for folder in reversed(ledger.ablations):
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        fits = records and records[0].get("recipe") == recipe.to_dict() and records[0]["device"] == device
        if not fits or any(records[0]["workload"].get(key) != workload.get(key) for key in same):
            continue
        if _made_of(records[0]["fingerprint"]) != _made_of(fingerprint):
            continue
        if records[-1]["kind"] == "end" and (found := Ablation.load(folder, ledger)).complete:
            return found
    return None


def _made_of(fingerprint: dict[str, Any]) -> tuple[Any, ...]:
    """What of a machine decides how long a step takes; threads among it, as a search may have set them."""
    machine = fingerprint.get("machine", {})
    return tuple(machine.get(key) for key in ("cpu", "cores", "threads", "matmul", "gpu"))


def _read(folder: Path, start: Record, plan: Record, runs: Iterable[Run]) -> dict[str, Any]:
    """The fields of an ablation, but for when it started."""
    seeds = tuple(start["seeds"])
    keys = {frozenset(one["changes"]): str(one["hash"]) for one in plan["recipes"] if one["hash"]}
    by_group: dict[tuple[str, int], Run] = {
        (run.group.partition("/")[2], run.seed): run
        for run in runs
        if run.group.startswith(f"{folder.name}/") and run.state in ENDED and run.seed in seeds
    }
    cells: dict[Set, dict[int, Cell]] = {}
    found: dict[Set, dict[int, list[Run]]] = {}
    open_ = 0
    for key, hashed in keys.items():
        for seed in seeds:
            chain, settled = chained(hashed, seed, by_group, start["stretch"])
            open_ += not settled
            if settled:
                cells.setdefault(key, {})[seed] = cell(chain[-1])
            found.setdefault(key, {})[seed] = chain
    mine = {run.id: run for by_seed in found.values() for chain in by_seed.values() for run in chain}
    changes = [name for name, _ in start["changes"]]
    every, orders = frozenset(changes), tuple(map(tuple, plan["orders"]))
    refused = {_called(one["changes"]): one["refused"] for one in plan["recipes"] if one["refused"]}
    way = 1.0 if start["workload"]["better"] == "higher" else -1.0
    parts = [
        Part(name, words, *_effects(name, every, orders, plan["of"], cells, refused),
             _score(found.get(every - {name}, {}), found.get(every, {}), way), _ids(found, name, every))
        for name, words in start["changes"]
    ]  # fmt: skip
    alone = next((part.alone for part in parts if part.alone.why), None)
    return {
        "id": folder.name, "folder": folder, "seeds": seeds, "parts": tuple(parts), "orders": orders,
        "base": Recipe.from_dict(start["base"], strangers=True), "of": plan["of"], "wanted": start["wanted"],
        "recipe": Recipe.from_dict(start["recipe"], strangers=True), "refused": refused, "runs": tuple(mine.values()),
        "whole": shares.contrast(shares.whole(every), cells),
        "interaction": Effect(None, why=f"a change has no factor alone: {alone.why}") if alone
        else shares.contrast(shares.interaction(every), cells),
        "open": open_, "stretch": start["stretch"],
        **{name: start[name] for name in ("workload", "device", "fingerprint")},
    }  # fmt: skip


def _effects(
    name: str,
    every: Set,
    orders: tuple[tuple[str, ...], ...],
    of: int | None,
    cells: shares.Cells,
    refused: dict[str, str],
) -> tuple[Effect, Effect, Effect]:
    """Alone, without, share; where a recipe could not be trained, with the reason."""
    found = []
    for key, weights in ((frozenset({name}), shares.alone(name)), (every - {name}, shares.without(name, every))):
        why = refused.get(_called(key))
        found.append(Effect(None, why=why) if why else shares.contrast(weights, cells))
    if not orders:
        return found[0], found[1], Effect(None, why="no order of adding the changes can be trained")
    drawn = shares.drawn_error(name, orders, cells, of)
    reach = shares.reach(drawn, len(orders))
    return found[0], found[1], shares.contrast(shares.share(name, orders), cells, drawn, reach)


def _score(less: dict[int, list[Run]], whole: dict[int, list[Run]], way: float) -> Interval | None:
    """How much higher the final score is with the change, at the same budget."""
    pairs_of = [(a[0], b[0]) for seed, a in less.items() if a and (b := whole.get(seed))]
    both = [(a.score, b.score) for a, b in pairs_of if "failed" not in (a.state, b.state)]  # else it is none of the end
    pairs = [(way * a, way * b) for a, b in both if a is not None and b is not None]
    return difference([a for a, _ in pairs], [b for _, b in pairs]) if pairs else None


def _ids(found: dict[Set, dict[int, list[Run]]], name: str, every: Set) -> tuple[str, ...]:
    """Runs behind "alone" and "without"."""
    keys = [frozenset[str](), frozenset({name}), every - {name}, every]
    return tuple(dict.fromkeys(run.id for key in keys for chain in found.get(key, {}).values() for run in chain))


def _called(changes: Iterable[str]) -> str:
    """A recipe by its changes."""
    return " + ".join(sorted(changes)) or "base"


def factor(effect: Effect) -> str:
    """An effect in a few characters, such as 'at least 2.31×', or a dash."""
    return "–" if effect.estimate is None else f"{effect.bound} {effect.estimate:.2f}×".strip()
