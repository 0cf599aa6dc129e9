"""Whether a recipe's learning rate was chosen, as far as the records tell: an untuned base flatters any rival."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from halftime.ledger.lines import Record, read
from halftime.ledger.store import Ledger
from halftime.measure.statistics import median
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files

ENOUGH = 5  # learning rates tried, the chosen one among them


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What was tried beside a recipe, everything but its learning rate the same.

    `tries` holds (learning rate, median seconds to target or None if it was missed, median final score), by rate.
    """

    chosen: float | None
    tries: tuple[tuple[float, float | None, float], ...]
    best: float | None
    rates: int = 0  # that it was chosen from over shares of the budget ...
    by: str = ""  # ... by `halftime tune` or `halftime search`

    @property
    def tuned(self) -> bool:
        """Whether enough was tried and the chosen rate is the best of it."""
        return self.rates >= ENOUGH if len(self.tries) < ENOUGH else self.chosen == self.best

    def __str__(self) -> str:
        if self.chosen is None:
            return "not tuned: it has no learning rate of its own"
        if len(self.tries) < ENOUGH and self.tuned:
            return (
                f"tuned: {self.chosen:g} was chosen by halftime {self.by} from {self.rates} rates over shares of the "
                "budget"
            )
        if len(self.tries) < ENOUGH and self.rates > len(self.tries):
            compared = f"{self.rates} learning rate{'s' * (self.rates > 1)}"
            return f"not tuned: halftime {self.by} compared {compared} of it, {ENOUGH} are asked for"
        if len(self.tries) < ENOUGH:
            return f"not tuned: the ledger knows {len(self.tries)} learning rates of it, {ENOUGH} are asked for"
        rates = ", ".join(f"{rate:g}" for rate, _, _ in self.tries)
        if self.chosen != self.best:
            return f"badly tuned: {self.best:g} was better than {self.chosen:g} among {rates}"
        edge = " (at the edge of what was tried)" if self.chosen in (self.tries[0][0], self.tries[-1][0]) else ""
        return f"tuned: {self.chosen:g} is the best of {rates}{edge}"


def tuning(recipe: Recipe, workload: dict[str, Any], runs: Iterable[Run], choices: Iterable[Record] = ()) -> Tuning:
    """Look through runs for the same workload and recipe at other learning rates, and through what `tune` chose.

    Args:
        recipe: whose learning rate was chosen.
        workload: the record of it in a run: name, data digest, target.
        runs: where to look; what was trained within a proof or a tune does not count.
        choices: of finished tunes; enough runs of the whole length outrank them.
    """
    method = recipe.get("optimizer")
    rate = getattr(method, "lr", None)
    if method is None or rate is None:
        return Tuning(None, (), None)
    same = ("name", "data", "target")
    found: dict[float, list[Run]] = {}
    for run in runs:
        if run.group or run.state not in ("finished", "failed") or any(run.workload[k] != workload[k] for k in same):
            continue
        tried = getattr(run.recipe.get("optimizer"), "lr", None)
        if (
            tried is not None
            and recipe.plus(type(method).from_dict({**method.to_dict(), "lr": tried})).hash == run.recipe.hash
        ):
            found.setdefault(tried, []).append(run)
    sign = 1.0 if workload["better"] == "higher" else -1.0
    tries = []
    for value, group in sorted(found.items()):
        middle = median([run.hit[1] if run.hit else math.inf for run in group])
        scores = [run.score for run in group if run.score is not None]
        tries.append((value, None if middle == math.inf else middle, median(scores) if scores else -sign * math.inf))
    best = min(tries, key=lambda t: (math.inf if t[1] is None else t[1], -sign * t[2]))[0] if tries else None
    mine = [c for c in choices if c["recipe_hash"] == recipe.hash and c["workload"] == _named(workload)]
    most, by = max(((c["rates"], c["by"]) for c in mine), default=(0, ""))
    return Tuning(rate, tuple(tries), best, most, by)


def tune_choices(ledger: Ledger) -> list[Record]:
    """What each finished tune or search of a ledger chose: recipe hash, number of rates, workload, by what."""
    found = []
    for folder in (*ledger.tunes, *ledger.searches):
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        chosen = [r for r in records if r["kind"] == "chosen" and r["rate"] is not None]
        if chosen and records[0]["kind"] == "start":
            by = "search" if folder.parent.name == "searches" else "tune"
            found += [{**one, "workload": _named(records[0]["workload"]), "by": by} for one in chosen]
    return found


def _named(workload: dict[str, Any]) -> tuple[str, str]:
    return workload["name"], workload["data"]
