"""`halftime search` around the search itself: what it is given, and an outcome that cannot be written."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.cli import main
from halftime.cli.search import shown
from halftime.errors import BadData, BadRecipe, BadWorkload, StorageError
from halftime.methods import EMA, SGD, OneCycle, StepDrop
from halftime.search.gains import HOPE, SURE
from halftime.search.prove import prove
from halftime.search.records import Bar, Found
from halftime.workloads.source import find

FOUND = Found("s1", "nothing found", "nothing was faster", {}, {}, {"methods": {}, "steps": 1})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the search was asked for; it finds nothing, at once."""
    given: dict[str, Any] = {}

    def search(*_: Any, **how: Any) -> Found:
        given.update(how)
        return FOUND

    monkeypatch.setattr("halftime.search.search.search", search)
    return given


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_the_outcome_is_shown_even_where_it_cannot_be_written(
    json: list[str], asked: dict[str, Any], own_folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(path: Path, _: bytes) -> None:
        raise StorageError(f"{path}: the disk is full")

    call = ["search", "digits", "--minutes", "1", "--out", "found", *json]
    assert main(call) == 1
    assert ("written: found/recipe.json" in capsys.readouterr().out) == (not json)
    monkeypatch.setattr("halftime.ledger.checkpoint.replace", full)
    with pytest.raises(SystemExit):
        main(call)
    said = capsys.readouterr()
    assert "nothing was faster" in said.out
    assert "written" not in said.out
    assert "the disk is full" in said.err


def test_methods_with_several_settings_are_told_apart(asked: dict[str, Any], own_folder: Path) -> None:
    main(["search", "digits", "--minutes", "1", "--methods", "StepDrop(factor=0.2, milestones=(0.5,0.8)),EMA()"])
    assert asked["methods"] == [StepDrop(factor=0.2, milestones=(0.5, 0.8)), EMA()]


FILE = """
import torch
import halftime as ht
x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y), target=0.8,
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, evaluations=4)
"""
KEPT = ("torch.set_num_threads(1)",)


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> Found:
    """A search that ends at once in a proof, which is a real one."""
    Path("mine.py").write_text(FILE)
    workload, _, source = find("mine.py")
    base, fast = (ht.Recipe([SGD(lr=lr), OneCycle()], steps=12, batch_size=32) for lr in (0.05, 0.5))
    proof = prove(workload, base, fast, seeds=3, first=50_000, device="cpu", quiet=True, source=source)
    found = Found("s1", "faster", "so much", {}, {}, fast.to_dict(), proof=proof.id, settings=KEPT)
    monkeypatch.setattr("halftime.search.search.search", lambda *_, **__: found)
    return found


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_what_was_proved_is_written_with_its_receipt_and_a_plain_script(
    json: list[str], proved: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["recipe.json", "search.json", "receipt.json", "receipt.html", "train_fast.py"]
    assert main(["search", "mine.py", "--minutes", "1", "--out", "found", *json]) == 0
    said = capsys.readouterr()
    line = "written: " + ", ".join(f"found/{name}" for name in names)
    assert line in (said.err if json else said.out).splitlines()
    assert sorted(path.name for path in Path("found").iterdir()) == sorted(names)
    assert main(["ledger", "verify", "found"]) == 0
    text = Path("found/train_fast.py").read_text()
    assert "\n    torch.set_num_threads(1)\n    device = torch.device(DEVICE)\n" in text
    assert "SEED = 50000" in text
    tops = {(n.module or "").split(".")[0] for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)}
    assert "halftime" not in tops
    ran = subprocess.run([sys.executable, "train_fast.py"], cwd="found", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert Path("found/train_fast.safetensors").exists()


@pytest.mark.parametrize(
    ("broken", "kind", "left"),
    [("halftime.export.script.script", BadRecipe, "receipt.json"),
     ("halftime.export.script.script", BadWorkload, "receipt.html"),
     ("halftime.measure.receipt.receipt", BadData, "train_fast.py")],
)  # fmt: skip
def test_what_cannot_be_written_is_a_note_and_not_the_loss_of_the_search(
    broken: str, kind: type[Exception], left: str, proved: Found, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fails(*_: Any, **__: Any) -> Any:
        raise kind("planted")

    monkeypatch.setattr(broken, fails)
    assert main(["search", "mine.py", "--minutes", "1", "--out", "found"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("note: there is no") and line.endswith(": planted")]
    written = next(line for line in lines if line.startswith("written: "))
    files = {path.name for path in Path("found").iterdir()}
    assert {"recipe.json", "search.json", left} <= files
    assert len(files) == (3 if left == "train_fast.py" else 4)
    assert all(name in written for name in files)


def test_the_cost_is_of_trainings_and_of_all_devices() -> None:
    found = dataclasses.replace(FOUND, seconds=600.0, device_seconds=300.0, price=6.0)
    assert "cost: 10.0 minutes = 1.00, 5.0 of them in trainings" in shown(found)
    many = dataclasses.replace(found, devices=4, device_seconds=1800.0)
    assert "cost: 10.0 minutes of 4 devices = 4.00, 30.0 side by side in trainings" in shown(many)


def test_bars_have_their_intervals_as_numbers_and_a_line_says_at_which_level() -> None:
    bars = (Bar("+ EMA()", 2.0, 1.8, 2.2), Bar("the rest", 2.0, 1.9, 2.1, rest=True))
    text = shown(dataclasses.replace(FOUND, bars=bars))
    assert "1.80× to 2.20×" in text
    assert "1.90× to 2.10×" in text
    assert f"holds at {SURE:.0%}, the upper at {HOPE:.0%}".replace("%", " %") in text
