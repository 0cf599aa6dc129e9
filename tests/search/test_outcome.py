"""What a search says at its end: what it cost on all its devices, when that pays back, and how far it got."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from halftime.errors import BadWorkload
from halftime.ledger.store import Ledger
from halftime.search import outcome
from halftime.search import search as searching
from halftime.search.engine_local import Workers
from halftime.search.journal import records
from halftime.search.records import Trial
from halftime.search.start import Start
from halftime.search.view import View
from halftime.search.work import OutOfTime
from tests.search.planted import BASE, Crash, searched, task
from tests.search.test_machine import Turns
from tests.search.test_search import RATELESS
from tests.search.test_search_parts import work

MADE: dict[str, Any] = {
    "id": "p0", "verdict": "proved", "words": "proved", "ratio": [3.0, 2.0, None], "device_seconds": 5.0,
    "times": [8.0, 3.0], "bound": 8.0, "missed": False, "pair": 1.0,
}  # fmt: skip
BEGAN = Start(BASE, 64, (), 0.0, None)


def killed(*_: Any) -> Any:
    raise KeyboardInterrupt


def late(*_: Any) -> Any:
    raise OutOfTime


def test_more_devices_pay_back_later(tmp_path: Path) -> None:
    backs = []
    for devices in (1, 4):
        around = work(tmp_path / str(devices))
        around.view, around.journal.spent = View(True, 3.0, devices), 50.0
        found = outcome._with_proof(around, BEGAN, BASE.replace(steps=40), MADE)
        backs.append(found.pays_back)
        assert ("of 4 devices" in found.words) == (devices == 4)
        priced = dataclasses.replace(found, price=3.0, devices=devices)
        assert priced.money == pytest.approx(3.0 * devices * found.seconds / 3600)
    assert backs == [10, 40]
    assert View(False, 3600.0, 4).money(2.0) == " · 8.00 spent"


def test_what_saves_nothing_does_not_pay_back(tmp_path: Path) -> None:
    found = outcome._with_proof(work(tmp_path), BEGAN, BASE, {**MADE, "times": [3.0, 3.0]})
    assert found.pays_back is None
    assert "None" not in found.words
    assert "which no training is known to save" in found.words


def test_a_search_that_goes_on_keeps_its_price_and_its_devices(
    monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    monkeypatch.setattr(searching, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(price=2.5, engine=Turns())
    (folder,) = Ledger().searches
    assert (records(folder)[0]["price"], records(folder)[0]["devices"]) == (2.5, 2)
    monkeypatch.setattr(searching, "start", late)
    found = searched(resume=True, minutes=None)
    assert (found.price, found.devices) == (2.5, 2)
    (line,) = [one for one in records(folder) if one["kind"] == "found"]
    assert (line["price"], line["devices"]) == (2.5, 2)


def test_workers_on_one_machine_hold_one_device() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    with Workers(2, "cpu") as engine:
        assert (engine.workers, engine.held) == (2, 1)
    assert Turns().held == 2


def seen(around: Any, *trials: Trial) -> None:
    for trial in trials:
        around.journal.once(f"trial {trial.recipe} {trial.seed}", lambda one=trial: dataclasses.asdict(one))


def test_the_end_of_the_time_says_how_far_the_best_got(tmp_path: Path) -> None:
    """A lower score is better here: 0.4 after 100 steps and 0.3 after 200, so 0.1 would take 800."""
    around = work(tmp_path)
    assert outcome.so_far(around) == ""
    seen(around, Trial("", "a", 0, 100, score=0.4), Trial("", "b", 0, 200, score=0.3),
         Trial("", "c", 0, 200, state="failed"))  # fmt: skip
    said = outcome.so_far(around)
    assert said == "; the best so far ended at 0.3 after 200 steps, the target 0.1 would likely take 800"
    seen(around, Trial("", "d", 0, 220, score=0.09, hit=1.0))
    assert outcome.so_far(around) == "; the best so far ended at 0.09 after 220 steps, the target 0.1 is met"
    alone = work(tmp_path / "alone")
    seen(alone, Trial("", "a", 0, 100, score=0.4))
    assert "is far off" in outcome.so_far(alone)


def test_a_search_whose_time_is_over_names_its_best(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    def trained(around: Any, base: Any) -> Any:
        around.train(base, [0])
        raise OutOfTime

    monkeypatch.setattr(searching, "start", trained)
    found = searched()
    assert found.verdict == "too short"
    assert "give at least twice as many; the best so far ended at" in found.words


def test_a_base_without_a_target_whose_pilots_fail_is_one_line() -> None:
    for kind in ("nan", "crash"):
        with pytest.raises(BadWorkload, match=r"no run of the base ended: (failed|crashed)"):
            searched(task(target=None), RATELESS.plus(Crash(kind=kind)))
