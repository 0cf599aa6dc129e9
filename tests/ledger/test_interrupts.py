"""SIGTERM loses no step, wherever it comes; the second Ctrl-C does not wait."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import halftime as ht
from bench.resuming import RECIPES, SEED, STOPPED, workload
from halftime.ledger import checkpoint
from halftime.ledger.interrupts import Interrupts
from halftime.ledger.store import Ledger
from halftime.train import train

RECIPE = RECIPES["AdamW, OneCycle"]
SCRIPT = """
import dataclasses, os, signal, sys, torch
import halftime as ht
from bench.resuming import RECIPES, SEED, STOPPED, Noisy, network, workload
from halftime.ledger import checkpoint
from halftime.train import train

phase, ledger = sys.argv[1:]
seen = 0

def reached(name, times):
    global seen
    seen += name == phase
    if name == phase and seen == times:
        os.kill(os.getpid(), signal.SIGTERM)

class Data(Noisy):
    def batch(self, indices, generator):
        reached("step", 21)
        return super().batch(indices, generator)

def fresh():
    reached("set-up", 1)
    return network()

def score(outputs, targets):
    reached("evaluation", 9)  # of the fourth batch, of three, of the third evaluation
    return ht.accuracy(outputs, targets)

def write(folder, step, state, real=checkpoint.write):
    reached("checkpoint", 17)
    return real(folder, step, state)

torch.set_num_threads(1)
checkpoint.write = write
base = workload()
task = dataclasses.replace(base, model=fresh, train=Data(*base.train.columns), score=score)
try:
    train(task, RECIPES["AdamW, OneCycle"], SEED, device="cpu", ledger=ledger, quiet=True,
          checkpoint_every=0.0 if phase == "checkpoint" else 60.0)
except ht.Stopped:
    sys.exit(STOPPED)
"""


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train(workload(), RECIPE, SEED, device="cpu", ledger=tmp_path_factory.mktemp("straight"), quiet=True)


@pytest.mark.parametrize("phase", ["step", "evaluation", "checkpoint"])
def test_sigterm_loses_no_step(tmp_path, straight, phase):
    code = subprocess.run([sys.executable, "-c", SCRIPT, phase, tmp_path], env=_environment(), timeout=60).returncode
    assert code == STOPPED
    run = Ledger(tmp_path).run(Ledger(tmp_path).runs[0].name)
    assert (run.state, run.reason) == ("preempted", "stopped by SIGTERM")
    assert 0 < run.steps < RECIPE.steps
    assert checkpoint.read(run.folder / "checkpoints")[0] == run.steps
    done = train(workload(), RECIPE, SEED, device="cpu", ledger=tmp_path, quiet=True, resume=run.id)
    assert done.weights.read_bytes() == straight.weights.read_bytes()
    assert len(done.evaluations) == len(straight.evaluations)


def test_sigterm_before_the_first_step_leaves_nothing(tmp_path):
    code = subprocess.run([sys.executable, "-c", SCRIPT, "set-up", tmp_path], env=_environment(), timeout=60).returncode
    assert code == -signal.SIGTERM
    assert Ledger(tmp_path).runs == []


def test_the_first_signal_is_kept_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts() as stop:
        assert stop.signal is None
        signal.raise_signal(signal.SIGINT)
        assert stop.signal is signal.SIGINT
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_nobody_obeyed_reaches_the_caller():
    reached = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == [True]


def test_the_second_ctrl_c_ends_a_run_at_once(tmp_path):
    def twice(outputs, targets):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return ht.accuracy(outputs, targets)

    task = workload()
    calls = iter(range(10**6))
    object.__setattr__(task, "score", lambda o, t: twice(o, t) if next(calls) == 4 else ht.accuracy(o, t))
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(task, RECIPE, SEED, device="cpu", ledger=tmp_path, quiet=True)
    assert not isinstance(stopped.value, ht.Stopped)
    run = Ledger(tmp_path).run(Ledger(tmp_path).runs[0].name)
    assert (run.state, run.reason) == ("killed", "KeyboardInterrupt")  # no result: a resumed proof trains it again


def test_another_thread_is_left_alone():
    found = []

    def work():
        with Interrupts() as stop:
            found.append(stop.signal)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
    assert signal.getsignal(signal.SIGINT) is before


def _environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
