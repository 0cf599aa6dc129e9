"""Verdicts from made-up runs, and a real proof end to end."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

import halftime as ht
from halftime.ledger.store import Ledger
from halftime.measure.judge import Arm, judge
from halftime.measure.proof import Proof
from halftime.measure.tuned import Tuning, tune_choices, tuning
from halftime.methods import SGD, AdamW, OneCycle
from halftime.run import Evaluation, Run
from tests.conftest import make_task
from tests.report.records import write_proof

WORKLOAD = {"name": "w", "target": 0.9, "better": "higher", "margin": 0.005, "data": "d"}


def a_run(
    seed: int, hit: float | None, score: float | None = 0.92, recipe: ht.Recipe | None = None, **changes: Any
) -> Run:
    end = 100.0
    seen = [Evaluation(5, 0.5, hit * 0.95, 0.5, 1.0), Evaluation(10, 0.9, hit, 0.91, 1.0)] if hit else []
    seen += [Evaluation(20, 1.0, end, score, 1.0)] if score is not None else []
    fields = dict(
        id=f"r{seed}", folder=Path("none"), workload=WORKLOAD, recipe=recipe or ht.Recipe([SGD()], epochs=1), seed=seed,
        group="", device="cpu", started=0.0, state="finished" if score is not None else "failed", reason="", attempts=1,
        steps=20, seconds=end, spans={}, device_seconds=110.0, joules=None, evaluations=tuple(seen), plan=(), events=(),
        fingerprint={}, intact=True, tried=20, receipt="",
    )  # fmt: skip
    return Run(**{**fields, **changes})


def arms(
    base: list[float | None], fast: list[float | None], scores: tuple[float, float | None] = (0.92, 0.92)
) -> tuple[Arm, Arm]:
    none = Tuning(None, (), None)
    recipe = ht.Recipe([SGD()], epochs=1)
    # a little spread in the scores, the same in both arms: seeds pair
    wiggle = [0.001 * (i % 3) for i in range(len(base))]
    slow = [
        a_run(i, hit, min(0.899, scores[0]) if hit is None else scores[0] + wiggle[i]) for i, hit in enumerate(base)
    ]
    quick = [
        a_run(
            i, hit, None if scores[1] is None else min(0.899, scores[1]) if hit is None else scores[1] + wiggle[i] * 1.1
        )
        for i, hit in enumerate(fast)
    ]
    return Arm(recipe, tuple(slow), none), Arm(recipe, tuple(quick), none)


@pytest.mark.parametrize(
    ("base", "fast", "scores", "verdict"),
    [
        ([20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, 11.0, 10.2, 10.4], (0.92, 0.92), "proved"),
        ([20.0, 21.0, 22.0], [10.0, 10.5, 11.0], (0.92, 0.92), "provisional"),
        ([20.0, 21.0], [10.0, 10.5], (0.92, 0.92), "hint"),
        ([20.0], [10.0], (0.92, 0.92), "hint"),
        ([20.0], [30.0], (0.92, 0.92), "not shown"),
        ([20.0, 21.0, 40.0, 10.0, 15.0], [19.0, 24.0, 20.0, 12.0, 14.0], (0.92, 0.92), "not shown"),
        ([10.0, 10.5, 11.0, 10.2], [20.0, 21.0, 22.0, 20.5], (0.92, 0.92), "worse"),
        (
            [20.0, 21.0, 22.0, 20.5, 21.5],
            [10.0, 10.5, 11.0, 10.2, 10.4],
            (0.95, 0.92),
            "worse",
        ),  # sooner, but of less quality
        ([None, None, None, None, None], [10.0, 10.5, 11.0, 10.2, 10.4], (0.88, 0.92), "proved"),  # at least so much
        ([20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, None, 10.2, 10.4], (0.92, 0.92), "not shown"),
        ([None, None, None], [None, None, None], (0.89, 0.89), "not shown"),
        ([20.0, 21.0, 22.0], [10.0, 10.5, 11.0], (0.92, None), "not shown"),  # the fast arm diverged
    ],
)
def test_verdicts(
    base: list[float | None], fast: list[float | None], scores: tuple[float, float | None], verdict: str
) -> None:
    found = judge(*arms(base, fast, scores), WORKLOAD, len(base))
    assert found["verdict"] == verdict
    assert found["complete"]


def test_misses_are_kept_as_bounds() -> None:
    found = judge(*arms([None, 90.0, None], [10.0, 10.5, 11.0], (0.88, 0.92)), WORKLOAD, 3)
    assert found["ratio"].bound == "at least"
    assert found["ratio"].high == math.inf


def test_more_seeds_are_priced_when_they_would_help() -> None:
    found = judge(*arms([20.0, 21.0, 26.0, 15.0, 18.0], [15.0, 22.0, 18.0, 14.0, 17.0]), WORKLOAD, 5)
    assert found["verdict"] == "not shown"
    assert found["more"] > 0


def test_the_least_favourable_ends_give_a_smaller_ratio() -> None:
    found = judge(*arms([20.0, 21.0, 22.0], [10.0, 10.5, 11.0]), WORKLOAD, 3)
    assert found["least"] < found["ratio"].estimate


def test_tuning_tells_an_untuned_base_from_a_tuned_one() -> None:
    def tried(rate: float, hit: float | None) -> Run:
        return a_run(0, hit, 0.92 if hit else 0.8, ht.Recipe([SGD(lr=rate)], epochs=1))

    base = ht.Recipe([SGD(lr=0.1)], epochs=1)
    few = [tried(0.1, 20.0), tried(0.3, 30.0)]
    many = [*few, tried(0.01, None), tried(0.03, 50.0), tried(1.0, None)]
    assert str(tuning(base, WORKLOAD, few)).startswith("not tuned")
    assert tuning(base, WORKLOAD, many).tuned
    assert str(tuning(ht.Recipe([SGD(lr=0.3)], epochs=1), WORKLOAD, many)).startswith("badly tuned: 0.1")
    other = [dataclasses.replace(run, recipe=run.recipe.replace(epochs=2)) for run in many]
    assert not tuning(base, WORKLOAD, other).tries  # another budget is another recipe


def test_what_was_chosen_says_by_what_and_from_how_many_rates(tmp_path: Path) -> None:
    from halftime.ledger.lines import Writer

    ledger, recipe = Ledger(tmp_path / "ledger"), ht.Recipe([AdamW(lr=0.03)], epochs=6)
    for kind, rates, tuned, words in (
        ("search", 1, False, "not tuned: halftime search compared 1 learning rate of it, 5 are asked for"),
        ("search", 4, False, "not tuned: halftime search compared 4 learning rates of it, 5 are asked for"),
        ("search", 7, True, "tuned: 0.03 was chosen by halftime search from 7 rates over shares of the budget"),
        ("tune", 13, True, "tuned: 0.03 was chosen by halftime tune from 13 rates over shares of the budget"),
    ):
        with Writer(ledger.attempt(ledger.new(kind))) as log:
            log.record("start", workload=WORKLOAD)
            log.record("chosen", rate=0.03, rates=rates, recipe_hash=recipe.hash)
        found = tuning(recipe, WORKLOAD, [], tune_choices(ledger))
        assert (found.tuned, str(found)) == (tuned, words)


def test_a_proof_end_to_end_is_recorded_resumed_and_verified(tmp_path: Path) -> None:
    from halftime.measure.verify import verify

    ledger = Ledger(tmp_path / "ledger")
    task = make_task(512)
    base, fast = (
        ht.Recipe([SGD(lr=0.003, momentum=0.0)], epochs=12, batch_size=32),
        ht.Recipe([AdamW(lr=0.03), OneCycle()], epochs=6),
    )
    proof = ht.prove(task, base, fast, seeds=3, ledger=ledger, device="cpu", quiet=True)
    assert proof.complete
    assert [r.seed for r in proof.base.runs] == [r.seed for r in proof.fast.runs] == [0, 1, 2]
    assert str(proof.base.tuning).startswith("not tuned")
    checked = verify(ledger)
    assert (checked.runs, checked.proofs, checked.wrong) == (6, 1, [])
    assert Proof.load(proof.folder, ledger).words == proof.words

    edited = proof.fast.runs[0].folder / "attempt-001.jsonl"
    edited.write_text(edited.read_text().replace('"score":0.', '"score":0.9', 1))
    assert any("is not what its end record says" in line for line in verify(ledger).wrong)


def test_a_record_that_was_emptied_is_named(tmp_path: Path) -> None:
    from halftime.measure.verify import verify

    ledger = Ledger(tmp_path / "ledger")
    base, fast = ht.Recipe([SGD(lr=0.1)], steps=4), ht.Recipe([AdamW(lr=0.03)], steps=4)
    proof = ht.prove(make_task(128), base, fast, seeds=1, ledger=ledger, device="cpu", quiet=True)
    run = proof.fast.runs[0]
    (run.folder / "attempt-001.jsonl").write_text("")
    wrong = verify(ledger).wrong
    assert f"run {run.id} is not the one that proof {proof.id} was judged by" in wrong


def test_an_interrupted_proof_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from halftime.search import prove as module

    real, calls = module.train, []

    def sometimes(*args: Any, **kwargs: Any) -> Run:
        if kwargs.get("group"):
            calls.append(kwargs["group"])
            if len(calls) == 3:
                raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "train", sometimes)
    ledger, task = Ledger(tmp_path / "ledger"), make_task()
    recipes = ht.Recipe([SGD(lr=0.003)], steps=4), ht.Recipe([AdamW(lr=0.03), OneCycle()], steps=4)
    with pytest.raises(KeyboardInterrupt):
        ht.prove(task, *recipes, seeds=3, ledger=ledger, device="cpu", quiet=True)
    assert len(ledger.runs) == 2
    proof = ht.prove(task, *recipes, seeds=3, ledger=ledger, device="cpu", quiet=True)
    assert proof.complete
    assert len(ledger.proofs) == 1
    assert len(ledger.runs) == 6
    again = ht.prove(task, *recipes, seeds=3, ledger=ledger, device="cpu", quiet=True)
    assert again.id != proof.id  # a finished proof is not reused: the user wants to see it again


def test_no_target_no_proof() -> None:
    with pytest.raises(ht.InputError, match="has no target"):
        ht.prove(make_task(target=None), ht.Recipe([], steps=1), ht.Recipe([SGD()], steps=1))


def test_few_pairs_of_scores_do_not_say_that_it_is_not_worse(tmp_path: Path) -> None:
    """The fewest that a ratio needs are three; a proof of two seeds says what two can."""
    ledger = Ledger(tmp_path / "ledger")
    for n, kept, same in ((5, 5, True), (5, 2, False), (2, 2, True)):
        proof = write_proof(ledger, [20.0 + i % 2 for i in range(n)], [10.0 + i % 3 for i in range(n)])
        runs = tuple(dataclasses.replace(run, state="failed") if run.seed >= kept else run for run in proof.base.runs)
        base = dataclasses.replace(proof.base, runs=runs)
        found = dataclasses.replace(proof, base=base, **judge(base, proof.fast, proof.workload, n))
        assert found.same_quality is same
        assert ("its final score is not worse" in found.words) is same
