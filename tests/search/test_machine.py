"""Settings of the process: a search goes on with those it began with, whatever holds where it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from halftime.ledger.store import Ledger
from halftime.run import Run
from halftime.search.engine import Answer, Pool
from halftime.search.journal import Journal
from halftime.search.machine import PRECISE, kept_settings, named, settings, try_settings
from halftime.search.records import Trial
from halftime.search.view import View
from halftime.search.work import Engine, Job, Place, Work, in_turn
from tests.search.planted import BASE, searched
from tests.search.test_search_parts import EVEN, work


class Turns(Pool):
    """Workers by name; this process trains."""

    def __init__(self) -> None:
        super().__init__(2, False, "two workers")

    def __call__(self, place: Place, jobs: Sequence[Job], before: Sequence[Run] = ()) -> Iterator[Trial]:
        return in_turn(place, jobs, before)

    def check(self, source: str) -> None:
        """Any workload will do."""

    def free(self) -> bool:
        return True

    def begin(self, number: int, job: Answer) -> None:
        raise NotImplementedError

    def wait(self, place: Place) -> tuple[int, Answer | None, str]:
        raise NotImplementedError

    def stop(self) -> None:
        """Nothing runs."""


@pytest.mark.parametrize(("first", "second"), [(in_turn, Turns()), (Turns(), in_turn)])
def test_a_search_goes_on_with_workers_where_there_were_none_and_without(
    first: Engine, second: Engine, monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    """Settings are tried where the first attempt tried them: what was decided then is decided again."""
    tried: list[str] = []

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("halftime.search.search.try_settings", lambda work, _: tried.append(work.place.search))
    monkeypatch.setattr("halftime.search.search.start", killed)
    for engine, resume in ((first, False), (second, True)):
        with pytest.raises(KeyboardInterrupt):
            searched(engine=engine, resume=resume, minutes=None if resume else 3.0, machine=True)
    (folder,) = Ledger().searches
    assert tried == [folder.name] * (0 if isinstance(first, Pool) else 2)


def test_under_another_number_of_threads_no_decision_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halftime.search.machine.pace", lambda *_, **__: EVEN)
    with kept_settings():
        torch.set_num_threads(1)
        around = work(tmp_path)
        around.journal.log.record("start", durable=True)
        try_settings(around, BASE)
        decided = [one.change for one in around.decisions]
        if not decided:
            pytest.skip("one core")
        torch.set_num_threads(int(decided[0].partition(" ")[0]))
        (folder,) = around.place.ledger.searches
        again = Work(around.place, Journal(around.place.ledger, folder), View(quiet=True), 100.0)
        try_settings(again, BASE)
    assert again.decisions == around.decisions


def test_a_setting_is_known_by_its_name() -> None:
    with kept_settings():
        for one in settings(torch.device("cpu")):
            assert named(one.name).written == one.written
            named(one.name).apply()
            assert f"torch.set_num_threads({torch.get_num_threads()})" == one.written
    assert [one.name for one in settings(torch.device("cuda"))] == [PRECISE]
    assert named(PRECISE).written == 'torch.set_float32_matmul_precision("high")'
