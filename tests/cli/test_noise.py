"""`halftime noise`, and the flags of a sequential proof, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halftime.cli import main

WORKLOAD = """
import torch
import halftime as ht
from torch import nn
x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="sign", model=lambda: nn.Linear(4, 2), train=(x, y), valid=(x, y),
                       loss=nn.functional.cross_entropy, score=ht.accuracy, target=0.9)
"""
RECIPE = """
from halftime import Recipe
from halftime.methods import AdamW, OneCycle
recipe = Recipe([AdamW(lr=0.05), OneCycle()], epochs=8, batch_size=32)
"""


@pytest.fixture
def files(own_folder: Path) -> Path:
    (own_folder / "task.py").write_text(WORKLOAD)
    (own_folder / "recipe.py").write_text(RECIPE)
    return own_folder


def test_noise_quotes_a_price_and_a_sequential_proof_uses_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["noise", "task.py", "--recipe", "recipe.py", "--seeds", "3", "--price", "2", "--device", "cpu"]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "noise: standard deviation of the log time to target" in shown
    assert "a 10 % gain needs" in shown
    assert [line.split()[0] for line in shown.splitlines() if " % " in line[:6]] == ["5", "10", "20", "50"]
    assert main([*given, "--json", "--gain", "30"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["noise"]["n"] == 3
    assert [p["gain"] for p in found["prices"]] == [30, 5, 10, 20, 50]
    assert found["prices"][0]["money"] == pytest.approx(2 * found["prices"][0]["hours"])
    prove = ["prove", "task.py", "--base", "recipe.py", "--fast", "recipe.py", "--device", "cpu", "--json"]
    assert main([*prove, "--sequential", "--gain", "50", "--most", "3"]) in (0, 1)
    proof = json.loads(capsys.readouterr().out)
    assert proof["sequential"]["gain"] == 50
    assert proof["sequential"]["noise"] == pytest.approx(found["noise"]["pair_sd"])
    assert proof["sequential"]["settled"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--sequential", "--seeds", "5"], "give --most in place of --seeds"),
        (["--gain", "10"], "--gain belongs to --sequential"),
        (["--most", "9"], "--most belongs to --sequential"),
        (["--sequential", "--noise", "0.1"], "give --gain, too"),
        (["--sequential", "--gain", "10", "--noise", "-1"], "--noise must be more than 0"),
        (["--sequential", "--gain", "10"], "run `halftime noise`"),
        (["--sequential", "--gain", "100", "--noise", "0.1"], "less than 100"),
        (["--sequential", "--most", "2"], "--most must be 3 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    files: Path, capsys: pytest.CaptureFixture[str], given: list[str], line: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["prove", "task.py", "--base", "recipe.py", "--fast", "recipe.py", *given])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("given", [["--gain", "0"], ["--power", "1"], ["--price", "-1"], ["--seeds", "2"]])
def test_impossible_questions_are_refused_before_anything_is_trained(
    files: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["noise", "task.py", "--recipe", "recipe.py", *given])
    assert left.value.code == 2
    assert not (files / "ledger" / "runs").exists()
