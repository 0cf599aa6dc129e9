"""Workers: processes here, those that are killed, those that are left alone, and a Ray cluster where Ray is there."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.cli import main
from halftime.errors import BadValue, BadWorkload, StorageError
from halftime.ledger.lines import read
from halftime.ledger.store import Ledger, load_all
from halftime.measure.verify import verify
from halftime.methods import SGD, OneCycle
from halftime.run import Run
from halftime.search import engine as engines
from halftime.search.engine import Answer, Pool, content, perform
from halftime.search.engine_local import Workers
from halftime.search.engine_ray import Cluster, files, merge
from halftime.search.journal import Journal
from halftime.search.view import View
from halftime.search.work import Job, Place, Work, in_turn
from halftime.workloads.source import find

FILE = """
import dataclasses, os, signal, time
from pathlib import Path
import torch
import halftime as ht

x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
print("what a file prints disturbs nobody")

@dataclasses.dataclass(frozen=True)
class Deadly(ht.Method):
    '''Kills its process so often, in the middle of a training.'''
    times: int = 1
    def after_step(self, progress):
        for k in range(self.times * (progress > 0.5)):
            mark = Path(__file__).with_name(f"killed-{k}")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

@dataclasses.dataclass(frozen=True)
class Slow(ht.Method):
    def after_step(self, progress):
        time.sleep(0.05)

methods = (Deadly, Slow)
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y), target=0.9,
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, evaluations=3)
"""
BASE = ht.Recipe([SGD(lr=0.1), OneCycle()], steps=24, batch_size=32)


@pytest.fixture
def mine(own_folder: Path) -> tuple[Place, tuple[Any, ...]]:
    """A place for jobs of a workload in a file, and the methods of it."""
    Path("mine.py").write_text(FILE)
    workload, methods, source = find("mine.py")
    return Place(workload, Ledger(), Ledger().new("search").name, "cpu", source), methods


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """The same for all tests: to start takes longer than to train."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    with Workers(2, "cpu") as found:
        yield found


def pid_of(run: Run) -> int:
    records, _ = read(run.folder / "attempt-001.jsonl")
    return int(records[0]["process"]["pid"])


def wait_for_steps(place: Ledger, runs: int = 1) -> None:
    """Until so many runs have written of steps, and so would save what they have when they are stopped."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(len(read(f / "attempt-001.jsonl")[0]) > 1 for f in place.runs) >= runs:
            return
        time.sleep(0.05)
    raise TimeoutError("no worker has begun")


def bare(trials: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(t.stage, t.recipe, t.seed, t.steps, t.state, t.score, t.loss) for t in trials]


def test_workers_train_what_one_process_trains(mine: tuple[Place, Any], workers: Workers) -> None:
    """The same scores to the last bit, in order; each on cores that the record names; judged ones stay here."""
    place, _ = mine
    recipes = [BASE, BASE.replace(steps=12), BASE.minus("OneCycle")]
    jobs = [Job("methods", recipe, seed) for recipe in recipes for seed in (0, 1)] + [Job("base", BASE, 7, judged=True)]
    found = list(workers(place, jobs))
    pids = {w.process.pid for w in workers._workers if w}
    assert bare(found) == bare(list(in_turn(dataclasses.replace(place, ledger=Ledger("alone")), jobs)))
    runs = {run.id: run for run in load_all(place.ledger)}
    assert [runs[t.run].seed for t in found] == [0, 1, 0, 1, 0, 1, 7]
    cores = {run.fingerprint["machine"]["cores"] for run in runs.values() if run.group.endswith("methods")}
    assert cores == {len(os.sched_getaffinity(0)) // 2}
    assert {run.fingerprint["machine"]["threads"] for run in runs.values()} == {1}
    assert len(pids) == 2
    started = {pid_of(run) for run in runs.values()}
    assert started == pids | {os.getpid()}
    assert not verify(place.ledger).wrong
    again = list(workers(place, jobs, load_all(place.ledger)))  # what a killed search had finished is not done again
    assert [t.run for t in again] == [t.run for t in found]
    assert {w.process.pid for w in workers._workers if w} == pids  # nor asked for


def test_a_killed_workers_trial_is_run_again(mine: tuple[Place, Any], workers: Workers) -> None:
    """As a further attempt of the same run, which the search notes; its neighbours do not notice."""
    place, (deadly, _) = mine
    work = Work(place, Journal(place.ledger, place.ledger.root / "searches" / place.search), View(True), 60.0, workers)
    work.stage = "methods"
    with work.journal.log:
        found = work.together([(BASE.plus(deadly()), 0), (BASE, 0), (BASE, 1)])
    assert [t.state for t in found] == ["finished"] * 3
    again = place.ledger.run(found[0].run)
    assert again.attempts == 2
    assert [place.ledger.run(t.run).attempts for t in found[1:]] == [1, 1]
    assert work.notes == [f"{again.id}: 1 worker died over it; it was trained again"]
    assert len(load_all(place.ledger)) == 3


def test_a_trial_that_kills_every_worker_is_a_result(
    mine: tuple[Place, Any], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, (deadly, _) = mine
    monkeypatch.setattr(engines, "LOST", 2)  # to start takes seconds
    lost, other = workers(place, [Job("methods", BASE.plus(deadly(times=9)), 0), Job("methods", BASE, 0)])
    assert (lost.state, other.state) == ("lost", "finished")
    assert lost.reason == "its worker died (signal 9, perhaps for want of memory), as 1 before it did"
    assert not lost.ended
    (run,) = [run for run in load_all(place.ledger) if len(run.recipe.methods) == 3]
    assert (run.attempts, run.state) == (2, "killed")


def test_who_leaves_early_leaves_nothing_running(mine: tuple[Place, Any], workers: Workers) -> None:
    """Such as a search whose minutes are over; what was stopped is saved and can be gone on with."""
    place, (_, slow) = mine
    trials = workers(place, [Job("methods", BASE, 0), Job("methods", BASE.plus(slow()).replace(steps=900), 0)])
    assert next(trials).state == "finished"
    (busy,) = [w for w in workers._workers if w and w.number is not None]
    wait_for_steps(place.ledger, 2)
    trials.close()  # type: ignore[attr-defined]
    assert busy.process.poll() is not None
    assert {run.state for run in load_all(place.ledger)} == {"finished", "preempted"}


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(text) for text in found.split()]


def test_ctrl_c_ends_a_search_and_its_workers(mine: tuple[Place, Any]) -> None:
    """In one line, with exit code 130; what was being trained is saved."""
    Path("base.json").write_text(BASE.plus(mine[1][1]()).replace(steps=4000).to_json())
    call = [sys.executable, "-m", "halftime", "search", "mine.py", "--base", "base.json", "--minutes", "5"]
    process = subprocess.Popen([*call, "--device", "cpu", "--workers", "2"], stderr=subprocess.PIPE, text=True)
    wait_for_steps(Ledger(), 2)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "the same call with --resume goes on with it" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert "preempted" in {run.state for run in load_all(Ledger())} <= {"finished", "preempted"}


def test_a_worker_ends_where_nobody_is_left_to_tell_it_what_to_do(mine: tuple[Place, Any], workers: Workers) -> None:
    """As when the searching process is killed: its input ends, so it saves what it trains, and ends."""
    place, (_, slow) = mine
    workers.begin(0, content(place, Job("rate", BASE.plus(slow()).replace(steps=900), 0)))
    (busy,) = [w for w in workers._workers if w and w.number is not None]
    wait_for_steps(place.ledger)
    assert busy.process.stdin is not None
    busy.process.stdin.close()
    busy.process.wait(20)
    assert [run.state for run in load_all(place.ledger)] == ["preempted"]
    workers.stop()


class Fake(Pool):
    """Answers at once, the newest job first, and keeps what it was asked for."""

    def __init__(self, each: bool) -> None:
        super().__init__(4, each, "four, thought up")
        self.jobs: list[tuple[int, Answer]] = []
        self.asked: list[tuple[str, int]] = []

    def free(self) -> bool:
        return len(self.jobs) < self.workers

    def begin(self, number: int, job: Answer) -> None:
        self.jobs.append((number, job))
        self.asked.append((job["job"]["stage"], job["job"]["seed"]))

    def wait(self, place: Place) -> tuple[int, Answer | None, str]:
        number, job = self.jobs.pop()
        return number, json.loads(json.dumps(perform(json.loads(json.dumps(job))))), ""

    def stop(self) -> None:
        self.jobs.clear()


@pytest.mark.parametrize("each", [True, False])
def test_what_is_timed_shares_the_machine_with_nobody(mine: tuple[Place, Any], each: bool) -> None:
    """Unless each worker has a device of its own; a budget in minutes is timed even then. Order is kept."""
    place, pool = mine[0], Fake(each)
    jobs = [Job("rate", BASE, 0), Job("base", BASE, 1, judged=True), Job("rate", BASE, 2), Job("rate", BASE, 3)]
    jobs.append(Job("base", BASE.replace(minutes=0.002), 4))
    assert [t.seed for t in pool(place, jobs)] == [0, 1, 2, 3, 4]
    assert [seed for _, seed in pool.asked] == ([0, 1, 2, 3] if each else [0, 2, 3])
    assert ("alone" in pool.words) != each


def test_what_is_wrong_there_is_said_here(mine: tuple[Place, Any]) -> None:
    """Another workload than the one that was given, a method that nobody knows there, one without a source."""
    place, pool = mine[0], Fake(True)
    other = dataclasses.replace(place, workload=dataclasses.replace(place.workload, target=0.8))
    with pytest.raises(BadWorkload, match=r"finds as .*mine\.py has another target"):
        list(pool(other, [Job("rate", BASE, 0)]))
    with pytest.raises(BadWorkload, match="an object: give source"):
        list(pool(dataclasses.replace(place, source=""), [Job("rate", BASE, 0)]))
    asked = content(place, Job("rate", BASE, 0))
    asked["job"]["recipe"]["methods"]["Nobody"] = {}
    assert "there is no method 'Nobody'" in perform(asked)["wrong"]


def test_bad_numbers_of_workers_are_refused(mine: tuple[Place, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for count in (0, -1, 10_000, True):
        with pytest.raises(BadValue, match="from 1 to"):
            Workers(count, "cpu")
    for wrong, words in ((["--on", "rya"], "did you mean 'ray'"), (["--workers", "0"], "from 1 to")):
        with pytest.raises(SystemExit) as left:
            main(["search", "mine.py", "--minutes", "1", *wrong])
        assert left.value.code == 2
        assert words in capsys.readouterr().err
    assert not Ledger().searches


def test_without_ray_one_line_says_what_to_install(
    mine: tuple[Place, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as left:
        main(["search", "mine.py", "--minutes", "1", "--on", "ray"])
    assert left.value.code == 2
    assert capsys.readouterr().err == "halftime: --on ray needs Ray: pip install ray\n"
    assert not Ledger().searches


def test_files_that_are_sent_back_make_the_same_ledger(mine: tuple[Place, Any]) -> None:
    place = mine[0]
    (trial,) = in_turn(place, [Job("rate", BASE, 0)])
    sent = files(place.ledger.root)
    assert [Path(name).name for name in sent] == ["weights.safetensors", "attempt-001.jsonl"]
    merge(Path("merged"), sent)
    merge(Path("merged"), sent)
    assert Ledger("merged").run(trial.run).intact
    assert Ledger("merged").run(trial.run).score == trial.score
    for name in ("runs/../x", "../runs/x", "runs/x/y/z", "/runs/x", "proofs/x/y"):
        with pytest.raises(StorageError, match="no file of a run"):
            merge(Path("merged"), {name: b""})


CLUSTER = """
import sys
from pathlib import Path
from halftime.ledger.store import Ledger, load_all
from halftime.search import engine_ray
from halftime.search.work import Job, Place
from halftime.workloads.source import find
from tests.search.test_engine import BASE

if __name__ == "__main__":
    workload, (deadly, _), source = find("mine.py")
    place = Place(workload, Ledger(), Ledger().new("search").name, "cpu", source)
    with engine_ray.Cluster(2, "cpu") as engine:
        if sys.argv[1] == "apart":
            begin = engine._task.remote
            engine._task.remote = lambda asked: begin({**asked, "mark": "/nowhere"})
        jobs = [Job("rate", BASE.plus(deadly(times=1)), 0), *(Job("rate", BASE, seed) for seed in range(3))]
        for trial in engine(place, jobs):
            run = place.ledger.run(trial.run)
            print(trial.seed, trial.state, run.attempts, run.intact, trial.reason, sep="|")
    print([str(path) for path in Path(place.ledger.root).glob(".pool-*")])
"""


@pytest.mark.parametrize("where", ["shared", "apart"])
def test_a_killed_trial_of_a_ray_cluster_is_run_again(mine: tuple[Place, Any], where: str) -> None:
    """On real workers of a cluster on this machine; also where they do not see the ledger and send their files."""
    pytest.importorskip("ray")
    Path("cluster.py").write_text(CLUSTER)
    root = Path(__file__).parent.parent.parent
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "cluster.py", where], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": paths}, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "|" in line or line == "[]"]
    again = "1 worker died over it; it was trained again"
    attempts = 2 if where == "shared" else 1
    assert lines == [f"0|finished|{attempts}|None|{again}" if attempts == 2 else f"0|finished|1|True|{again}",
                     *(f"{seed}|finished|1|True|" for seed in range(3)), "[]"]  # fmt: skip


def test_a_search_runs_through_a_ray_cluster(mine: tuple[Place, Any]) -> None:
    """The command as a user gives it; every training that is not timed comes from a worker of the cluster."""
    pytest.importorskip("ray")
    Path("base.json").write_text(BASE.replace(steps=48).to_json())
    call = [sys.executable, "-m", "halftime", "search", "mine.py", "--base", "base.json", "--methods", "ClipGradients"]
    done = subprocess.run([*call, "--minutes", "1", "--device", "cpu", "--on", "ray", "--workers", "2"], check=False,
                          capture_output=True, text=True, timeout=170)  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert "2 workers on a Ray cluster of 1 machine" in done.stderr
    runs: list[Run] = load_all(Ledger())
    assert len(runs) > 8
    assert {run.state for run in runs} <= {"finished", "failed"}
    pids = Counter(map(pid_of, runs))
    assert len(pids) >= 3
    assert not verify(Ledger()).wrong
    assert not isinstance(Cluster, Workers)
