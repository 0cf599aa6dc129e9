"""Each shortage is called by its name, and the table says what would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.data.service import Service
from halftime.data.watch import Step
from halftime.diagnose import shortage, starved
from halftime.diagnose.starved import diagnose, of_run
from halftime.methods import SGD, FastLoader
from halftime.report.waiting import waits as page
from tests.conftest import make_task


def step(i: int, wait: float = 0.02, work: float = 0.01, worker: float = 0, **more: Any) -> Step:
    """A step that waited for a batch; `fetch` and `collate` as (on a core, blocked) seconds."""
    fetch, collate, end = more.get("fetch", (0.0, 0.0)), more.get("collate", (0.0, 0.0)), more.get("end", wait)
    busy = more.get("busy", 0.0)
    asked = i * (wait + work)
    done = asked + end
    middle, start = done - sum(collate), done - sum(collate) - sum(fetch)
    samples, slowest = more.get("samples", 8.0), more.get("slowest", 0.0)
    cpu = fetch[0] + collate[0]
    made = Service(worker, start, middle, done, fetch[0], cpu, 0.0, more.get("lined", 0.0), 0.0, samples, slowest)
    seen = more.get("seen", True)
    paid = more.get("paid", wait)
    return Step(
        asked, wait, paid, 0.0, more.get("copy", 0.0), work, work, 0.0, 0.0, i == 0, made if seen else None, "41", busy
    )


CAUSES = {
    "nothing": dict(wait=0.0001, end=0.0, fetch=(0.005, 0.0)),
    "cpu": dict(fetch=(0.03, 0.001)),
    "disk": dict(fetch=(0.001, 0.03)),
    "collate": dict(fetch=(0.001, 0.001), collate=(0.02, 0.0)),
    "copy": dict(wait=0.03, end=-0.001, fetch=(0.001, 0.0), busy=0.02),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_causes(cause: str) -> None:
    found = diagnose([step(i, **CAUSES[cause]) for i in range(60)], workers=1, host_cores=2)
    assert found.cause == cause
    assert found.said in str(found)
    assert [f.name for f in found.table][:4] == ["1 worker", "2 workers", "3 workers", "4 workers"]
    assert all(f.low < f.middle < f.high for f in found.table)


def test_a_made_batch_whose_worker_answers_late_wants_for_the_processor() -> None:
    found = diagnose([step(i, wait=0.03, end=-0.001, fetch=(0.03, 0.0), busy=0.001) for i in range(60)], 1)
    assert found.cause == "cpu"
    assert "a worker's word" in found.said


def test_what_a_record_does_not_tell_widens_the_interval_of_other_worker_counts_only() -> None:
    steps = [step(i, wait=0.02, fetch=(0.004, 0.0), collate=(0.012, 0.0)) for i in range(60)]
    tied = diagnose(steps, workers=2, host_cores=2, ask=(0, 2))
    none, two = tied.table[:2]
    assert none.high / none.middle > 1.05 * two.high / two.middle


def test_the_way_to_the_device_the_start_and_an_unknown_loader() -> None:
    slow_copy = [step(i, wait=0.001, copy=0.02) for i in range(30)]
    assert diagnose(slow_copy, 1).cause == "copy"
    late = [step(i, wait=2.0 if i == 0 else 0.001) for i in range(30)]
    assert diagnose(late, 1).cause == "start"
    found = diagnose([step(i, seen=False) for i in range(30)])
    assert found.cause == "loader"
    assert [f.name for f in found.table] == ["infinitely fast loader"]
    assert found.table[0].middle == pytest.approx(0.01)
    assert "cannot be seen from outside" in str(found)


def test_one_slow_sample_is_named() -> None:
    steps = [step(i, wait=0.0005, fetch=(0.004, 0.0), slowest=0.0005) for i in range(60)]
    for i in (10, 30, 50):
        steps[i] = step(i, wait=0.3, fetch=(0.004, 0.3), slowest=0.3)
    found = diagnose(steps, 2, host_cores=4)
    assert found.cause == "sample"
    assert "sample 41, 300 ms" in found.said


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 1000 kB\nMemAvailable: 10 kB\n")
    assert shortage.memory_short(info)
    info.write_text("MemTotal: 1000 kB\nMemAvailable: 300 kB\n")
    assert not shortage.memory_short(info)
    assert not shortage.memory_short(tmp_path / "none")
    monkeypatch.setattr(shortage, "memory_short", lambda: True)
    assert diagnose([step(i) for i in range(30)]).cause == "memory"


def test_hidden_waiting_is_not_paid() -> None:
    found = diagnose([step(i, paid=0.005) for i in range(30)])
    assert found.paid == pytest.approx(1 / 6)
    assert found.hidden == pytest.approx(1 / 2)
    assert "50.0 % more was hidden" in str(found)


def test_workers_would_help_a_waiting_loader_and_not_a_full_processor() -> None:
    waiting = diagnose([step(i, wait=0.03, fetch=(0.0, 0.03), work=0.01) for i in range(60)], 0, host_cores=2)
    names = {f.name: f.middle for f in waiting.table}
    assert names["4 workers"] < 0.6 * names["1 worker"]
    full = diagnose([step(i, wait=0.03, fetch=(0.03, 0.0), work=0.01) for i in range(400)], 0, host_cores=1)
    names = {f.name: f.middle for f in full.table}
    assert names["4 workers"] > 0.95 * names["1 worker"]


def test_few_steps_are_not_enough() -> None:
    found = diagnose([step(i) for i in range(5)])
    assert found.table == ()
    assert "needs 20 steps" in str(found)
    none = diagnose([])
    assert (none.steps, none.seconds) == (0, 0.0)
    assert str(none).startswith("Nothing has been watched yet: iterate over the loader first.\nNo what-if table")


def test_a_run_records_what_its_steps_waited_for(own_folder: Path) -> None:
    run = ht.train(make_task(), ht.Recipe([SGD(lr=0.1)], steps=30, batch_size=16), quiet=True)
    waits, wholes = dict(run.series("wait")), dict(run.series("step"))
    assert sorted(waits) == sorted(wholes) == list(range(1, 31))
    assert all(0 < (waits[s] or 0) < (wholes[s] or 0) for s in waits)
    assert sum(v or 0 for v in waits.values()) == pytest.approx(run.spans["data"], rel=0.01)
    found = of_run(run)
    assert found is not None
    assert found.steps == 30
    assert starved.UNTOLD in found.notes
    assert of_run(run, on_core=0.5).notes != found.notes  # type: ignore[union-attr]


def test_a_run_that_loads_ahead_records_how_deep_its_queue_was(own_folder: Path) -> None:
    recipe = ht.Recipe([SGD(lr=0.1), FastLoader(workers=1, ahead=3)], steps=30, batch_size=16)
    run = ht.train(make_task(), recipe, quiet=True)
    depths = dict(run.series("queue"))
    assert sorted(depths) == list(range(1, 31))
    assert all(0 <= (v or 0) <= 3 for v in depths.values())
    assert max(v or 0 for v in depths.values()) > 0
    assert "batches ready" in str(page("r", run)["queue"])  # type: ignore[index]
    bare = ht.train(make_task(), ht.Recipe([SGD(lr=0.1)], steps=5, batch_size=16), quiet=True)
    assert not list(bare.series("queue"))
    assert all(s.service is None for s in starved.steps_of(run))
    assert all(s.service is not None for s in starved.steps_of(bare))
    turn = ht.train(make_task(), ht.Recipe([SGD(lr=0.1), FastLoader(workers=0)], steps=5, batch_size=16), quiet=True)
    assert all(s.service is not None for s in starved.steps_of(turn))  # in turn: waiting is making
