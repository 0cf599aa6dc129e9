"""Runs of an ablation: how they are grouped, which one counts, and what it says of the time to the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from halftime.ledger.lines import nulled, read
from halftime.measure.shares import Cell
from halftime.run import Run, attempt_files

ENDED = ("finished", "failed")


def chained(hashed: str, seed: int, runs: Mapping[tuple[str, int], Run], stretch: int) -> tuple[list[Run], bool]:
    """Runs of a recipe and a seed at ever longer budgets, and whether the last one settles it.

    Args:
        hashed: hash of the recipe.
        seed: of the runs.
        runs: by group (without the ablation's id) and seed.
        stretch: the longest budget, as a multiple.
    """
    chain: list[Run] = []
    for times in budgets(stretch):
        run = runs.get((group_of(hashed, times), seed))
        if run is None:
            return chain, False
        chain.append(run)
        if run.hit or run.state == "failed":
            break
    return chain, True


def budgets(stretch: int) -> list[int]:
    """Multiples of the budget that are tried, one after the other.

    Example:
        >>> budgets(4), budgets(1)
        ([1, 2, 4], [1])
    """
    return [2**i for i in range(stretch.bit_length())]


def group_of(hashed: str, times: int) -> str:
    """The group of the runs of a recipe at a multiple of its budget, within an ablation."""
    return hashed if times == 1 else f"{hashed}x{times}"


def cell(run: Run) -> Cell:
    """What a run says of the time to its target; the later end of the bracket counts, as in a proof."""
    failed = run.state == "failed"
    return Cell(max(run.hit[1] if run.hit else run.seconds, 1e-9), run.hit is not None and not failed, failed)


def digests(runs: Iterable[Run]) -> dict[str, str]:
    """What each run's records digest to, so that a later edit shows."""
    return {run.id: read(attempt_files(run.folder)[-1])[0][-1].get("digest", "") for run in runs}


def finite(one: Any) -> dict[str, Any]:
    """A dataclass as JSON sees it: infinite numbers are null."""
    return dict(nulled(dataclasses.asdict(one)))
