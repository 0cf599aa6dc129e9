"""Ablations written record by record, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from halftime.ledger.lines import Writer
from halftime.ledger.store import Ledger
from halftime.measure import shares
from halftime.measure.ablation import Ablation
from halftime.measure.ablation_runs import digests
from halftime.recipe import Recipe
from halftime.search.ablate_plan import changes, with_some
from tests.report.records import FINGERPRINT, WORKLOAD, curve, write_run

Hits = Sequence[float | None]


def write_ablation(
    ledger: Ledger, base: Recipe, recipe: Recipe, hits: Mapping[frozenset[str], Hits], seeds: int, **about: Any
) -> Ablation:
    """An ablation whose runs first met the target after these seconds (None: missed), by the changes that they have.

    Args:
        ledger: where to.
        base: with none of the changes.
        recipe: with all of them.
        hits: seconds by seed; recipes that are not among them cannot be trained.
        seeds: of each.
        about: refused (why by changes), orders, of.
    """
    folder, kinds = ledger.new("ablation"), changes(base, recipe)
    names = [one.name for one in kinds]
    orders, of = shares.orders_of(names, about.get("orders", 8), lambda key: key in hits)
    made = {key: with_some(base, recipe, [one for one in kinds if one.name in key]) for key in hits}
    recipes = [
        {"changes": sorted(key), "recipe": one.to_dict(), "hash": one.hash, "refused": ""} for key, one in made.items()
    ]
    recipes += [
        {"changes": sorted(key), "recipe": None, "hash": None, "refused": why}
        for key, why in about.get("refused", {}).items()
    ]
    with Writer(ledger.attempt(folder)) as log:
        log.record(
            "start", ablation=folder.name, seeds=list(range(seeds)), wanted=8, stretch=1, workload=WORKLOAD,
            device="cpu", base=base.to_dict(), recipe=recipe.to_dict(), fingerprint=FINGERPRINT,
            changes=[[one.name, one.words] for one in kinds],
        )  # fmt: skip
        log.record("planned", orders=orders, of=of, recipes=recipes)
        for key, times in hits.items():
            for seed, hit in enumerate(times):
                seen = curve(hit, 60.0, 0.93 if hit else 0.85)
                write_run(ledger, made[key], seed, seen, group=f"{folder.name}/{made[key].hash}")
        found = Ablation.load(folder, ledger)
        log.record("judged", words=found.words, runs=digests(found.runs))
        log.end("finished")
    return Ablation.load(folder, ledger)


def some_hits(
    names: Sequence[str], whole: float = 10.0, base: float = 40.0
) -> dict[frozenset[str], list[float | None]]:
    """Three changes or fewer that share a gain evenly, with a little noise between the seeds."""
    import itertools

    found: dict[frozenset[str], list[float | None]] = {}
    for k in range(len(names) + 1):
        seconds = base * (whole / base) ** (k / len(names))
        for key in itertools.combinations(names, k):
            found[frozenset(key)] = [seconds * (1 + 0.01 * ((seed * 7 + k) % 5)) for seed in range(3)]
    return found
