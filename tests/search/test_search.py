"""Whole searches, of a task that takes milliseconds a step and methods whose effect is known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import halftime as ht
from halftime.cli import main
from halftime.errors import BadValue, BadWorkload, UnknownName
from halftime.ledger.lines import nulled
from halftime.ledger.store import Ledger, load_all
from halftime.measure.verify import verify
from halftime.methods import OneCycle
from halftime.search.journal import records
from halftime.search.records import Found
from tests.search.planted import BASE, Crash, Killed, Quick, searched, task

RATELESS = ht.Recipe([OneCycle()], steps=48, batch_size=32)  # has no rate of its own, so that none is tuned
FILE = """
import torch
import halftime as ht
x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) > 0).long()
workload = ht.Workload(name="mine", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, evaluations=5{target})
"""


def test_a_planted_gain_is_found_through_a_kill_and_proved(own_folder: Path) -> None:
    """Killed twice; the decisions before each kill stand, no training is done again, and the proof has fresh seeds."""
    for after in (7, 25):
        with pytest.raises(KeyboardInterrupt):
            searched(resume=after > 7, minutes=3.0 if after == 7 else None, engine=Killed(after))
    ledger = Ledger()
    (folder,) = ledger.searches
    before = [r for r in records(folder) if r["kind"] in ("made", "decision")]
    found = searched(resume=True, minutes=None)
    assert found.verdict == "faster", found.words
    assert found.id == folder.name
    assert set(found.recipe["methods"]) == {"SGD", "OneCycle", "Quick"}
    assert found.ratio is not None
    assert found.ratio[1] > 1.0
    after_ = [r for r in records(folder) if r["kind"] in ("made", "decision")]
    assert after_[: len(before)] == before
    assert len({r["key"] for r in after_ if r["kind"] == "made"}) == sum(r["kind"] == "made" for r in after_)
    runs = load_all(ledger)
    mine = [run for run in runs if run.group.startswith(found.id)]
    assert max(Counter((run.recipe.hash, run.seed, len(run.evaluations) > 1) for run in mine).values()) == 1
    proof = [run for run in runs if run.group.startswith(found.proof)]
    assert len(proof) >= 10
    assert not {run.seed for run in proof} & {run.seed for run in mine}
    assert found.seconds < 180
    assert Found.from_dict(json.loads(json.dumps(nulled(found.to_dict())))) == found
    total = 1.0
    for bar in found.bars:
        total *= bar.ratio
    assert total == pytest.approx(found.ratio[0])
    assert not verify(ledger).wrong
    with pytest.raises(BadValue, match="no unfinished search"):
        searched(resume=True)


def test_what_breaks_is_a_result_and_not_the_end() -> None:
    """A crash, a training out of memory, and one that diverges."""
    words = {"crash": "crashed: RuntimeError: planted", "memory": "out of memory: planted", "nan": "not a number"}
    found = searched(task(target=9.0), RATELESS, methods=[Crash(kind=kind) for kind in words], proof=False)
    assert {d.change: d.verdict for d in found.decisions} == {f"+ Crash(kind='{kind}')": "failed" for kind in words}
    for kind, text in words.items():
        assert text in next(d.why for d in found.decisions if kind in d.change)
    assert "Crash" not in found.recipe["methods"]


def test_a_target_that_nobody_reaches_is_said_to_be_out_of_reach() -> None:
    found = searched(task(target=1e-9), RATELESS, methods=[], proof=False)
    assert found.verdict == "out of reach"
    assert "the best ended at" in found.words
    assert "it would likely take" in found.words


def test_a_base_that_cannot_be_shortened_is_nothing_found() -> None:
    """Methods that may be tried: none. The base just reaches its target, so there is nothing to gain."""
    found = searched(task(target=0.035, margin=0.0), methods=[])
    assert found.verdict in ("nothing found", "not shown", "out of reach")
    assert not found.bars
    assert found.pays_back is None


def test_too_few_minutes_are_said_to_be_too_few() -> None:
    found = searched(minutes=0.01)
    assert found.verdict == "too short"
    assert "give at least" in found.words


def test_a_workload_without_a_target_is_offered_one() -> None:
    with pytest.raises(BadWorkload, match=r"write target=0\.\d+ into the workload"):
        searched(task(target=None))


def test_bad_input_is_refused(own_folder: Path) -> None:
    with pytest.raises(BadValue, match="needs its time"):
        searched(minutes=None)
    with pytest.raises(BadValue, match="more than 0"):
        searched(minutes=-1.0)
    with pytest.raises(UnknownName, match="did you mean 'EMA'"):
        searched(methods=["EMMA"])
    assert not Ledger().searches


def test_the_command(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(FILE.format(target=", target=0.9"))
    Path("base.json").write_text(ht.Recipe(BASE.methods, steps=64, batch_size=32).to_json())
    call = ["search", "mine.py", "--base", "base.json", "--methods", "ClipGradients", "--device", "cpu"]
    assert main([*call, "--minutes", "0.4", "--out", "found", "--price", "2"]) in (0, 1)
    shown = capsys.readouterr()
    assert "cost: " in shown.out
    assert "ClipGradients" in shown.err
    content = json.loads(Path("found/search.json").read_text())
    assert ht.Recipe.from_dict(json.loads(Path("found/recipe.json").read_text())).to_dict() == content["recipe"]
    for wrong, words in (
        ([], "--hours H or --minutes M"),
        (["--hours", "1", "--minutes", "1"], "not both"),
        (["--minutes", "0"], "more than 0"),
        (["--minutes", "1", "--methods", "EMMA"], "EMA"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["search", "mine.py", *wrong])
        assert left.value.code == 2
        assert words in capsys.readouterr().err
    Path("mine.py").write_text(FILE.format(target=""))
    with pytest.raises(SystemExit) as left:
        main([*call, "--minutes", "0.5"])
    assert left.value.code == 2
    assert "write target=" in capsys.readouterr().err
    assert Quick().exact is False
