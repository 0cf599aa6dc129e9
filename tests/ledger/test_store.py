"""Finding runs by name, and telling the living from the dead."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest

import halftime as ht
from halftime.errors import BadData, StorageError, UnknownName
from halftime.ledger.lines import Writer
from halftime.ledger.store import Ledger, load_all
from halftime.run import SILENT, Run, process_id

ABOUT = {"name": "w", "source": "", "target": 0.9, "better": "higher", "margin": 0.0045, "data": "0"}
HERE = {"host": socket.gethostname(), "process": process_id()}


def begun(ledger, name, **changes):
    """A run's record with its first line, still open."""
    log = Writer(ledger.root / "runs" / name / "attempt-001.jsonl")
    facts = {"workload": ABOUT, "recipe": ht.Recipe(steps=1).to_dict(), "recipe_hash": "0", "seed": 0, "group": ""}
    about = {"run": name, "step": 0, "seconds": 0.0, "device": "cpu", "fingerprint": {}, **HERE}
    log.record("start", **(facts | about | changes))
    return log


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def test_a_run_is_found_by_the_unique_start_of_its_name(ledger):
    for name in ("r260101-000000-aaaa", "r260101-000000-aabb", "r260102-000000-cccc"):
        begun(ledger, name).end("finished")
    assert ledger.run("r260102").id == "r260102-000000-cccc"
    assert ledger.run("r260101-000000-aaaa").id == "r260101-000000-aaaa"
    assert [p.name for p in ledger.runs] == sorted(p.name for p in ledger.runs)
    with pytest.raises(UnknownName, match="could be any of r260101-000000-aaaa, r260101-000000-aabb: give more of it"):
        ledger.run("r260101")
    with pytest.raises(UnknownName, match=re.escape(f"(looked in {ledger.root})")) as unknown:
        ledger.run("r270101")
    assert "\n" not in str(unknown.value)
    with pytest.raises(UnknownName):
        ledger.run("")


def test_a_whole_name_wins_over_a_longer_one(ledger):
    for name in ("r1", "r12"):
        begun(ledger, name).end("finished")
    assert ledger.run("r1").id == "r1"


def test_an_empty_ledger_is_fine(ledger):
    assert ledger.runs == ledger.proofs == load_all(ledger) == []


def test_names_are_new_and_attempts_are_counted(ledger):
    names = {ledger.new("run") for _ in range(50)}
    assert len(names) == 50
    begun(ledger, "r1").end("failed")
    assert ledger.attempt(ledger.find("r1")).name == "attempt-002.jsonl"


def test_a_run_that_was_killed_before_its_first_line_does_not_hide_the_others(ledger):
    begun(ledger, "r1").end("finished")
    for name, content in (("r2", b""), ("r3", b'{"kind":"sta')):
        (ledger.root / "runs" / name).mkdir()
        (ledger.root / "runs" / name / "attempt-001.jsonl").write_bytes(content)
        with pytest.raises(BadData, match=f"{name} has no first line yet") as refused:
            ledger.run(name)
        assert "\n" not in str(refused.value)
    assert [run.id for run in load_all(ledger)] == ["r1"]


def test_a_run_that_cannot_be_read_is_named(ledger):
    begun(ledger, "r1", device=None, recipe={"halftime": 1, "steps": 1, "methods": {}}).end("finished")
    path = ledger.root / "runs" / "r1" / "attempt-001.jsonl"
    path.write_bytes(b'{"kind":"start"}\n')
    with pytest.raises(BadData, match="r1 is not a run's record"):
        load_all(ledger)


def test_a_read_only_folder_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        Ledger(tmp_path / "file" / "ledger").check_writable()
    Ledger(tmp_path / "fresh").check_writable()
    assert list((tmp_path / "fresh").iterdir()) == []


def test_states_told_by_an_end_record(ledger):
    for state in ("finished", "failed", "preempted"):
        log = begun(ledger, f"r-{state}")
        log.end(state, reason="why", step=3, seconds=1.5)
        run = ledger.run(f"r-{state}")
        assert (run.state, run.reason, run.steps, run.seconds, run.intact) == (state, "why", 3, 1.5, True)


def test_a_living_process_is_running(ledger):
    begun(ledger, "r1")
    assert ledger.run("r1").state == "running"
    assert ledger.run("r1").intact is None


def test_a_living_process_that_is_silent_is_still_running_but_says_so(ledger):
    begun(ledger, "r1", t=time.time() - 2 * SILENT)
    run = ledger.run("r1")
    assert run.state == "running"
    assert run.reason.startswith("silent for ")


def test_a_dead_process_is_killed(ledger):
    child = subprocess.run(
        [sys.executable, "-S", "-c", "import os; print(os.getpid())"], capture_output=True, check=True, text=True
    )
    begun(ledger, "r1", process={"pid": int(child.stdout), "born": 1})
    run = ledger.run("r1")
    assert (run.state, run.reason) == ("killed", "its process is gone and left no end record")


def test_another_process_with_the_same_number_is_not_the_run(ledger):
    begun(ledger, "r1", process={"pid": os.getpid(), "born": 1})
    assert ledger.run("r1").state == "killed"


def test_another_machine_is_running_until_it_is_silent_for_long(ledger):
    elsewhere = f"not-{socket.gethostname()}"
    log = begun(ledger, "r1", host=elsewhere, t=time.time() - 2 * SILENT)
    run = ledger.run("r1")
    assert run.state == "lost"
    assert run.reason.endswith("on another machine")
    log.record("beat", step=1, seconds=1.0, held=1.0, spans={}, joules=None)
    assert ledger.run("r1").state == "running"


def test_the_last_attempt_tells_the_state_and_time_is_the_sum(ledger):
    log = begun(ledger, "r1")
    log.end("preempted", step=5, seconds=2.0, held=3.0, spans={"data": 0.5})
    first = ledger.root / "runs" / "r1" / "attempt-001.jsonl"
    second = Writer(ledger.attempt(ledger.find("r1")))
    assert Run.load(first.parent).state == "preempted"  # the second attempt has no line yet
    facts = {
        "workload": ABOUT,
        "recipe": ht.Recipe(steps=9).to_dict(),
        "seed": 0,
        "group": "",
        "device": "cpu",
        "fingerprint": {},
    }
    second.record("start", run="r1", step=5, seconds=2.0, **facts, **HERE)
    second.end("finished", step=9, seconds=4.0, held=2.5, spans={"data": 0.25})
    run = ledger.run("r1")
    assert (run.state, run.attempts, run.steps, run.seconds) == ("finished", 2, 9, 4.0)
    assert run.device_seconds == 5.5
    assert run.spans == {"data": 0.75}
