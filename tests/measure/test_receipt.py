"""A receipt follows from the records: made again it is the same, and whatever was edited is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from halftime.errors import BadData, BadValue
from halftime.ledger.lines import Writer, read
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.measure.receipt import digest, keep, receipt
from halftime.measure.receipt_check import check, load_receipt
from halftime.measure.verify import verify
from halftime.report.receipt import receipt_page
from halftime.run import attempt_files
from tests.report.records import BASE, FAST, FINGERPRINT, curve, tuned, write_proof, write_run, write_search
from tests.report.taken_apart import some_hits, write_ablation
from tests.report.test_page import CASES

SLOW, QUICK = [20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, 11.0, 10.2, 10.4]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def rewrite(folder: Path, change: Any) -> None:
    """Edit the records of a run, with a right digest at the end: as somebody would who knows how."""
    path = attempt_files(folder)[-1]
    records, _ = read(path)
    path.unlink()
    with Writer(path) as log:
        for record in records[:-1]:
            change(record)
            log._write([record])
        log.end(**{k: v for k, v in records[-1].items() if k not in ("kind", "t", "digest")})


def test_it_says_medians_and_minima_and_can_be_made_again(ledger: Ledger) -> None:
    tuned(ledger)
    proof = write_proof(ledger, SLOW, QUICK, joules=512.0)
    base = BASE.replace(epochs=FAST.epochs)
    write_ablation(ledger, base, FAST, some_hits(("AdamW", "OneCycle")), 3)
    made = receipt(proof, ledger, price=2.0)
    assert made["before"]["seconds_to_target"] == {"median": 21.0, "minimum": 20.0, "each": SLOW}
    assert made["after"]["seconds_to_target"]["median"] == 10.4
    assert made["after"]["money"]["minimum"] == pytest.approx(25.0 * 1.1 / 3600 * 2.0)
    assert made["before"]["tuned"]
    assert made["ablation"]["parts"]
    assert len(made["source"]["runs"]) == 10 + 4 * 3
    assert made["digest"] == digest(json.loads(json.dumps(made)))
    assert check(json.loads(json.dumps(made)), ledger) == []


def test_a_proof_without_a_first_line_is_no_obstacle(ledger: Ledger) -> None:
    """A disk that is full leaves an empty file."""
    tuned(ledger)
    proof = write_proof(ledger, SLOW, QUICK)
    empty = ledger.attempt(ledger.new("proof"))
    empty.parent.mkdir(parents=True)
    empty.touch()
    made = receipt(proof, ledger)
    assert made["context"]["elsewhere"] == []
    assert check(json.loads(json.dumps(made)), ledger) == []


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_proof_can_be_checked(case: str, ledger: Ledger) -> None:
    proof = write_proof(ledger, **CASES[case][1])
    if not proof.complete:
        with pytest.raises(BadData, match="not complete"):
            receipt(proof, ledger)
        return
    assert check(receipt(proof, ledger), ledger) == []


def test_an_edited_run_is_named(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    made = receipt(proof, ledger)
    run = proof.fast.runs[2]

    def sooner(record: dict[str, Any]) -> None:
        if "seconds" in record and record["kind"] == "evaluation":
            record["seconds"] *= 0.5

    rewrite(run.folder, sooner)
    assert Proof.load(proof.folder, ledger).fast.runs[2].intact, "its own digest does not give it away"
    wrong = check(made, ledger)
    assert f"run {run.id}: attempt-001.jsonl was edited" in wrong
    assert any(line.startswith("ratio.estimate: the receipt says") for line in wrong)
    keep(made, ledger)
    assert any(run.id in line for line in verify(ledger).wrong)


def test_an_edited_number_is_named_with_or_without_a_new_digest(ledger: Ledger) -> None:
    made = receipt(write_proof(ledger, SLOW, QUICK), ledger)
    made["after"]["seconds_to_target"]["median"] = 1.0
    assert check(made, ledger) == [
        "the receipt was edited: its digest is another",
        "after.seconds_to_target.median: the receipt says 1.0, the records give 10.4",
    ]
    made["digest"] = digest(made)
    assert len(check(made, ledger)) == 1
    del made["source"]["runs"][made["after"]["runs"][0]]
    made["digest"] = digest(made)
    assert any(made["after"]["runs"][0] in line for line in check(made, ledger))


def test_what_is_gone_or_came_later_is_named(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    made = receipt(proof, ledger)
    tuned(ledger)  # other runs of later are no edit
    write_run(ledger, FAST, 0, curve(3.0, 10.0, 0.93))
    assert check(made, ledger) == []
    attempt_files(proof.base.runs[0].folder)[0].unlink()
    wrong = check(made, ledger)
    assert any(f"run {proof.base.runs[0].id} is not in the ledger" in line for line in wrong)


def test_an_ablation_that_goes_on_is_no_edit_and_one_that_is_edited_is(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    base = BASE.replace(epochs=FAST.epochs)
    found = write_ablation(ledger, base, FAST, some_hits(("AdamW", "OneCycle")), 3)
    made = receipt(proof, ledger)
    start = read(attempt_files(found.folder)[0])[0][0]
    with Writer(ledger.attempt(found.folder)) as log:
        log.record("start", **{**{k: v for k, v in start.items() if k not in ("kind", "t")}, "seeds": [0, 1, 2, 3]})
        log.record(
            "planned", **{k: v for k, v in read(attempt_files(found.folder)[0])[0][1].items() if k not in ("kind", "t")}
        )
        log.end("finished")
    assert check(made, ledger) == []
    path = attempt_files(found.runs[0].folder)[0]
    path.write_text(path.read_text().replace('"loss":0.5', '"loss":0.4', 1))
    assert any(found.runs[0].id in line for line in check(made, ledger))
    with pytest.raises(BadData, match="changed"):
        path = attempt_files(proof.base.runs[0].folder)[0]
        path.write_text(path.read_text().replace('"loss":0.5', '"loss":0.4', 1))
        receipt(Proof.load(proof.folder, ledger), ledger)


def test_the_search_that_ended_in_the_proof_is_named_with_its_cost(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    folder = ledger.root / "searches" / "s1"
    bars = [{"change": "+ OneCycle()", "ratio": 2.0, "low": 1.8, "high": 2.2}]
    with Writer(folder / "attempt-001.jsonl") as log:
        log.record("start")
        log.record("found", id="s1", proof=proof.id, verdict="faster", seconds=1800.0, device_seconds=1700.0, price=3.0,
                   pays_back=7, bars=bars, decisions=[{}, {}], settings=["torch.set_num_threads(1)"])  # fmt: skip
        log.end("finished")
    made = receipt(proof, ledger)
    assert (made["search"]["pays_back"], made["search"]["tried"], made["price_per_hour"]) == (7, 2, 3.0)
    assert check(made, ledger) == []
    assert "<code>torch.set_num_threads(1)</code>: not part of the ratio" in receipt_page(made)
    (folder / "attempt-001.jsonl").write_text((folder / "attempt-001.jsonl").read_text().replace("1800.0", "18.0"))
    wrong = check(made, ledger)
    assert any("search s1" in line for line in wrong)
    assert any("search.seconds" in line for line in wrong)


def test_bad_input_is_one_line(ledger: Ledger, tmp_path: Path) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    with pytest.raises(BadValue, match="price"):
        receipt(proof, ledger, price=-1.0)
    for text in ("{", "[]", '{"receipt": "x"}', '{"proof": 1}'):
        (tmp_path / "receipt.json").write_text(text)
        with pytest.raises(BadData, match="not a receipt"):
            load_receipt(tmp_path)
    (tmp_path / "receipt.json").write_text('{"receipt": 99}')
    with pytest.raises(BadData, match="newer"):
        load_receipt(tmp_path)
    with pytest.raises(BadData, match="no receipt"):
        load_receipt(tmp_path / "nothing.json")
    assert check({"receipt": 1, "proof": "x"}, ledger)[0].startswith("the receipt was edited")


def test_what_the_search_left_out_is_in_the_receipt_and_can_be_worked_out_again(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    runs = write_search(ledger, proof.id)
    made = receipt(proof, ledger)
    search = made["search"]
    assert [one["change"] for one in search["left_out"]] == ["without OneCycle", "without EMA"]
    first = search["left_out"][0]
    assert (first["ratio"], first["low"], first["high"], first["runs"]) == (0.5, 0.4, 0.61, runs[1:])
    assert search["proofs"] == ["p0", proof.id]
    assert search["runs"] == runs
    assert len(search["notes"]) == 2
    assert search["money"] == pytest.approx(4 * 3.0 / 2), "four devices for half an hour"
    assert receipt(proof, ledger, price=1.0)["search"]["money"] == pytest.approx(2.0)
    assert check(made, ledger) == []
    path = ledger.root / "searches" / "s1" / "attempt-001.jsonl"
    path.write_text(path.read_text().replace('"ratio":0.5', '"ratio":0.9'))
    assert "search.left_out[0].ratio: the receipt says 0.5, the records give 0.9" in check(made, ledger)


def test_a_receipt_of_an_earlier_format_is_held_to_what_it_has(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    write_ablation(ledger, BASE.replace(epochs=FAST.epochs), FAST, some_hits(("AdamW", "OneCycle")), 3)
    write_search(ledger, proof.id)
    made = receipt(proof, ledger)
    for name in ("devices", "money", "proofs", "notes", "left_out", "runs"):
        del made["search"][name]
    del made["ablation"]["verdicts"]
    made["receipt"] = 1
    made["digest"] = digest(made)
    assert check(made, ledger) == []
    made["search"]["seconds"] = 1.0
    assert any("search.seconds" in line for line in check(made, ledger))


def test_a_receipt_of_format_2_is_not_held_to_ends_that_are_wider_since(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    write_ablation(ledger, BASE.replace(epochs=FAST.epochs), FAST, some_hits(("AdamW", "OneCycle")), 3)
    made = receipt(proof, ledger)
    made["ablation"]["parts"][0]["share"]["high"] = 1.5
    made["receipt"] = 2
    made["digest"] = digest(made)
    assert check(made, ledger) == []
    made["ablation"]["whole"]["high"] = 1.5
    made["digest"] = digest(made)
    assert any("ablation.whole.high" in line for line in check(made, ledger))


def test_a_receipt_does_not_say_where_a_workload_lay_or_a_crash_was(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    hits = some_hits(("AdamW", "OneCycle"))
    gone = frozenset({"OneCycle"})
    refused = {gone: "/home/ada/task.py, line 3: ValueError"}
    base = BASE.replace(epochs=FAST.epochs)
    write_ablation(ledger, base, FAST, {k: v for k, v in hits.items() if k != gone}, 3, refused=refused)
    for folder in ledger.ablations:
        path = attempt_files(folder)[0]
        path.write_text(path.read_text().replace('"source":"made-up"', '"source":"/home/ada/task.py"'))
    text = json.dumps(receipt(proof, ledger))
    assert "line 3: ValueError" in text
    assert "/home/ada" not in text


def test_an_ablation_of_another_device_or_machine_is_not_shown(ledger: Ledger) -> None:
    write_ablation(ledger, BASE.replace(epochs=FAST.epochs), FAST, some_hits(("AdamW", "OneCycle")), 3)
    assert receipt(write_proof(ledger, SLOW, QUICK), ledger)["ablation"] is not None
    other = {**FINGERPRINT, "machine": {**FINGERPRINT["machine"], "threads": 1}}
    assert receipt(write_proof(ledger, SLOW, QUICK, fingerprint=other), ledger)["ablation"] is None
    for folder in ledger.ablations:
        path = attempt_files(folder)[0]
        path.write_text(path.read_text().replace('"device":"cpu"', '"device":"cuda"'))
    assert receipt(write_proof(ledger, SLOW, QUICK), ledger)["ablation"] is None


def test_an_edited_run_of_the_ablation_is_refused_as_one_of_the_proof(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    found = write_ablation(ledger, BASE.replace(epochs=FAST.epochs), FAST, some_hits(("AdamW", "OneCycle")), 3)
    path = attempt_files(found.runs[0].folder)[0]
    path.write_text(path.read_text().replace('"loss":0.5', '"loss":0.4', 1))
    with pytest.raises(BadData, match=f"run {found.runs[0].id} was changed"):
        receipt(proof, ledger)
