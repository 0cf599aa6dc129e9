"""Ablate: train a recipe with some of its changes, interleaved, and say what each of them is worth."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from halftime.errors import BadData, BadRecipe, BadValue, BadWorkload, StorageError, shorten
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.lines import Writer, read
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger, load_all
from halftime.measure import shares
from halftime.measure.ablation import Ablation
from halftime.measure.ablation_runs import budgets, digests, group_of
from halftime.measure.device import pick
from halftime.recipe import Recipe
from halftime.run import Run, attempt_files
from halftime.search.ablate_plan import Change, changes, default_base, made_of
from halftime.search.failure import failure
from halftime.search.prove import train_once, warm_up
from halftime.workload import Workload

FIRST = 60_000  # its seeds are its own: nothing was chosen by them, and no proof rests on them
ORDERS = 8  # drawn, where there are too many changes for all orders
STRETCH = 4
MOST = 12  # changes


def ablate(
    workload: Workload,
    recipe: Recipe,
    base: Recipe | None = None,
    seeds: int = 5,
    *,
    orders: int = ORDERS,
    stretch: int = STRETCH,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    quiet: bool | None = None,
    source: str = "",
    told: Callable[[str], object] = lambda _: None,
) -> Ablation:
    """Measure what each change of a recipe is worth: added to the base alone, left out, and averaged over orders.

    Every recipe trains on the same seeds, in random order within each seed, after a short warm-up of each. A part of a
    good recipe often misses the target within the recipe's budget; it is trained again with twice as much, and so on up
    to `stretch` times as much, so that there is a time to compare. What misses then, too, counts as at least as long.
    The same call on the same code, data and machine goes on where it was, trains nothing twice, and adds what is new.

    Args:
        workload: must have a target.
        recipe: to take apart.
        base: to begin from; the recipe's optimizer alone if None.
        seeds: 2 or more give intervals.
        orders: in which changes are added, drawn where there are more than three changes.
        stretch: how many times its budget a recipe gets, at most, where it misses the target; 1 gives no second try.
        device: as in `train`.
        ledger: as in `train`.
        quiet: as in `train`.
        source: as in `train`.
        told: hears a line about what will be trained.

    Raises:
        BadWorkload: no target. BadValue: no seeds, no orders. BadRecipe: recipe and base do not differ, or one of them
        cannot be trained.
    """
    _check(workload, seeds, orders, stretch)
    where, ledger = pick(device), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    ledger.check_writable()
    base = default_base(recipe) if base is None else base
    kinds = changes(base, recipe)
    if len(kinds) > MOST:
        raise BadRecipe(
            f"{len(kinds)} changes are too many to take apart, {MOST} are the most: give a --base nearer by"
        )
    plan = {
        "workload": identity(workload, recipe, 0, source)["workload"],
        "base": base.to_dict(),
        "recipe": recipe.to_dict(),
        "changes": [[one.name, one.words] for one in kinds],
        "device": str(where),
        "fingerprint": fingerprint(where),
    }
    folder = _same(ledger, plan) or ledger.new("ablation")
    wanted = list(range(FIRST, FIRST + seeds))
    before = _known(folder, ledger)
    if before is not None and before.covers(wanted, orders, stretch):
        return before
    with Writer(ledger.attempt(folder)) as log:
        log.record("start", durable=True, ablation=folder.name, seeds=wanted, wanted=orders, stretch=stretch, **plan)
        parts = Parts(workload, base, recipe, kinds, device)
        taken, of = shares.orders_of([c.name for c in kinds], orders, parts.possible, recipe.hash + base.hash)
        parts.needed(taken)
        log.record("planned", orders=taken, of=of, recipes=parts.to_list())
        told(parts.words(seeds))
        for seed in wanted:
            made = parts.shuffled(f"{folder.name} {seed}")
            for times in budgets(stretch):
                made = _train(workload, made, times, seed, folder.name, ledger,
                              device=device, quiet=quiet, source=source)  # fmt: skip
        found = Ablation.load(folder, ledger)
        log.record("judged", words=found.words, runs=digests(found.runs))
        log.end("finished")
    return found


class Parts:
    """The recipes of an ablation, made and tried out when they are first asked for.

    Args:
        workload: what is trained.
        base: with none of the changes.
        recipe: with all of them.
        kinds: the changes.
        device: as in `train`.

    Raises:
        BadRecipe: base or recipe cannot be trained.
    """

    def __init__(
        self, workload: Workload, base: Recipe, recipe: Recipe, kinds: list[Change], device: str | None
    ) -> None:
        self.workload, self.base, self.recipe, self.kinds, self.device = workload, base, recipe, kinds, device
        self.made: dict[shares.Set, tuple[Recipe | None, str]] = {}
        self._used: set[shares.Set] = set()
        self.every = frozenset(one.name for one in kinds)
        for called, key in (("the base", frozenset[str]()), ("the recipe", self.every)):
            if not self.possible(key):
                raise BadRecipe(f"{called} cannot be trained: {self.made[key][1]}")

    def possible(self, key: shares.Set) -> bool:
        """Whether the recipe with these changes can be trained: it is made, and a few steps of it are."""
        if key not in self.made:
            made, why = made_of(self.base, self.recipe, [one for one in self.kinds if one.name in key])
            if made is not None:
                try:
                    warm_up(self.workload, (made,), self.device)
                except StorageError:
                    raise
                except Exception as error:
                    state, reason = failure(error)
                    made, why = None, reason if state == "refused" else f"{state}: {reason}"
            self.made[key] = made, why
        return self.made[key][0] is not None

    def needed(self, orders: list[tuple[str, ...]]) -> None:
        """Note which recipes are to be trained: base and whole, each change alone and left out, and the orders'."""
        keys = {frozenset[str](), self.every}
        keys |= {key for name in self.every for key in (frozenset({name}), self.every - {name})}
        keys |= {frozenset(order[:i]) for order in orders for i in range(len(order))}
        self._used = {key for key in keys if self.possible(key)}

    def shuffled(self, seed: str) -> list[Recipe]:
        """What is to be trained, in an order of its own for each seed."""
        found = [made for key in sorted(self._used, key=sorted) if (made := self.made[key][0]) is not None]
        random.Random(seed).shuffle(found)
        return found

    def to_list(self) -> list[dict[str, Any]]:
        """Every recipe that is used or was refused, for the record."""
        return [
            {"changes": sorted(key), "recipe": made and made.to_dict(), "hash": made and made.hash, "refused": why}
            for key, (made, why) in sorted(self.made.items(), key=lambda item: sorted(item[0]))
            if key in self._used or made is None
        ]

    def words(self, seeds: int) -> str:
        """What will be trained."""
        kinds = f"{len(self.kinds)} change{'s' * (len(self.kinds) > 1)}"
        runs = f"{len(self._used) * seeds} runs, and longer ones of what misses the target"
        return f"{len(self._used)} recipes of {kinds} × {seeds} seeds: {runs}"


def _train(
    workload: Workload, made: list[Recipe], times: int, seed: int, name: str, ledger: Ledger, **how: Any
) -> list[Recipe]:
    """Train recipes at a multiple of their budget; those that missed the target then."""
    groups = {f"{name}/{group_of(one.hash, times)}": one for one in made}
    for group, one in groups.items():
        train_once(workload, longer(one, times), seed, group, ledger, **how)
    missed = {run.group for run in load_all(ledger) if run.seed == seed and _missed(run)}
    return [one for group, one in groups.items() if group in missed]


def longer(recipe: Recipe, times: int) -> Recipe:
    """A recipe with so many times its budget."""
    if times == 1:
        return recipe
    name = next(n for n in ("epochs", "steps", "minutes") if getattr(recipe, n) is not None)
    return recipe.replace(**{name: getattr(recipe, name) * times})


def _missed(run: Run) -> bool:
    return run.hit is None and run.state == "finished"


def _check(workload: Workload, seeds: int, orders: int, stretch: int) -> None:
    if workload.target is None:
        raise BadWorkload(f"{workload.name} has no target, so nothing can reach it sooner: give it one")
    for name, value in (("seeds", seeds), ("orders", orders), ("stretch", stretch)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
            raise BadValue(f"{name} must be a whole number from 1 to 1000, not {shorten(value)}")


def _same(ledger: Ledger, plan: dict[str, Any]) -> Path | None:
    """An ablation of the same recipe and base on the same workload, code and machine."""
    for folder in reversed(ledger.ablations):
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        if records and all(records[0].get(key) == value for key, value in plan.items()):
            return folder
    return None


def _known(folder: Path, ledger: Ledger) -> Ablation | None:
    """What an earlier call found, if it came so far."""
    try:
        return Ablation.load(folder, ledger) if attempt_files(folder) else None
    except BadData:
        return None
