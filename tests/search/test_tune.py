"""Tuning with real runs: thin ones, of the built-in digits and of a task of four numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.cli import main
from halftime.ledger.store import Ledger, load_all
from halftime.measure.tuned import tune_choices, tuning
from halftime.measure.verify import verify
from halftime.methods import SGD, AdamW, OneCycle
from halftime.places import Method
from halftime.search.phases import SEEDS, Phases, ShuffledTargets
from halftime.search.trials import Job, Result, Taken, Trials
from halftime.search.tune import Tuned, tune
from halftime.workloads import get

FILE = """
import torch
import halftime as ht
x = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
"""
RECIPE = ht.Recipe([SGD(lr=0.01), OneCycle()], steps=96, batch_size=32)


def mine(**changes: object) -> ht.Workload:
    x = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    fields = dict(name="mine", model=lambda: nn.Linear(4, 2), train=(x, (x.sum(1) > 0).long()),
                  valid=(x, (x.sum(1) > 0).long()), loss=nn.functional.cross_entropy, score=ht.accuracy)  # fmt: skip
    return ht.Workload(**{**fields, **changes})  # type: ignore[arg-type]


def tuned(recipe: ht.Recipe = RECIPE, workload: ht.Workload | None = None, **how: object) -> Tuned:
    return tune(workload or mine(), recipe, device="cpu", quiet=True, **how)  # type: ignore[arg-type]


def test_digits_from_a_rate_far_off(own_folder: Path) -> None:
    """From a thousandth of a good rate; the chosen one ends lower than the one it came from, at its price."""
    task = dataclasses.replace(get("digits"), model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    base = ht.Recipe([AdamW(lr=3e-5), OneCycle()], steps=64, batch_size=32)
    found = tuned(base, task)
    assert found.signal
    assert found.cost <= 1.5
    before, after = (ht.train(task, r, 9, device="cpu", quiet=True) for r in (base, found.recipe))
    assert after.evaluations[-1].loss < 0.6 * before.evaluations[-1].loss
    runs = [run for run in load_all(Ledger()) if run.group == f"{found.id}/rate"]
    assert len(runs) == len(found.results)
    assert found.device_seconds == pytest.approx(sum(run.device_seconds for run in runs))
    assert all(len(run.evaluations) == 1 for run in runs)
    assert not verify(Ledger()).wrong


@pytest.mark.parametrize("budget", [{"epochs": 3.0}, {"steps": 96}, {"minutes": 0.004}])
def test_every_kind_of_budget_is_cut_into_shares(budget: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuned(RECIPE.replace(**budget))
    assert found.recipe.replace(steps=1, methods=()) == RECIPE.replace(steps=1, methods=())
    assert found.recipe.budget == RECIPE.replace(**budget).budget
    name, whole = next(iter(budget.items()))
    shares = {job.share for job in found.results}
    cut = {getattr(run.recipe, name) for run in load_all(Ledger())}
    expected = {max(1, round(whole * s)) if name == "steps" else whole * s for s in shares}
    assert cut == expected


def test_random_labels_are_no_signal_and_the_recipe_stays() -> None:
    g = torch.Generator().manual_seed(1)
    y = torch.randint(10, (1024,), generator=g)
    x = torch.randn(1024, 8, generator=g)
    task = mine(name="random", model=lambda: nn.Linear(8, 10), train=(x[:512], y[:512]), valid=(x[512:], y[512:]))
    found = tuned(workload=task)
    assert not found.signal
    assert found.recipe == RECIPE
    assert "no signal" in found.words
    assert tune_choices(Ledger()) == []


@dataclasses.dataclass(frozen=True)
class TwoSpeeds(Method):
    """Biases at a tenth of the rate."""

    lr: float = 0.01
    slot: ClassVar[str] = "optimizer"
    seen: ClassVar[list[float]] = []

    def optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        biases = [p for p in model.parameters() if p.ndim < 2]
        others = [p for p in model.parameters() if p.ndim >= 2]
        made = torch.optim.SGD([{"params": others}, {"params": biases, "lr": self.lr / 10}], lr=self.lr)
        self.seen.append(made.param_groups[1]["lr"] / made.param_groups[0]["lr"])
        return made


def test_each_group_keeps_its_ratio() -> None:
    TwoSpeeds.seen.clear()
    found = tuned(ht.Recipe([TwoSpeeds(), OneCycle()], steps=96, batch_size=32))
    assert found.signal
    assert len(TwoSpeeds.seen) == len(found.results) > 10
    assert TwoSpeeds.seen == pytest.approx([0.1] * len(TwoSpeeds.seen))


def test_weight_decay_comes_before_the_rate_and_batch_size_before_both() -> None:
    found = tuned(RECIPE, weight_decay=True, batch_size=True)
    phases = [json.loads(line)["job"]["phase"] for path in found.folder.glob("attempt-*.jsonl")
              for line in path.read_text().splitlines() if json.loads(line)["kind"] == "try"]  # fmt: skip
    first = {phase: phases.index(phase) for phase in ("batch_size", "weight_decay")}
    assert first["batch_size"] == 0
    assert first["weight_decay"] < len(phases) - 1 - phases[::-1].index("rate")
    assert {job.batch_size for job in found.results if job.phase == "batch_size"} == {16, 32, 64, 128}
    assert {job.weight_decay for job in found.results if job.phase == "weight_decay"} == {0.0, 5e-4}
    assert "weight decay" in found.words
    assert "batch size" in found.words


def test_a_tune_counts_as_tuned_in_proofs() -> None:
    found = tuned()
    proof = ht.prove(mine(target=0.9), RECIPE, found.recipe, 1, device="cpu", quiet=True)
    assert proof.fast.tuning.tuned
    assert "chosen by halftime tune from" in str(proof.fast.tuning)
    assert not proof.base.tuning.tuned
    other = {**proof.workload, "data": "other"}
    assert not tuning(found.recipe, other, [], tune_choices(Ledger())).tuned


def test_interrupted_and_resumed_is_the_same_and_nothing_is_trained_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    import halftime.search.phases as module

    whole, calls, plain = tuned(ledger="other"), iter(range(10**6)), ht.train

    def stops(*arguments: object, **how: object) -> ht.Run:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return plain(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        tuned()
    before = {run.id for run in load_all(Ledger())}
    assert len(before) == 7
    found = tuned()
    assert found.recipe == whole.recipe
    assert {job: result.loss for job, result in found.results.items()} == {
        job: result.loss for job, result in whole.results.items()
    }
    runs = load_all(Ledger())
    assert before < {run.id for run in runs}
    assert len(runs) == len(found.results)
    assert len(list(found.folder.glob("attempt-*.jsonl"))) == 2


def judged(monkeypatch: pytest.MonkeyPatch, of: Callable[[Job], Result]) -> list[tuple[Job, ht.Recipe]]:
    """Jobs are not trained, but get what is said here; the jobs and their recipes, in the order in which they came."""
    seen: list[tuple[Job, ht.Recipe]] = []

    def train(work: Phases, taken: Taken) -> Result:
        seen.append((taken.job, work.short(taken.job)))
        return of(taken.job)

    monkeypatch.setattr(Phases, "train", train)
    return seen


def learns(job: Job) -> Result:
    """Double the batch size is better and makes five steps where the own made six."""
    if job.control:
        return Result(9.0, 1, 1.0)
    if job.phase == "batch_size":
        return Result(0.5 if job.batch_size == 64 else 1.0, 20 if job.batch_size == 64 else 24, 1.0)
    return Result(1.0 + abs(math.log(job.rate)), 1, 1.0)


@pytest.mark.parametrize("budget", [{"steps": 96}, {"epochs": 6.0}, {"minutes": 1.0}])
def test_after_the_size_shares_are_those_of_its_budget(
    budget: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = judged(monkeypatch, learns)
    found = tuned(RECIPE.replace(**budget), batch_size=True, weight_decay=True)
    assert found.recipe.batch_size == 64
    name = next(iter(budget))
    whole = getattr(found.recipe, name)
    assert whole == {"steps": 80, "epochs": 10.0, "minutes": 1.0}[name]
    later = [(job, recipe) for job, recipe in seen if job.phase != "batch_size"]
    assert len(later) > 10
    for job, recipe in later:
        expected = max(1, round(whole * job.share)) if name == "steps" else whole * job.share
        assert (recipe.batch_size, getattr(recipe, name)) == (64, pytest.approx(expected))


def test_what_is_compared_at_equal_minutes_is_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[int] = []
    take = Trials.take

    def looks(trials: Trials, jobs: Sequence[Job]) -> Taken | None:
        wanted.append(len(jobs) if jobs[0].phase == "batch_size" else 0)
        return take(trials, jobs)

    judged(monkeypatch, learns)
    monkeypatch.setattr(Trials, "take", looks)
    tuned(batch_size=True)
    assert [n for n in wanted if n] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_size_that_does_not_fit_is_a_result(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    import halftime.search.phases as module

    def fits(workload: ht.Workload, recipe: ht.Recipe, *more: object, **how: object) -> ht.Run:
        if recipe.batch_size > 64:
            raise error
        return ht.train(workload, recipe, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", fits)
    found = tuned(batch_size=True)
    sizes = {job.batch_size: result.loss for job, result in found.results.items() if job.phase == "batch_size"}
    assert [size for size, loss in sizes.items() if loss == math.inf] == [128]


def test_nothing_is_judged_on_the_seeds_of_a_tune() -> None:
    tuned(weight_decay=True, batch_size=True)
    seeds = {run.seed for run in load_all(Ledger())}
    assert {seed - SEEDS for seed in seeds} == {0, 1, 2, 3, 4}
    assert min(seeds) > 61_000  # where those of proofs, searches and ablations end


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "halftime", "tune", "mine.py", "--recipe", "r.json", "--device", "cpu", *more]


def test_a_killed_process_is_followed_and_two_share(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is killed at work; two that come later share the rest, and each training is in one place."""
    slow = "\nimport time\nplain = ht.accuracy\ndef score(o, t):\n    time.sleep(0.05)\n    return plain(o, t)\n"
    slow += "import dataclasses\nworkload = dataclasses.replace(workload, score=score, target=None)\n"
    (own_folder / "mine.py").write_text(FILE + slow)
    (own_folder / "r.json").write_text(RECIPE.to_json())
    root = Path(ht.__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command(), env=env, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for _ in range(3):
        assert "loss" in first.stderr.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    other = subprocess.Popen(command("--json"), env=env, stdout=subprocess.PIPE, text=True)
    for _ in range(600):
        if len(list((Ledger().root / "tunes").rglob("attempt-*.jsonl"))) == 2:
            break
        time.sleep(0.1)
    assert call(*command("--json")[3:]) == 0
    shown = [json.loads(capsys.readouterr().out), json.loads(other.communicate(timeout=100)[0])]
    assert shown[0]["tune"] == shown[1]["tune"]
    assert shown[0]["recipe"] == shown[1]["recipe"]
    assert shown[0]["tries"] == shown[1]["tries"]
    ended = [run for run in load_all(Ledger()) if run.state == "finished"]
    assert len(ended) == len(shown[0]["tries"])
    files = sorted((Ledger().root / "tunes" / shown[0]["tune"]).glob("attempt-*.jsonl"))
    done = [sum('"kind":"try"' in line for line in path.read_text().splitlines()) for path in files]
    assert len(files) == 3
    assert sum(done) in (len(ended), len(ended) - 1)  # one may have ended just before the kill


def test_helpers_end_at_once_with_the_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is still at its start would find no tune to join, and begin another."""
    from halftime.cli import tune as verb

    real, started = subprocess.Popen, []

    def begins(_: list[str], **how: Any) -> Any:
        started.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **how))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", begins)
    given = argparse.Namespace(
        workload="digits", weight_decay=False, batch_size=False, recipe=None, device=None, processes=3
    )
    began = time.monotonic()
    with verb._helpers(given):
        assert [helper.poll() for helper in started] == [None, None]
    assert [helper.returncode for helper in started] == [-signal.SIGTERM] * 2
    assert time.monotonic() - began < 20


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


def test_the_command_prints_a_table_and_writes_the_recipe(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "mine.py").write_text(FILE)
    (own_folder / "r.json").write_text(RECIPE.to_json())
    assert call("tune", "mine.py", "--recipe", "r.json", "--device", "cpu", "--out", "tuned.json") == 0
    shown = capsys.readouterr()
    assert "device-seconds" in shown.out
    assert "shuffled" in shown.out
    assert "of the budget" in shown.err
    written = ht.Recipe.from_json((own_folder / "tuned.json").read_text())
    assert written.steps == RECIPE.steps
    assert written != RECIPE
    assert call("train", "mine.py", "--recipe", "tuned.json", "--json") == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("recipe", "more", "words"),
    [
        ('{"methods": {"OneCycle": {}}, "steps": 96}', [], "no optimizer method in this recipe"),
        ('{"methods": {"SGD": {}}, "steps": 8}', [], "too few to try shares"),
        ('{"methods": {"SGD": {}}, "steps": 96}', ["--out", "no/t.json"], "that folder does not exist"),
        ('{"methods": {"SGD": {}}, "steps": 96}', ["--processes", "0"], "--processes must be at least 1"),
        ('{"methods": {"SGD": {}}, "steps": 96}', ["--batchsize"], "did you mean '--batch-size'"),
    ],
)
def test_bad_input_is_one_line(
    recipe: str, more: list[str], words: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "mine.py").write_text(FILE)
    (own_folder / "r.json").write_text(recipe)
    assert call("tune", "mine.py", "--recipe", "r.json", *more) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not list(own_folder.rglob("attempt*"))


def test_an_optimizer_without_weight_decay_says_so() -> None:
    with pytest.raises(ht.InputError, match="TwoSpeeds has no field weight_decay"):
        tuned(ht.Recipe([TwoSpeeds()], steps=96), weight_decay=True)


def test_shuffled_targets_are_the_same_targets() -> None:
    inputs, targets = torch.arange(50), {"a": torch.arange(50), "b": torch.arange(50) * 2}
    same, other = ShuffledTargets().batch(inputs, targets, 0.0)
    assert torch.equal(same, inputs)
    assert sorted(other["a"].tolist()) == list(range(50))
    assert torch.equal(other["b"], other["a"] * 2)
    assert not torch.equal(other["a"], targets["a"])
