"""From a recipe to its waterfall, from a proof to its receipt and bullets, as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from halftime.ledger.store import Ledger
from halftime.run import attempt_files
from tests.cli.test_commands import FAST, FILE, SLOW, call
from tests.report.records import BASE, write_proof
from tests.report.taken_apart import some_hits, write_ablation

ABLATE = ["ablate", "mine.py", "--recipe", "fast.json", "--seeds", "2"]


@pytest.fixture(autouse=True)
def files(own_folder: Path) -> None:
    (own_folder / "mine.py").write_text(FILE)
    (own_folder / "fast.json").write_text(FAST)
    (own_folder / "slow.json").write_text(SLOW)


def test_ablate_prints_writes_and_is_quick_the_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*ABLATE, "--csv", "table.csv", "--out", "page.html") == 0
    shown = capsys.readouterr()
    assert "2 recipes of 1 change × 2 seeds: 4 runs" in shown.err
    for words in ("OneCycle", "in all", "interaction", "leave one out"):
        assert words in shown.out
    with Path("table.csv").open() as file:
        assert {row["kind"] for row in csv.DictReader(file)} >= {"add one in", "leave one out", "share", "interaction"}
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert call(*ABLATE, "--json") == 0
    again = capsys.readouterr()
    found = json.loads(again.out)
    assert "seed" not in again.err, "nothing is trained twice"
    assert len(found["runs"]) == 4
    assert call("report", found["ablation"], "--out", "again.html") == 0
    assert Path("again.html").read_text() == Path("page.html").read_text()
    assert call("show", found["ablation"]) == 2
    assert call("ledger", "verify") == 0
    assert "1 ablations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["ablate", "mine.py", "--recipe", "fast.json", "--seeds", "0"], "seeds must be"),
        (["ablate", "mine.py", "--recipe", "fast.json", "--base", "fast.json"], "does not differ"),
        (["ablate", "mine.py", "--recipe", "fast.json", "--csv", "no/where.csv"], "--csv no/where.csv"),
        (["report", "--bullets"], "no proof yet"),
        (["report", "--receipt", "mine.py"], "that is a file"),
        (["report", "x"], "say what to write"),
        (["report", "x", "--price", "2", "--out", "a.html"], "--price belongs"),
        (["ledger", "verify", "nothing"], "no receipt"),
        (["ledger", "rebuild", "nothing"], "did you mean verify"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(line: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*line) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not list(Path().glob("*.html"))


def test_receipt_bullets_and_their_verification(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    proof = write_proof(ledger, [20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, 11.0, 10.2, 10.4])
    fast = proof.fast.recipe
    found = write_ablation(ledger, BASE.replace(epochs=fast.epochs), fast, some_hits(("AdamW", "OneCycle")), 3)
    assert call("report", "--bullets") == 0
    shown = capsys.readouterr().out
    assert "sooner" in shown
    assert "What an expert would ask" in shown
    assert proof.base.runs[0].id in shown
    assert call("report", proof.id, "--bullets", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert 3 <= len(content["bullets"]) <= 5
    assert content["questions"]
    assert call("report", proof.id, "--receipt", "given", "--price", "1.5", "--out", "page.html") == 0
    capsys.readouterr()
    assert "What each change is worth" in Path("page.html").read_text()
    assert "What each change is worth" in Path("given/receipt.html").read_text()
    assert call("report", found.id, "--receipt", "given") == 2
    for line in (["ledger", "verify", "given"], ["ledger", "verify", "given/receipt.json"], ["ledger", "verify"]):
        assert call(*line) == 0
    capsys.readouterr()
    path = attempt_files(proof.fast.runs[1].folder)[0]
    path.write_text(path.read_text().replace('"seconds":2.5', '"seconds":2.4', 1))
    assert call("ledger", "verify", "given", "--json") == 1
    wrong = json.loads(capsys.readouterr().out)["wrong"]
    assert any(proof.fast.runs[1].id in line for line in wrong)
    assert call("ledger", "verify") == 1
    assert f"receipt of proof {proof.id}" in capsys.readouterr().out
    assert call("report", proof.id, "--receipt", "other") == 2
    assert not Path("other").exists()
