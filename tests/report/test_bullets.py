"""Bullets: every number is bound to runs, no claim goes beyond its interval; questions follow the weakest number."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftime.ledger.store import Ledger
from halftime.measure.receipt import receipt
from halftime.report import bullets, questions
from halftime.report.questions import UNKNOWN
from halftime.report.receipt import receipt_page, write
from halftime.search.gains import HOPE, SURE
from tests.report.records import BASE, FAST, curve, tuned, write_proof, write_run, write_search
from tests.report.taken_apart import some_hits, write_ablation
from tests.report.test_browser import BROWSER, measured
from tests.report.test_page import CASES, checked, hidden
from tests.report.test_waterfall import FOUR, NAMES, ONE

SLOW, QUICK = [20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, 11.0, 10.2, 10.4]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@given(st.floats(1.0001, 1e4), st.integers(0, 3))
def test_a_claim_is_cut_never_rounded_up(ratio: float, digits: int) -> None:
    said = float(bullets.cut(ratio, digits).removesuffix("×"))
    assert said <= ratio + 1e-6
    assert said >= 1 + (ratio - 1) * 0.4


COMPLETE = [name for name in CASES if name not in ("nothing yet", "half a pair", "unfinished")]


@pytest.mark.parametrize("case", COMPLETE)
def test_every_number_is_bound_to_runs_of_the_proof(case: str, ledger: Ledger) -> None:
    proof = write_proof(ledger, **CASES[case][1])
    made = receipt(proof, ledger, price=1.5)
    found = bullets.bullets(made)
    assert 3 <= len(found) <= 5
    runs = {run.id for run in (*proof.base.runs, *proof.fast.runs)}
    for one in found:
        left = one.text.replace(str(proof.workload["name"]), "").replace("Some CPU", "")
        for number in sorted(one.numbers, key=lambda n: -len(n.text)):
            assert number.text in one.text
            assert set(number.runs) <= runs
            assert number.runs or not runs
            left = left.replace(number.text, "")
        assert not re.search(r"\d", left), left
    claimed = re.search(r"at least ([\d.]+)× sooner", found[0].text)
    ratio = proof.ratio
    if claimed:
        assert proof.verdict in ("proved", "provisional")
        assert ratio is not None
        assert float(claimed[1]) <= ratio.low
        assert proof.least is None or float(claimed[1]) <= proof.least
    else:
        assert "No gain is claimed" in found[0].text
        assert proof.verdict not in ("proved", "provisional") or (proof.least or 9.0) <= 1.0
    if "is not worse" in found[1].text:
        assert proof.same_quality
    asked = questions.questions(made)
    assert all(one.answer.strip() for one in asked)
    page = checked(receipt_page(made))
    hidden(receipt_page(made), str(ledger.root), str(proof.folder))
    for line in bullets.footnotes(found)[0]:
        assert line in page.text


def test_footnotes_name_the_runs_of_every_mark(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    found = bullets.bullets(receipt(proof, ledger))
    lines, marks = bullets.footnotes(found)
    used = {mark for line in lines for mark in re.findall(r"\[([a-z, ]+)\]$", line)[0].split(", ")}
    assert used == set(marks)
    assert tuple(run.id for run in proof.base.runs) in marks.values()
    content = json.loads(json.dumps(bullets.to_dict(found)))
    assert all(number["runs"] for one in content for number in one["numbers"])


def test_the_ablation_gives_a_bullet_with_its_own_runs(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    base = BASE.replace(epochs=FAST.epochs)
    found = write_ablation(ledger, base, FAST, some_hits(("AdamW", "OneCycle")), 3)
    made = receipt(proof, ledger)
    line = bullets.bullets(made)[3]
    assert "later without" in line.text
    assert {run for number in line.numbers for run in number.runs} <= {run.id for run in found.runs}
    for part, said in ((p, re.search(rf"([\d.]+)× later without {p.name}", line.text)) for p in found.parts):
        assert said
        assert float(said[1]) <= part.without.low
    assert questions.questions(made)[-1].known


def test_the_weakest_number_comes_first(ledger: Ledger) -> None:
    noisy = receipt(write_proof(ledger, [20.0, 40.0, 22.0, 35.0, 21.0], [18.0, 16.0, 20.0, 15.0, 19.0]), ledger)
    assert questions.weakest(noisy)[0] == "how many times sooner the target is met"
    tight = receipt(write_proof(ledger, SLOW, QUICK), ledger)
    tight["quality"] = {"estimate": -0.001, "low": -0.0044, "high": 0.0024, "n": 5, "sd": 0.004, "bound": ""}
    assert questions.weakest(tight)[0] == "that the quality is the same"
    for made in (noisy, tight):
        first = questions.questions(made)[0]
        assert questions.weakest(made)[0] in first.asks


def answers(made: dict[str, Any]) -> dict[str, questions.Question]:
    return {one.asks.split("?")[0]: one for one in questions.questions(made)}


def test_answers_follow_the_ledger(ledger: Ledger) -> None:
    tuned(ledger)
    write_run(ledger, FAST, 3, curve(9.0, 20.0, 0.93))
    proof = write_proof(ledger, [*SLOW[:4], None], QUICK)
    made = receipt(proof, ledger)
    found = answers(made)
    assert found["Was the base tuned as hard as the fast recipe"].known
    assert "1 base and 0 fast runs missed" in found["Were failures left out"].answer
    assert found["Does it hold on other data"].answer.startswith(UNKNOWN)
    leak = found["Was anything chosen on the data that judges it"].answer
    assert "6 earlier runs" in leak
    assert "6 of them on seeds of the proof" in leak
    dirty = {"code": {"commit": "abc", "dirty": "123"}, "machine": {"cpu": "x"}, "packages": {}}
    other = write_proof(ledger, SLOW, QUICK, workload={"name": "elsewhere", "data": "f00"}, fingerprint=dirty)
    assert "not committed" in answers(receipt(other, ledger))["Was it the same machine and code on both sides"].answer


@pytest.mark.skipif(BROWSER is None, reason="no chromium found: apt-get install chromium")
def test_the_pages_fit_phone_and_desk(ledger: Ledger, tmp_path: Path) -> None:
    from halftime.report.page import ablation_page

    proof = write_proof(ledger, SLOW, QUICK)
    base = BASE.replace(epochs=FAST.epochs)
    found = write_ablation(ledger, base, FAST, some_hits(("AdamW", "OneCycle")), 3)
    write_search(ledger, proof.id)
    made = receipt(proof, ledger)
    seen, console = measured({"receipt": receipt_page(made, found), "ablation": ablation_page(found)}, tmp_path)
    assert console == ""
    assert len(seen) == 8
    for one in seen:
        assert one["need"] <= one["room"], one
        assert one["charts"] == 2, one
        assert one["letters"] >= 10, one


def test_a_receipt_is_written_whole_and_kept_in_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    from halftime.measure.receipt_check import check, load_receipt
    from halftime.measure.verify import verify

    made = receipt(write_proof(ledger, SLOW, QUICK), ledger)
    write(made, tmp_path / "a" / "b", ledger)
    assert load_receipt(tmp_path / "a" / "b") == made
    assert check(load_receipt(tmp_path / "a" / "b" / "receipt.json"), ledger) == []
    assert verify(ledger).receipts == 1
    assert verify(ledger).wrong == []


def test_only_what_pays_where_all_changes_are_judged_together_is_claimed(ledger: Ledger) -> None:
    """The interval of one change lies clear of 1 on its own, which Holm calls not clear: nothing is said of it."""
    proof = write_proof(ledger, SLOW, QUICK, recipes=(ONE, FOUR))
    hits = {key: [*each, *each[:2]] for key, each in some_hits(NAMES).items()}
    hits[frozenset(NAMES) - {"EMA"}] = [10.6, 10.15, 10.9, 11.5, 11.0]
    hits[frozenset(NAMES) - {"OneCycle"}] = [20.0, 20.1, 20.2, 20.1, 20.0]
    hits[frozenset(NAMES) - {"LabelSmoothing"}] = [10.0, 10.2, 9.9, 10.1, 10.0]
    hits[frozenset(NAMES)] = [10.0, 10.1, 10.2, 10.1, 10.0]
    found = write_ablation(ledger, ONE, FOUR, hits, 5)
    ema = next(part for part in found.parts if part.name == "EMA").without
    made = receipt(proof, ledger)
    assert ema.low > 1.0
    assert made["ablation"]["verdicts"] == found.verdicts == {**dict.fromkeys(NAMES, "not clear"), "OneCycle": "pays"}
    line = bullets.bullets(made)[3].text
    assert "without OneCycle" in line
    assert "EMA" not in line
    assert questions.weakest(made)[0] != "that EMA is needed"


def test_nothing_is_claimed_beyond_the_ends_of_an_interval(ledger: Ledger) -> None:
    made = receipt(write_proof(ledger, SLOW, QUICK), ledger)
    made["quality"] = {"estimate": -0.001, "low": -0.00441, "high": 0.0024, "n": 5, "sd": 0.004, "bound": ""}
    made["margin"] = 0.0045123
    made["ratio"] |= {"low": 1.996, "high": 2.204}
    speed, quality = bullets.bullets(made)[:2]
    assert "the difference is at least −0.0045, 5 pairs" in quality.text
    assert "not worse by more than the margin 0.00452" in quality.text
    assert "interval 1.99× to 2.21×" in speed.text
    asked = next(one for one in questions.questions(made) if one.asks.startswith("By which margin"))
    assert "0.00452" in asked.answer
    assert "−0.0045" in asked.answer


def test_the_numbers_of_a_search_are_bound_to_runs(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    runs = write_search(ledger, proof.id)
    made = receipt(proof, ledger)
    line = bullets.bullets(made)[-1]
    its = {number.what: set(number.runs) for number in line.numbers}
    mine = {run.id for run in (*proof.base.runs, *proof.fast.runs)}
    assert its["time of the search"] == its["trainings"] == {*runs, *mine}
    known = {folder.name for folder in ledger.runs}
    assert all(set(number.runs) <= known for one in bullets.bullets(made) for number in one.numbers)


def test_the_page_says_what_the_search_saw_without_an_ablation(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    write_search(ledger, proof.id)
    made = receipt(proof, ledger)
    text = receipt_page(made)
    page = checked(text)
    hidden(text, str(ledger.root))
    for words in ("What if one of them is taken away?", "without OneCycle", "0.50×", "0.40× to 0.61×", "without EMA",
                  "the machine is now 1.3× slower", "a first proof, p0", "price 6"):  # fmt: skip
        assert words in page.text, words
    assert "/home/ada" not in json.dumps(made)
    assert f"holds at {SURE:.0%}, the upper at {HOPE:.0%}".replace("%", " %") in page.text
    asked = answers(made)
    assert asked["Which of the changes is it"].known
    assert "0.50× as soon (0.40× to 0.61×) without OneCycle, kept" in asked["Which of the changes is it"].answer
    assert "p0" in asked["How many things were tried until one of them won, and what did that cost"].answer
