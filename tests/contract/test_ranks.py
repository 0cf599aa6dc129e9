"""Two processes that train together on the CPU: the same run as one process with the same global batch, to rounding."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from halftime.methods import ALL, EMA, SGD, MultiDevice

from .ranks import uneven, what
from .tasks import setting_of, task, weights

ROOT = Path(__file__).parents[2]
# what is proved below, and no more: a method that says so of itself must be a job, and every job must be said
JOBS = [[kind.__name__, how] for kind in ALL for how in kind.devices]
UNPROVED = [kind for kind in ALL if "replicate" not in kind.devices and "cuda" not in kind.needs]


def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def started(*arguments: str, world: int = 2, **changes: str) -> list[subprocess.Popen[str]]:
    """What `torchrun` does, without its second import of torch."""
    shared = {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port(),
    }
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}
    return [
        subprocess.Popen([sys.executable, *arguments], env=os.environ | shared | {"RANK": str(r), "LOCAL_RANK": str(r)},
                         cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for r in range(world)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    return [(p.returncode, *said) for p, said in [(p, p.communicate(timeout=120)) for p in processes]]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[Any]]]:
    """Every job, trained by two processes that are started once."""
    folder = tmp_path_factory.mktemp("together")
    jobs = [*JOBS, *([kind.__name__, "replicate"] for kind in UNPROVED)]
    for code, _, errors in ended(started("-m", "tests.contract.ranks", str(folder), json.dumps(jobs))):
        assert code == 0, errors
    first, second = (json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    return folder, first


def test_two_ranks_give_the_run_of_one(together: tuple[Path, list[list[Any]]], tmp_path: Path) -> None:
    folder, found = together
    proved, alone = 0, dict[str, ht.Run]()
    for kind, how, run in found:
        if [kind, how] not in JOBS:
            continue
        if kind not in alone:
            alone[kind] = ht.train(uneven(), what(kind, how), 3, device="cpu", ledger=tmp_path, quiet=True)
        two, one = ht.Ledger(folder).run(run), alone[kind]
        assert two.state == one.state == "finished", f"{kind}, {how}: {two.reason}"
        losses = [[value for _, value in run.series("loss")] for run in (two, one)]
        rough = 10 if kind == "MixedPrecision" else 1  # 16 bits round differently in batches of another size
        assert losses[0] == pytest.approx(losses[1], rel=rough * 1e-3, abs=1e-4), f"{kind}, {how}"
        assert two.series("lr") == one.series("lr")
        assert two.receipt == one.receipt
        for this, that in zip(two.evaluations, one.evaluations, strict=True):
            assert this.loss == pytest.approx(that.loss, rel=rough * 1e-3), f"{kind}, {how}"
            assert this.score == pytest.approx(that.score, abs=rough * 0.002), f"{kind}, {how}"  # one of 600 samples
        for key, value in weights(one).items():
            assert torch.allclose(weights(two)[key], value, rtol=rough * 1e-2, atol=rough * 1e-3), (
                f"{kind}, {how}: {key}"
            )
        proved += 1
    assert proved == len(JOBS) >= 20


def test_what_is_not_proved_is_refused_by_name(together: tuple[Path, list[list[Any]]]) -> None:
    said = {kind: text for kind, how, text in together[1] if [kind, how] not in JOBS}
    assert said.keys() == {kind.__name__ for kind in UNPROVED}
    assert len(said) > 0
    for kind, text in said.items():
        assert text.startswith(f"BadRecipe: {kind} is not proved on several devices that replicate"), text


def test_one_rank_writes_and_the_scaling_efficiency_is_told(together: tuple[Path, list[list[Any]]]) -> None:
    folder, found = together
    ran = [run for kind, how, run in found if [kind, how] in JOBS]
    assert len(ht.Ledger(folder).runs) == len(ran)  # not twice as many
    run = ht.Ledger(folder).run(ran[0])
    (line,) = [text for text in run.events if text.startswith("MultiDevice: 2 ranks, ")]
    assert "samples a second in all" in line
    assert "scaling efficiency" in line
    assert run.intact


def test_a_layer_that_overflows_on_one_rank_is_raised_on_all(together: tuple[Path, list[list[Any]]]) -> None:
    (folder,) = ht.Ledger(together[0] / "overflow").runs
    run = ht.Run.load(folder)
    assert run.state == "finished", run.reason
    assert run.steps == 7
    (line,) = [text for text in run.events if "a step was bad" in text]
    assert line.endswith("good with 1 in 32 bits")


def test_alone_it_is_the_bare_loop(tmp_path: Path) -> None:
    plain = ht.Recipe([SGD(lr=0.1)], steps=6, batch_size=16)
    for how in ("replicate", "shard"):
        several = ht.train(task(), plain.plus(MultiDevice(how=how)), device="cpu", ledger=tmp_path, quiet=True)
        alone = ht.train(task(), plain, device="cpu", ledger=tmp_path, quiet=True)
        assert weights(several).keys() == weights(alone).keys()
        assert all(torch.equal(weights(several)[key], value) for key, value in weights(alone).items())
        assert several.series("loss") == alone.series("loss")


STOPPED = """
import os, signal, sys, torch
import halftime as ht
from tests.contract.ranks import uneven, what
from tests.contract.tasks import TRAIN, Interrupting
torch.set_num_threads(1)
workload = uneven()
number, only, ledger, how, kind, run = sys.argv[1:]
if number != "0" and os.environ["RANK"] == only:
    act = lambda: os.kill(os.getpid(), int(number))
    object.__setattr__(workload, "train", Interrupting(TRAIN, at=7, act=act))
try:
    ht.train(workload, what(kind, how, 12), 3, device="cpu", ledger=ledger, quiet=True, resume=run or None,
             checkpoint_every=0.0 if number == "9" else 60.0)
except (ht.HalftimeError, ht.Stopped) as said:
    print(said, file=sys.stderr)
    sys.exit(3)
"""


@pytest.mark.parametrize(("kind", "how"), [("EMA", "replicate"), ("AdamW", "shard")])
def test_a_signal_to_one_rank_stops_all_and_any_number_goes_on(kind: str, how: str, tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    stopped = ended(started(str(script), str(int(signal.SIGTERM)), "1", str(tmp_path / "ledger"), how, kind, ""))
    for code, _, errors in stopped:
        assert code == 3, errors
        assert "go on with: halftime train --resume" in errors
    (folder,) = ht.Ledger(tmp_path / "ledger").runs
    assert ht.Run.load(folder).state == "preempted"
    options: dict[str, Any] = {"device": "cpu", "quiet": True}
    again = ht.train(uneven(), what(kind, how, 12), 3, ledger=tmp_path / "ledger", resume=folder.name, **options)
    through = ht.train(uneven(), what(kind, how, 12), 3, ledger=tmp_path / "through", **options)
    assert again.attempts == 2
    assert again.receipt == through.receipt
    for key, value in weights(through).items():
        assert torch.allclose(weights(again)[key], value, rtol=1e-2, atol=5e-3), key


def test_a_rank_that_dies_ends_all_with_one_line(tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    dead, left = ended(started(str(script), "9", "1", str(tmp_path / "ledger"), "replicate", "SGD", ""))[::-1]
    assert dead[0] == -9
    assert left[0] == 3, left[2]
    (line,) = [line for line in left[2].splitlines() if line.startswith("rank")]
    assert line == "rank 0 of 2 lost another rank, so all end: go on from the last checkpoint with --resume"
    (folder,) = ht.Ledger(tmp_path / "ledger").runs
    assert ht.Run.load(folder).state == "failed"
    assert "lost another rank" in ht.Run.load(folder).reason
    assert list((folder / "checkpoints").iterdir())


def test_the_command_line_refuses_before_the_first_step(tmp_path: Path) -> None:
    changes = {"HALFTIME_LEDGER": str(tmp_path / "ledger")}
    verb = ("-m", "halftime", "train", "digits", "--steps", "2")
    ((code, _, errors),) = ended(started(*verb, world=1, LOCAL_WORLD_SIZE="999", WORLD_SIZE="999", **changes))
    assert code == 2
    assert "999 ranks were started, and the recipe is for one: add MultiDevice()" in errors
    several = (*verb, "--with", "MultiDevice()", "--device", "cpu")
    ((code, _, errors),) = ended(started(*several, world=1, LOCAL_WORLD_SIZE="999", WORLD_SIZE="999", **changes))
    assert code == 2
    assert "999 ranks were started on this machine, and it has" in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "ledger" / "runs").exists()


def test_torchrun_trains_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port(), "-m",
               "halftime", "train", "digits", "--with", "MultiDevice()", "--steps", "8", "--target", "0.01", "--device",
               "cpu", "--batch-size", "64"]  # fmt: skip
    environment = os.environ | {"HALFTIME_LEDGER": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder,) = ht.Ledger(tmp_path).runs
    assert ht.Run.load(folder).state == "finished"
    assert done.stdout.count(f"run {folder.name}: reached") == 1  # one summary, of one run


def test_some_methods_are_proved_in_shards_too() -> None:
    assert setting_of(EMA)
    assert {how for _, how in JOBS} == {"replicate", "shard"}
