"""`halftime diagnose`: some steps, a sentence, a table, and nothing left in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halftime.cli import main

FILE = """
import time
import torch
import halftime as ht

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, i):
        time.sleep(0.03 if i == 9 else 0.001)
        return torch.randn(4), i % 2

workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=Rows(), valid=Rows(),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
"""

STOP = """
import os, signal
asked = []

def loss(outputs, targets):
    asked.append(0)
    if len(asked) == 12:
        os.kill(os.getpid(), signal.SIGINT)
    return torch.nn.functional.cross_entropy(outputs, targets)
"""


def test_a_sentence_a_table_and_json(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(FILE)
    Path("small.json").write_text('{"methods": {"SGD": {}}, "epochs": 1, "batch_size": 8}')
    line = ["diagnose", "mine.py", "--recipe", "small.json", "--steps", "24", "--loader-workers", "1", "5"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "Short: the disk or the network" in said
    assert "5 workers" in said
    assert "2 workers" not in said
    assert "Slowest sample seen: 9," in said
    assert not Path(".halftime/runs").exists()
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 24
    assert found["cause"] == "disk"
    assert [f["name"] for f in found["table"]][:2] == ["1 worker", "5 workers"]


def test_a_training_that_fails_is_said_to_have_failed(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(FILE.replace("time.sleep(0.03 if i == 9 else 0.001)", "pass"))
    Path("wild.json").write_text('{"methods": {"SGD": {"lr": 1e38}}, "epochs": 1, "batch_size": 8}')
    assert main(["diagnose", "mine.py", "--recipe", "wild.json", "--steps", "2000"]) == 0
    assert "the training failed: the loss is not a number" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"), [(["--steps", "3"], "needs at least 20"), (["--loader-workers", "0"], "counts from 1 to 256")]
)
def test_bad_input_is_one_line(more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["diagnose", "digits", *more])
    assert left.value.code == 2
    assert words in capsys.readouterr().err


def test_an_interrupt_promises_nothing_to_go_on_with(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(STOP + FILE.replace("torch.nn.functional.cross_entropy", "loss"))
    with pytest.raises(SystemExit) as left:
        main(["diagnose", "mine.py", "--steps", "40"])
    assert left.value.code == 130
    assert capsys.readouterr().err == "halftime: interrupted\n"
