"""The commands as a user types them: what they print, how they leave, and what they say of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from halftime.cli import VERBS, main

FILE = """
import torch
import halftime as ht
x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
"""
FAST = '{"methods": {"AdamW": {"lr": 0.1}, "OneCycle": {}}, "epochs": 8, "batch_size": 64}'
PROVE = ["prove", "mine.py", "--base", "slow.json", "--fast", "fast.json"]
SLOW = '{"methods": {"SGD": {"lr": 0.03, "momentum": 0}}, "epochs": 30, "batch_size": 64}'


@pytest.fixture(autouse=True)
def files(own_folder: Path) -> None:
    (own_folder / "mine.py").write_text(FILE)
    (own_folder / "fast.json").write_text(FAST)
    (own_folder / "slow.json").write_text(SLOW)


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


def test_help_names_every_verb_and_is_quick() -> None:
    """Under 0.3 s; the fastest of five counts, for other work on the machine only ever adds."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        shown = subprocess.run(
            [sys.executable, "-m", "halftime", "--help"], capture_output=True, text=True, check=True
        ).stdout
        seconds.append(time.perf_counter() - start)
    assert all(verb in shown for verb in VERBS)
    assert min(seconds) < 0.3


def test_train_then_runs_show_and_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--seed", "3") == 0
    shown = capsys.readouterr()
    assert "reached 0.95" in shown.out
    assert "mine" in shown.err  # progress goes to stderr
    run = shown.out.split()[1].rstrip(":")
    assert call("runs") == 0
    assert run in capsys.readouterr().out
    assert call("show", run[:-1]) == 0
    assert "AdamW(lr=0.1" in capsys.readouterr().out
    assert call("ledger", "verify") == 0
    assert "1 runs and 0 proofs, 0 ablations and 0 receipts checked, 0 of them not ended" in capsys.readouterr().out
    assert call("ledger", "rebuild") == 0


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--json") == 0
    run = json.loads(capsys.readouterr().out)
    assert run["verdict"] == "reached 0.95"
    assert run["recipe"]["methods"]["AdamW"]["lr"] == 0.1
    assert run["hit"][0] < run["hit"][1]
    for arguments in (
        ["runs"],
        ["show", run["id"]],
        ["methods"],
        ["workloads"],
        ["ledger", "rebuild"],
        ["ledger", "verify"],
    ):
        assert call(*arguments, "--json") == 0
        json.loads(capsys.readouterr().out)


def test_a_missed_target_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--steps", "1", "--with", "SGD(lr=1e-5)") == 1
    assert "missed 0.95" in capsys.readouterr().out


def test_without_a_recipe_adamw_and_one_cycle_fill_the_slots_left_free(capsys: pytest.CaptureFixture[str]) -> None:
    call("train", "mine.py", "--steps", "2", "--with", "EMA(decay=0.5)", "--with", "SGD()", "--json")
    assert sorted(json.loads(capsys.readouterr().out)["recipe"]["methods"]) == ["EMA", "OneCycle", "SGD"]


def test_prove_writes_a_page_and_a_verdict(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    arguments = ["prove", "mine.py", "--base", "slow.json", "--fast", "fast.json", "--seeds", "3", "--out", "page.html"]
    code = call(*arguments, "--json")
    proof = json.loads(capsys.readouterr().out)
    assert code == (0 if proof["verdict"] in ("proved", "provisional") else 1)
    assert proof["base"]["tuned"] is False
    assert "Content-Security-Policy" in (own_folder / "page.html").read_text()
    assert call("report", proof["proof"], "--out", "again.html") == 0
    assert call("report", proof["fast"]["runs"][0], proof["base"]["runs"][0], "--out", "runs.html") == 0
    assert (own_folder / "again.html").stat().st_size > 5000


STOPS = """
import os, pathlib, signal
class Stops:
    columns = (x, y)
    def __len__(self): return 256
    def __getitem__(self, i): return x[i], y[i]
    def batch(self, indices, generator):
        flag = pathlib.Path("stopped")
        Stops.seen = getattr(Stops, "seen", 0) + 1
        if Stops.seen > 20 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return x[indices], y[indices]
import dataclasses
workload = dataclasses.replace(workload, train=Stops())
"""


def test_a_stopped_proof_says_how_it_goes_on(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "stops.py").write_text(FILE + STOPS)
    line = ("prove", "stops.py", "--base", "fast.json", "--fast", "fast.json", "--seeds", "1")
    assert call(*line) == 128 + 15
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "halftime: prove was stopped; what was trained is in the ledger: give the same call again"
    assert call(*line) in (0, 1)


def test_a_stopped_run_goes_on(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "stops.py").write_text(FILE + STOPS)
    assert call("train", "stops.py", "--recipe", "fast.json") == 128 + 15
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "go on with: halftime train --resume" in line
    run = line.split()[-1]
    assert call("runs", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "preempted"
    assert call("train", "--resume", run, "--steps", "0") == 2
    assert "steps must be at least 1" in capsys.readouterr().err
    assert call("train", "--resume", run, "--target", "0.5") == 2
    assert "had another target" in capsys.readouterr().err
    assert call("train", "--resume", run, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["id"], record["attempts"], record["steps"]) == (run, 2, 32)
    assert call("train", "--resume", run) == 2
    assert "is finished: there is nothing to go on with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "mine.py"], "there is no verb 'trian'; did you mean 'train'?"),
        ([], "VERB"),
        (["train"], "train needs a WORKLOAD"),
        (["train", "digit"], "there is no workload 'digit'; did you mean 'digits'?"),
        (["train", "nowhere.py"], "there is no file nowhere.py"),
        (["train", "mine.py", "--epoch", "3"], "did you mean '--epochs'?"),
        (["train", "mine.py", "--epochs", "three"], "invalid float value"),
        (["train", "mine.py", "--epochs", "nan"], "epochs must be above 0, not nan"),
        (["train", "mine.py", "--epochs", "1", "--steps", "2"], "not allowed with"),
        (["train", "mine.py", "--batch-size", "0"], "batch_size must be at least 1"),
        (["train", "mine.py", "--with", "AdamW(lr=-1)"], "AdamW.lr must be above 0, not -1"),
        (["train", "mine.py", "--with", "Adam"], "did you mean 'AdamW'?"),
        (["train", "mine.py", "--with", "SGD", "--with", "AdamW"], "both optimizer methods"),
        (["train", "mine.py", "--recipe", "none.json"], "there is no file none.json"),
        (["train", "mine.py", "--target", "-0.9"], "outside the score's range 0 to 1"),
        (["train", "mine.py", "--target", "95"], "outside the score's range 0 to 1"),
        (["train", "mine.py", "--device", "gpu"], "there is no device 'gpu' here"),
        (["train", "mine.py", "--with", "ChannelsLast()", "--steps", "1"], "ChannelsLast needs inputs that are images"),
        (["train", "--resume", "r1"], "there is no run or proof 'r1'"),
        (["prove", "mine.py", "--base", "slow.json"], "--fast"),
        ([*PROVE, "--seeds", "0"], "seeds must be a whole number"),
        ([*PROVE, "--out", "no/p.html"], "that folder does not exist"),
        ([*PROVE, "--out", "."], "--out .: that is a folder"),
        (["ablate", "mine.py", "--recipe", "fast.json", "--csv", "."], "--csv .: that is a folder"),
        (["tune", "mine.py", "--out", "."], "--out .: that is a folder"),
        (["search", "mine.py", "--minutes", "1", "--out", "fast.json"], "--out fast.json: that is a file"),
        (["evidence", "EMA", "--out", "fast.json"], "--out fast.json: that is a file"),
        (["show", "zzz"], "there is no run or proof 'zzz'"),
        (["report", "zzz", "--out", "a.html"], "there is no run or proof 'zzz'"),
        (["ledger", "mend"], "invalid choice: 'mend'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    before = sorted(own_folder.iterdir())
    assert call(*arguments) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not shown.out
    left = [p for p in own_folder.iterdir() if p not in before and p.name not in ("ledger", "__pycache__")]
    assert not left
    assert not list((own_folder / "ledger").rglob("attempt*")) if (own_folder / "ledger").exists() else True


BROKEN = {
    "empty": ("train=(x[:0], y[:0])", "mine: train: the data set is empty"),
    "unlabelled": ("train=torch.utils.data.TensorDataset(x)", "does not fit the loss"),
    "lengths": ("train=(x, y[:9])", "inputs and targets differ in length: [9, 256]"),
    "loader": ("train=torch.utils.data.DataLoader([1])", "give the DataLoader's data set"),
    "iterable": ("train=iter([1])", "needs samples by index and a length"),
    "outputs": ("model=lambda: torch.nn.Linear(4, 1)", "the network's output does not fit"),
    "inputs": ("model=lambda: torch.nn.Linear(5, 2)", "the network does not take its inputs"),
    "instance": ("model=torch.nn.Linear(4, 2)", "give a function that makes one"),
    "loss": ("loss=lambda o, t: torch.nn.functional.cross_entropy(o, t, reduction='none')", "must return one number"),
    "sign": ("score=lambda o, t: -torch.nn.functional.cross_entropy(o, t), target=0.5", "has the wrong sign"),
    "better": ("better='max'", "better must be 'higher' or 'lower'"),
    "code": ("name=1/0", "ZeroDivisionError"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_workload_is_one_line_and_exit_code_2(
    what: str, capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    change, words = BROKEN[what]
    (own_folder / "broken.py").write_text(
        FILE + f"\nimport dataclasses\nworkload = dataclasses.replace(workload, {change})\n"
    )
    assert call("train", "broken.py", "--steps", "1") == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not list((own_folder / "ledger").rglob("attempt*"))


def test_a_loss_that_is_no_number_stops_the_run_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--with", "SGD(lr=1e38)", "--epochs", "50", "--json") == 1
    run = json.loads(capsys.readouterr().out)
    assert run["state"] == "failed"
    assert "the loss is not a number since step" in run["reason"]
    assert "learning rate" in run["reason"]


@pytest.mark.parametrize("fault", ["file", "read-only"])
def test_a_ledger_that_cannot_be_written_is_one_line(
    fault: str, capsys: pytest.CaptureFixture[str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "file":
        (own_folder / "ledger").write_text("a file, not a folder")
    else:
        monkeypatch.setenv("HALFTIME_LEDGER", "/proc/ledger")  # nobody can write there, root neither
    assert call("train", "mine.py", "--steps", "1") == 2
    shown = capsys.readouterr().err.strip()
    assert "cannot write" in shown
    assert len(shown.splitlines()) == 1


def test_a_damaged_checkpoint_is_one_line(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_code = FILE + "\nfor _ in range(0): pass\n"
    (own_folder / "mine.py").write_text(test_code)
    import halftime as ht
    from halftime.cli import arguments as read

    workload, _, source = read.workload("mine.py")
    calls = iter(range(10**6))

    class Stops:
        columns = workload.train.columns

        def __len__(self) -> int:
            return 256

        def __getitem__(self, index: int) -> object:
            return workload.train[index]

        def batch(self, indices: object, generator: object) -> object:
            if next(calls) == 20:
                os.kill(os.getpid(), 15)
            return workload.train.batch(indices, generator)

    import dataclasses

    with pytest.raises(ht.Stopped) as stopped:
        ht.train(
            dataclasses.replace(workload, train=Stops()),
            read.recipe("fast.json"),
            quiet=True,
            source=source,
            device="cpu",
        )
    folder = own_folder / "ledger" / "runs" / stopped.value.run / "checkpoints"
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    assert call("train", "--resume", stopped.value.run) == 2
    line = capsys.readouterr().err.strip()
    assert "is damaged (the digest of its tensors is wrong)" in line
    assert len(line.splitlines()) == 1
