"""Sequential verdicts from made-up runs: the claim, the bounds and the reason to stop agree."""

from __future__ import annotations

import dataclasses
import math

import pytest

from halftime.measure.judge import Arm, judge
from halftime.measure.sequential import ALPHA, Design, running
from halftime.measure.statistics import difference, speedup
from tests.measure.test_proof import WORKLOAD, arms

PLAN = Design(effect=1.5, most=8)
BASE: list[float | None] = [20.0, 21.0, 22.0, 20.5, 21.5, 20.8, 21.2, 22.3]
QUICK: list[float | None] = [10.0, 10.5, 11.0, 10.2, 10.4, 10.6, 10.9, 11.1]
LIKE: list[float | None] = [21.0, 20.0, 22.4, 20.6, 21.0, 21.0, 20.9, 22.0]


@pytest.mark.parametrize(
    ("fast", "n", "verdict", "settled"),
    [
        (QUICK, 2, "hint", ""),
        (QUICK, 3, "not shown", ""),  # the time may be settled, five seeds are asked for all the same
        (QUICK, 5, "proved", "it is settled"),
        (LIKE, 3, "not shown", "a gain as large as was asked for"),
        ([None, *QUICK[1:]], 3, "not shown", "missed the target"),
        ([2 * (b or 0.0) + i % 2 for i, b in enumerate(BASE)], 6, "worse", "it is settled"),
    ],
)
def test_verdicts(fast: list[float | None], n: int, verdict: str, settled: str) -> None:
    found = judge(*arms(BASE[:n], fast[:n]), WORKLOAD, 8, PLAN)
    assert found["verdict"] == verdict
    assert settled in found["settled"]
    assert bool(settled) == bool(found["settled"]) == found["complete"]
    assert found["more"] is None


def test_a_claim_needs_the_sequential_boundary_and_not_the_ordinary_interval() -> None:
    base: list[float | None] = [20.0, 20.0, 20.0, 20.0, 20.0]
    fast: list[float | None] = [18.0, 19.5, 17.0, 19.6, 17.5]
    fixed, looked = judge(*arms(base, fast), WORKLOAD, 5), judge(*arms(base, fast), WORKLOAD, 8, PLAN)
    assert fixed["ratio"].low > 1.0 > looked["ratio"].low
    assert fixed["verdict"] == "proved" != looked["verdict"]
    assert looked["ratio"].estimate == fixed["ratio"].estimate


def test_repeated_bounds_are_wider_than_ordinary_ones() -> None:
    found = judge(*arms(BASE[:5], QUICK[:5]), WORKLOAD, 8, PLAN)
    slow, quick = arms(BASE[:5], QUICK[:5])
    pairs = [(b.hit[1], b.seconds, f.hit[1], f.seconds) for b, f in zip(slow.runs, quick.runs, strict=True)]  # type: ignore[index]
    plain = speedup(pairs)
    assert found["ratio"].low < plain.low < plain.high < found["ratio"].high
    scores = difference([r.score or 0.0 for r in slow.runs], [r.score or 0.0 for r in quick.runs])
    assert found["quality"].low < scores.low


def test_quality_that_is_not_shown_keeps_the_proof_open_until_the_most() -> None:
    """The final scores vary far more than the margin: the time alone proves nothing."""
    slow, quick = arms(BASE, QUICK)

    def noisy(run: object, seed: int) -> object:
        seen = run.evaluations  # type: ignore[attr-defined]
        last = dataclasses.replace(seen[-1], score=0.92 + (0.03 if seed % 2 else -0.03))
        return dataclasses.replace(run, evaluations=(*seen[:-1], last))  # type: ignore[type-var]

    quick = dataclasses.replace(quick, runs=tuple(noisy(r, r.seed) for r in quick.runs))  # type: ignore[arg-type]
    part = [dataclasses.replace(arm, runs=arm.runs[:6]) for arm in (slow, quick)]
    assert judge(*part, WORKLOAD, 8, PLAN)["settled"] == ""
    found = judge(slow, quick, WORKLOAD, 8, PLAN)
    assert found["verdict"] == "not shown"
    assert found["settled"].endswith("the quality would need more")


def test_a_stricter_design_is_stricter_of_quality_too() -> None:
    """Both claims of one proof hold at the level that it was designed for: two proofs share their errors."""
    lower = {
        alpha: judge(*arms(BASE, QUICK), WORKLOAD, 8, Design(effect=1.5, most=8, alpha=alpha))["quality"].low
        for alpha in (ALPHA, ALPHA / 2)
    }
    assert lower[ALPHA / 2] < lower[ALPHA]
    slow, quick = arms(BASE, QUICK)
    gaps = [f.score - b.score for b, f in zip(slow.runs, quick.runs, strict=True)]  # type: ignore[operator]
    assert lower[ALPHA] == running(gaps, 0.05, PLAN.quality).low  # of one proof as ever: each side at 95 %


def test_misses_open_their_ends() -> None:
    found = judge(*arms([None, *BASE[1:5]], QUICK[:5], (0.92, 0.92)), WORKLOAD, 8, PLAN)
    assert found["ratio"].high == math.inf
    found = judge(*arms(BASE[:5], [*QUICK[:4], None]), WORKLOAD, 8, PLAN)
    assert found["ratio"].low == 0.0
    assert found["verdict"] == "not shown"


def test_scores_on_the_way_of_base_runs_that_failed_are_no_quality() -> None:
    """Three of five base runs fail early, at scores far below: that the final scores are no worse, two cannot show."""
    slow, quick = arms(BASE[:5], QUICK[:5])
    lost = tuple(
        dataclasses.replace(run, state="failed", evaluations=run.evaluations[:1]) if run.seed > 1 else run
        for run in slow.runs
    )
    found = judge(dataclasses.replace(slow, runs=lost), quick, WORKLOAD, 5)
    assert found["quality"].n == 2
    assert found["verdict"] == "not shown"
    looked = judge(dataclasses.replace(slow, runs=lost), quick, WORKLOAD, 8, PLAN)
    assert looked["settled"] == "", "more pairs may show it"
    slow, quick = arms(BASE, QUICK)
    none = tuple(dataclasses.replace(run, state="failed") for run in slow.runs)
    looked = judge(dataclasses.replace(slow, runs=none), quick, WORKLOAD, 8, PLAN)
    assert looked["quality"] is None
    assert "a fast run failed" not in looked["settled"]
    assert looked["settled"].endswith("the quality would need more")


def test_as_many_pairs_of_scores_as_of_times_are_asked_for() -> None:
    slow, quick = arms(BASE[:6], QUICK[:6])
    for lost, verdict in ((1, "proved"), (2, "provisional"), (3, "provisional"), (4, "not shown")):
        runs = tuple(dataclasses.replace(r, state="failed") if r.seed < lost else r for r in slow.runs)
        assert judge(dataclasses.replace(slow, runs=runs), quick, WORKLOAD, 6)["verdict"] == verdict


def test_a_base_that_misses_is_no_reason_to_give_up() -> None:
    """Equal budgets, met at the very end by the fast arm alone: how much slower the base is nobody knows."""
    base: list[float | None] = [None] * 6
    fast: list[float | None] = [99.0, 101.0, 99.5, 100.5, 98.0, 102.0]
    found = judge(*arms(base, fast), WORKLOAD, 8, PLAN)
    assert found["ratio"].high == math.inf
    assert found["settled"] == ""


@pytest.mark.parametrize("fixed", [True, False])
def test_a_final_score_that_is_no_number_is_none(fixed: bool) -> None:
    slow, quick = arms(BASE[:6], QUICK[:6])

    def lost(arm: Arm, seed: int) -> Arm:
        runs = list(arm.runs)
        last = dataclasses.replace(runs[seed].evaluations[-1], score=math.nan)
        runs[seed] = dataclasses.replace(runs[seed], evaluations=(*runs[seed].evaluations[:-1], last))
        return dataclasses.replace(arm, runs=tuple(runs))

    design = None if fixed else PLAN
    found = judge(lost(slow, 2), quick, WORKLOAD, 6, design)
    assert found["quality"].n == 5
    assert math.isfinite(found["quality"].low)
    assert found["verdict"] == "proved"
    assert judge(slow, lost(quick, 2), WORKLOAD, 6, design)["quality"] is None
