"""`halftime export` as a user types it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from halftime.cli import main

FILE = """
import torch
import halftime as ht

x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
"""
FAST = '{"methods": {"AdamW": {"lr": 0.1}, "OneCycle": {}}, "epochs": 8, "batch_size": 64}'
COMMAND = ("export", "mine.py", "--recipe", "fast.json", "--out", "train_fast.py")


@pytest.fixture(autouse=True)
def files(own_folder: Path) -> None:
    (own_folder / "mine.py").write_text(FILE)
    (own_folder / "fast.json").write_text(FAST)


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


def executed() -> subprocess.CompletedProcess[str]:
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the run in this process
    command = [sys.executable, "-I", "train_fast.py"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=alone)


def test_the_script_runs_and_tells_what_it_reproduces(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--device", "cpu") == 0
    assert call(*COMMAND, "--device", "cpu") == 0
    assert "python train_fast.py" in capsys.readouterr().out
    text = Path("train_fast.py").read_text()
    assert text.startswith('"""Train mine with AdamW and OneCycle')
    assert "Expected: a score of" in text  # the run before is in the ledger
    assert "ADAMW_LR = 0.1" in text
    (weights,) = Path("ledger/runs").glob("*/weights.safetensors")
    executed()
    assert Path("train_fast.safetensors").read_bytes() == weights.read_bytes()


def test_a_recorded_run_is_repeated_with_its_own_seed() -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--seed", "3", "--device", "cpu") == 0
    (folder,) = Path("ledger/runs").iterdir()
    assert call("export", "--run", folder.name, "--out", "train_fast.py") == 0
    text = Path("train_fast.py").read_text()
    assert "SEED = 3" in text
    assert folder.name in text
    executed()
    assert Path("train_fast.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()


def test_what_a_run_with_another_seed_came_to_is_not_expected() -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--device", "cpu") == 0
    (folder,) = Path("ledger/runs").iterdir()
    assert call("export", "--run", folder.name, "--seed", "5", "--out", "train_fast.py") == 0
    text = Path("train_fast.py").read_text()
    assert "SEED = 5" in text
    assert "Expected:" not in text


def test_a_run_of_a_file_that_changed_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--device", "cpu") == 0
    (folder,) = Path("ledger/runs").iterdir()
    Path("mine.py").write_text(FILE.replace("cross_entropy", "multi_margin_loss"))
    assert call("export", "--run", folder.name, "--out", "train_fast.py") == 2
    assert "mine.py has changed since run" in capsys.readouterr().err
    assert not Path("train_fast.py").exists()


def test_a_run_on_other_data_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--device", "cpu") == 0
    (folder,) = Path("ledger/runs").iterdir()
    Path("mine.py").write_text(FILE.replace("manual_seed(0)", "manual_seed(1)"))
    assert call("export", "--run", folder.name, "--out", "train_fast.py") == 2
    assert "no longer those of run" in capsys.readouterr().err
    assert not Path("train_fast.py").exists()


@pytest.mark.parametrize(("old", "new"), [("manual_seed(0)", "manual_seed(1)"), ("target=0.95", "target=0.9")])
def test_what_is_expected_is_not_taken_from_a_run_on_other_data(old: str, new: str) -> None:
    assert call("train", "mine.py", "--recipe", "fast.json", "--device", "cpu") == 0
    Path("mine.py").write_text(FILE.replace(old, new))
    assert call(*COMMAND) == 0
    assert "Expected" not in Path("train_fast.py").read_text()


def test_names_that_mean_something_in_python_are_no_code() -> None:
    name = 'C:\\Users\\x: """say "a"'
    Path("mine.py").write_text(FILE.replace('name="mine"', f"name={name!r}"))
    assert call(*COMMAND[:-1], "say \"a\" or 'b'.py") == 0
    Path("say \"a\" or 'b'.py").rename("train_fast.py")
    assert (ast.get_docstring(ast.parse(Path("train_fast.py").read_text())) or "").startswith(f"Train {name} with")
    executed()
    assert Path("say \"a\" or 'b'.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "mine.py", "--out", "a.py"), "--recipe"),
        (("export", "mine.py", "--recipe", "fast.json", "--out", "a.txt"), "ends in .py"),
        (("export", "mine.py", "--recipe", "fast.json", "--out", "nowhere/a.py"), "does not exist"),
        (("export", "mine.py", "--recipe", "fast.json", "--out", "mine.py"), "--force"),
        (("export", "mine.py", "--recipe", "fast.json", "--run", "r1", "--out", "a.py"), "leave --recipe out"),
        (("export", "--run", "r1", "--out", "a.py"), "r1"),
        (("export", "mine.py", "--recipe", "slow.json", "--out", "a.py"), "slow.json"),
        (("export", "mine.py", "--recipe", "images.json", "--out", "a.py"), "ProgressiveResize needs"),
        (("export", "mine.py", "--recipe", "minutes.json", "--out", "a.py"), "--run ID"),
        (("export", "late.py", "--recipe", "fast.json", "--out", "a.py"), "at the top of the file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images.json").write_text('{"methods": {"ProgressiveResize": {}}, "epochs": 1}')
    Path("minutes.json").write_text('{"methods": {"AdamW": {}}, "minutes": 1}')
    Path("late.py").write_text(FILE.replace("workload =", "if True:\n  workload ="))
    before = {path.name for path in Path().iterdir()}
    assert call(*arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert {path.name for path in Path().iterdir()} - before <= {"ledger"}
    assert Path("mine.py").read_text() == FILE


def test_force_writes_over_an_old_script() -> None:
    Path("train_fast.py").write_text("old")
    assert call(*COMMAND) == 2
    assert Path("train_fast.py").read_text() == "old"
    assert call(*COMMAND, "--force") == 0
    assert "SEED = 0" in Path("train_fast.py").read_text()
