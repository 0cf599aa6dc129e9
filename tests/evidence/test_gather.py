"""A measurement from start to file, on a task of a moment: stopped, gone on with, never trained twice."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from halftime.evidence import gather
from halftime.evidence.gather import LENGTHS, Gathering, TimeUp
from halftime.evidence.grounds import Comparison, Ground
from halftime.evidence.record import written
from halftime.ledger.store import Ledger, load_all
from halftime.measure import prior
from halftime.methods import EMA, SGD, FusedOptimizer, OneCycle, WarmStart
from halftime.places import Method
from halftime.recipe import Recipe
from tests.contract.tasks import task
from tests.measure.test_prior import entry

BASE = Recipe([SGD(lr=0.05), OneCycle()], steps=32, batch_size=16)


def compared(method: Method, **changes: object) -> Comparison:
    workload = task(**({"target": 0.9, "evaluations": 8} | changes))
    where = Ground("bars", lambda: workload, BASE, frozenset({"images", "classes", "labels"}))
    return Comparison(method, where, workload, BASE, BASE.plus(method), None)


@pytest.fixture
def quick(monkeypatch):
    """The search for a rate in no time: it has tests of its own."""

    @dataclasses.dataclass
    class Chosen:
        rate: float = 0.1
        why: str = "a test"

    @dataclasses.dataclass
    class Found:
        chosen: Chosen
        id: str = "t1"
        cost: float = 1.5
        device_seconds: float = 0.1

    asked: list[Recipe] = []

    def tune(workload, recipe, **how):
        asked.append(recipe)
        return Found(Chosen())

    monkeypatch.setattr(gather, "tune", tune)
    return asked


def begun(folder: Path, until: float = 1e18) -> Gathering:
    return Gathering(Ledger(folder), torch.device("cpu"), 2, until, quiet=True)


def test_it_is_measured_once_and_written_down(tmp_path: Path, quick) -> None:
    work = begun(tmp_path)
    assert 0 < work.seconds([compared(EMA())]) < work.seconds([compared(EMA()), compared(FusedOptimizer())])
    found = work.measure(compared(EMA()))
    before = len(load_all(work.ledger))
    assert before == 1 + 2 * 2 * len(LENGTHS)  # the pilot, and of each side two seeds over every length
    again = begun(tmp_path)
    assert again.seconds([compared(EMA())]) == 0
    assert again.measure(compared(EMA()))["arms"] == found["arms"]
    assert len(load_all(again.ledger)) == before
    assert len(quick) == 2  # each side once
    assert found["arms"]["fast"]["recipe"]["methods"]["SGD"]["lr"] == 0.1
    steps = {run.group.split("/")[-1]: (run.steps, run.recipe.get("optimizer").lr) for run in load_all(work.ledger)[1:]}
    assert {one: had[0] for one, had in steps.items()} == {"0.4": 13, "1": 32}
    assert steps["0.4"][1] > steps["1"][1]  # a shorter training bears a higher rate
    assert found["verdict"] in prior.VERDICTS
    assert found["key"] != begun(tmp_path).key(compared(EMA(decay=0.5)))
    path = written(tmp_path / "evidence", "EMA", [found])
    assert json.loads(path.read_text())["method"] == "EMA"
    written(tmp_path / "evidence", "EMA", [{**found, "device": "a GPU"}, found])
    assert [e["device"] for e in prior.evidence("EMA", [tmp_path / "evidence"])] == ["a GPU", "cpu"]


def test_an_entry_of_more_seeds_stays(tmp_path: Path) -> None:
    few, many = (entry("no gain", 1.0, 0.9, 1.1, key=key, seeds=seeds) for key, seeds in (("few", 3), ("many", 5)))
    none = entry("no evidence here", 1.0, None, None, key="none") | {"ratio": None}

    def kept(*entries: dict) -> list[str]:
        for one in entries:
            path = written(tmp_path, "EMA", [one])
        return [one["key"] for one in json.loads(path.read_text())["entries"]]

    assert kept(none, few) == ["few"]
    assert kept(many, few) == ["many"]
    assert kept(many | {"key": "again"}) == ["again"]
    assert kept(none) == ["again"]  # what cannot be measured now was measured then


def test_an_exact_method_is_measured_at_the_rate_of_the_base(tmp_path: Path, quick) -> None:
    found = begun(tmp_path).measure(compared(FusedOptimizer()))
    assert len(quick) == 1
    assert found["arms"]["fast"]["tuning"] == found["arms"]["base"]["tuning"]
    base, fast = (found["arms"][arm] for arm in ("base", "fast"))
    assert [*chain(*fast["scores"])] == pytest.approx([*chain(*base["scores"])], abs=0.05)
    logs = [math.log(b / f) for b, f in zip(chain(*base["seconds"]), chain(*fast["seconds"]), strict=True)]
    assert math.log(found["ratio"]["estimate"]) == pytest.approx(sum(logs) / len(logs))  # the seconds alone count


def test_a_method_that_cannot_work_there_has_no_evidence_and_says_why(tmp_path: Path, quick) -> None:
    work = begun(tmp_path)
    found = work.measure(compared(WarmStart()))
    assert found["verdict"] == "no evidence here"
    assert "WarmStart" in found["words"]
    assert load_all(work.ledger) == []
    assert prior.read(written(tmp_path / "evidence", "WarmStart", [found])) == [found]


def test_a_side_that_ends_without_a_score_leaves_the_interval_open(tmp_path: Path, quick) -> None:
    def nothing(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.full((len(targets),), float("nan"))

    found = begun(tmp_path).measure(compared(EMA(), target=1.0, score=nothing))
    assert found["arms"]["base"]["scores"] == [[None] * len(LENGTHS)] * 2
    assert (found["ratio"]["n"], found["ratio"]["low"], found["ratio"]["high"]) == (0, 0.0, None)
    assert (found["verdict"], found["quality"]) == ("no gain", None)


def test_a_training_that_diverges_on_its_way_has_no_score(tmp_path: Path, quick) -> None:
    """Its last score and its few seconds would look like a gain; so too of a method that says it is exact."""

    @dataclasses.dataclass(frozen=True)
    class Diverging(Method):
        exact: ClassVar[bool] = True

        def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
            return inputs * (float("nan") if progress > 0.6 else 1.0), targets

    work = begun(tmp_path)
    found = work.measure(compared(Diverging()))
    assert {*chain(*found["arms"]["fast"]["states"])} == {"failed"}
    assert {*chain(*found["arms"]["fast"]["scores"])} == {None}
    assert (found["verdict"], found["ratio"]["low"]) == ("no gain", 0.0)
    assert "failed: 2 fast runs" in found["words"]


def test_when_the_time_is_up_nothing_begins(tmp_path: Path, quick) -> None:
    with pytest.raises(TimeUp):
        begun(tmp_path, time.monotonic()).measure(compared(EMA()))
    assert load_all(Ledger(tmp_path)) == []
