"""Pilots: trained, interrupted, reused, added to, and found again by a sequential proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.ledger.store import Ledger, load_all
from halftime.measure.verify import verify
from halftime.methods import SGD, AdamW, OneCycle
from halftime.run import Run
from halftime.search import prove as module
from halftime.search.pilot import known_noise, pilot
from tests.conftest import make_task

RECIPE = ht.Recipe([AdamW(lr=0.03), OneCycle()], epochs=6)


def test_a_pilot_is_interrupted_resumed_reused_and_added_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, groups = module.train, []

    def sometimes(*args: Any, **kwargs: Any) -> Run:
        if kwargs.get("group"):
            groups.append(kwargs["group"])
            if len(groups) == 2:
                raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "train", sometimes)
    ledger, task = Ledger(tmp_path / "ledger"), make_task(512)
    with pytest.raises(KeyboardInterrupt):
        pilot(task, RECIPE, 3, ledger=ledger, device="cpu", quiet=True)
    name, found = pilot(task, RECIPE, 3, ledger=ledger, device="cpu", quiet=True)
    assert (len(ledger.noises), len(ledger.runs), found.n) == (1, 3, 3)
    assert set(groups) == {f"{name}/pilot"}
    assert {run.seed for run in load_all(ledger)} == {1000, 1001, 1002}
    assert pilot(task, RECIPE, 3, ledger=ledger, device="cpu", quiet=True) == (name, found)  # nothing is trained anew
    assert len(ledger.runs) == 3
    again, more = pilot(task, RECIPE, 4, ledger=ledger, device="cpu", quiet=True)
    assert (again, more.n, len(ledger.runs)) == (name, 4, 4)
    assert known_noise(task, RECIPE, ledger, "cpu") == more
    assert verify(ledger).wrong == []
    with pytest.raises(ht.InputError, match="run `halftime noise`"):
        known_noise(task, RECIPE.replace(epochs=7), ledger, "cpu")


def test_too_few_seeds_are_refused() -> None:
    for seeds in (2, 0, True, 2.5):
        with pytest.raises(ht.InputError, match="seeds must be"):
            pilot(make_task(), ht.Recipe([SGD()], steps=1), seeds)  # type: ignore[arg-type]
