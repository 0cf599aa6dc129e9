"""A sequential proof end to end: settled early, recorded, resumed, verified, and shown on its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.ledger.lines import read
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.measure.sequential import QUALITY, Design
from halftime.measure.verify import verify
from halftime.methods import SGD, AdamW, OneCycle
from halftime.report.page import proof_page
from halftime.run import Evaluation, Run, attempt_files
from halftime.search import prove as module
from tests.conftest import make_task

BASE, FAST = ht.Recipe([SGD(lr=0.003)], steps=4), ht.Recipe([AdamW(lr=0.03), OneCycle()], steps=4)
PLAN = Design(effect=1.5, most=8)


def timed(ledger: Ledger, seconds: dict[str, float], stop_at: int = 0) -> Any:
    """`train`, with records in which each arm meets the target after so many seconds; may be interrupted once."""
    real, calls = module.train, []

    def train(*args: Any, **kwargs: Any) -> Run:
        run = real(*args, **kwargs)
        group = kwargs.get("group", "")
        if group:
            calls.append(group)
            hit = seconds[group.split("/")[1]] * (1 + 0.02 * ((run.seed * 7 + len(group)) % 5))
            rewrite(run.folder, hit)
        if stop_at and len(calls) == stop_at:
            calls.append("stopped")
            raise KeyboardInterrupt
        return run

    return train


def rewrite(folder: Path, hit: float) -> None:
    """Make up the record of a run anew, with the target met at `hit`."""
    from halftime.ledger.lines import Writer

    path = attempt_files(folder)[-1]
    records, _ = read(path)
    path.unlink()
    with Writer(path) as log:
        log.record("start", **{k: v for k, v in records[0].items() if k not in ("kind", "t", "digest")})
        end = {k: v for k, v in records[-1].items() if k not in ("kind", "t", "digest", "state", "reason")}
        seen = [Evaluation(2, 0.5, hit / 2, 0.2, 1.0), Evaluation(4, 1.0, hit, 0.95, 0.5)]
        for one in seen:
            log.record("evaluation", **{**end, **dataclasses.asdict(one)})
        log.end("finished", **{**end, "seconds": hit})


def test_a_clear_gain_is_proved_after_few_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    monkeypatch.setattr(module, "train", timed(ledger, {"base": 20.0, "fast": 10.0}, stop_at=5))
    how: dict[str, Any] = dict(sequential=PLAN, ledger=ledger, device="cpu", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        ht.prove(make_task(), BASE, FAST, **how)
    begun = Proof.load(ledger.proofs[0], ledger)
    assert not begun.complete
    assert "not settled yet" in begun.words
    assert "2 of at most 8 planned seeds are done by both recipes" in " ".join(proof_page(begun).split())
    proof = ht.prove(make_task(), BASE, FAST, **how)
    assert proof.id == begun.id
    assert (proof.verdict, proof.seeds, len(ledger.runs)) == ("proved", (0, 1, 2, 3, 4), 10)
    assert "95 % repeated interval" in proof.words
    assert "sequential design" in proof.words
    assert "stopped after 5 pairs: it is settled" in proof.words
    assert read(attempt_files(proof.folder)[0])[0][0]["sequential"] == PLAN.to_dict()
    assert proof.to_dict()["sequential"]["settled"] == proof.settled
    assert verify(ledger).wrong == []

    page = " ".join(proof_page(proof).split())
    assert "95 % interval" not in page.replace("The whole 95 % interval of the ratio lies", "")
    assert "95 % repeated interval" in page
    assert "at every look together" in page
    assert "No run was stopped early" in page


def test_no_gain_is_given_up_early(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    monkeypatch.setattr(module, "train", timed(ledger, {"base": 20.0, "fast": 20.0}))
    proof = ht.prove(make_task(), BASE, FAST, sequential=PLAN, ledger=ledger, device="cpu", quiet=True)
    assert proof.verdict == "not shown"
    assert proof.complete
    assert len(proof.base.runs) < PLAN.most
    assert "would likely have shown by now" in proof.words
    assert proof.more is None
    assert verify(ledger).wrong == []


def test_another_design_is_another_proof(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interrupted sequential proof is not gone on with as a fixed one, nor the other way round."""
    ledger = Ledger(tmp_path / "ledger")
    monkeypatch.setattr(module, "train", timed(ledger, {"base": 20.0, "fast": 10.0}, stop_at=1))
    with pytest.raises(KeyboardInterrupt):
        ht.prove(make_task(), BASE, FAST, 3, ledger=ledger, device="cpu", quiet=True)
    proof = ht.prove(make_task(), BASE, FAST, sequential=Design(1.5, most=3), ledger=ledger, device="cpu", quiet=True)
    assert len(ledger.proofs) == 2
    assert proof.settled
    assert len(proof.base.runs) == 3


def test_a_proof_that_does_not_say_how_it_bounds_the_quality_is_read_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger, written = Ledger(tmp_path / "ledger"), Design.to_dict
    monkeypatch.setattr(module, "train", timed(ledger, {"base": 20.0, "fast": 10.0}))
    monkeypatch.setattr(Design, "to_dict", lambda self: {k: v for k, v in written(self).items() if k != "quality"})
    proof = ht.prove(make_task(), BASE, FAST, sequential=Design(1.5, most=3), ledger=ledger, device="cpu", quiet=True)
    assert proof.design is not None
    assert proof.design.quality == QUALITY
    assert Design(1.5, most=3).quality != QUALITY
    assert verify(ledger).wrong == []
