"""A recipe taken apart: which recipes are made of it, planted effects found, interrupted and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from halftime.errors import BadRecipe, BadValue, BadWorkload
from halftime.ledger.store import Ledger, load_all
from halftime.measure.ablation import Ablation, ablation_of
from halftime.measure.verify import verify
from halftime.methods import EMA, SGD, AdamW, FusedOptimizer, LabelSmoothing, OneCycle, ScheduleFree
from halftime.run import Run
from halftime.search import prove as module
from halftime.search.ablate import ablate
from halftime.search.ablate_plan import changes, default_base, with_some
from tests.conftest import make_task
from tests.search.test_prove import rewrite

ONE = ht.Recipe([AdamW(lr=0.03)], steps=4)
THREE = ONE.plus(OneCycle(), LabelSmoothing())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def planted(monkeypatch: pytest.MonkeyPatch, seconds: Any, stop_at: int = 0) -> list[Run]:
    """`train`, with records in which the target is met after `seconds(methods)`; may be interrupted once."""
    real, trained = module.train, list[Run]()

    def train(*args: Any, **kwargs: Any) -> Run:
        if kwargs.get("group") and len(trained) == stop_at > 0:
            trained.append(trained[-1])
            raise KeyboardInterrupt
        run = real(*args, **kwargs)
        if kwargs.get("group"):
            names = {type(m).__name__ for m in run.recipe.methods}
            rewrite(
                run.folder, seconds(names) * (1 + 0.01 * (run.seed % 4)) * (1 + 0.001 * (len(names) * run.seed % 3))
            )
            trained.append(run)
        return run

    monkeypatch.setattr(module, "train", train)
    return trained


def test_changes_are_named_and_put_together() -> None:
    base = ht.Recipe([SGD(lr=0.1), EMA(decay=0.9), LabelSmoothing()], epochs=4, batch_size=32)
    fast = ht.Recipe([AdamW(lr=0.01), EMA(decay=0.99), OneCycle()], epochs=2, batch_size=64)
    found = changes(base, fast)
    names = [one.name for one in found]
    assert sorted(names[:3]) == ["AdamW", "EMA", "OneCycle"]
    assert names[3:] == ["without LabelSmoothing", "budget", "batch size"]
    assert any(one.words.endswith("in place of SGD") for one in found)
    assert with_some(base, fast, []) == base
    assert with_some(base, fast, found) == fast
    half = with_some(base, fast, [one for one in found if one.name in ("AdamW", "budget")])
    assert half == ht.Recipe([AdamW(lr=0.01), EMA(decay=0.9), LabelSmoothing()], epochs=2, batch_size=32)
    assert default_base(fast) == ht.Recipe([AdamW(lr=0.01)], epochs=2, batch_size=64)
    with pytest.raises(BadRecipe, match="does not differ"):
        changes(base, base)


def test_planted_effects_are_found(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that help only together: alone nothing, left out all, shared evenly, and the interaction is the whole."""
    trained = planted(monkeypatch, lambda names: 8.0 if {"OneCycle", "LabelSmoothing"} <= names else 32.0)
    found = ablate(make_task(), THREE, seeds=3, ledger=ledger, quiet=True)
    assert len(trained) == len(found.runs) == 12
    assert found.exact
    for part in found.parts:
        assert part.alone.estimate == pytest.approx(1.0, abs=0.01)
        assert part.without.estimate == pytest.approx(4.0, rel=0.01)
        assert part.share.estimate == pytest.approx(2.0, rel=0.01)
        assert part.without.low > 3.8
    assert found.whole.estimate == pytest.approx(4.0, rel=0.01)
    assert found.interaction.estimate == pytest.approx(4.0, rel=0.02)
    assert "missed when left out: LabelSmoothing, OneCycle" in found.words
    assert verify(ledger).wrong == []
    orders = {tuple(run.recipe.hash for run in trained if run.seed == s) for s in found.seeds}
    assert len(orders) > 1, "the order is drawn anew for each seed"
    seeds = [run.seed for run in trained]
    assert seeds == sorted(seeds), "a seed is complete before the next one begins"
    other = {"name": "x", "data": "", "target": 0.9, "better": "higher"}
    here = found.device, found.fingerprint
    known = ablation_of(THREE, found.workload, ledger, *here)
    assert known is not None
    assert known.id == found.id
    assert ablation_of(THREE, other, ledger, *here) is None
    assert ablation_of(ONE, found.workload, ledger, *here) is None
    assert ablation_of(THREE, found.workload, ledger, "cuda", found.fingerprint) is None
    elsewhere = {**found.fingerprint, "machine": {**found.fingerprint["machine"], "threads": 99}}
    assert ablation_of(THREE, found.workload, ledger, found.device, elsewhere) is None


def test_it_goes_on_where_it_was_and_trains_nothing_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = planted(monkeypatch, lambda names: 32.0 / len(names), stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        ablate(make_task(), THREE, seeds=2, ledger=ledger, quiet=True)
    unfinished = Ablation.load(ledger.ablations[0], ledger)
    assert (len(unfinished.runs), unfinished.complete) == (3, False)
    assert ablation_of(THREE, unfinished.workload, ledger, unfinished.device, unfinished.fingerprint) is None
    found = ablate(make_task(), THREE, seeds=2, ledger=ledger, quiet=True)
    assert found.complete
    assert len(trained) == 8 + 1
    assert ablate(make_task(), THREE, seeds=2, ledger=ledger, quiet=True) == found
    assert len(trained) == 8 + 1
    more = ablate(make_task(), THREE, seeds=3, ledger=ledger, quiet=True)
    assert (more.id, len(more.runs), len(trained)) == (found.id, 12, 12 + 1)
    assert len(ledger.ablations) == 1
    assert len(load_all(ledger)) == 12, "runs of the warm-up are not kept"


def test_four_changes_are_drawn_and_their_error_is_said(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda names: 32.0 * 0.7 ** len(names - {"EMA"}))
    base = ht.Recipe([SGD(lr=0.1)], steps=4)
    recipe = ht.Recipe([AdamW(lr=0.03), OneCycle(), EMA()], steps=4, batch_size=64)
    found = ablate(make_task(), recipe, base, seeds=1, orders=3, ledger=ledger, quiet=True)
    assert [part.name for part in found.parts] == ["AdamW", "OneCycle", "EMA", "batch size"]
    assert (len(found.orders), found.of, found.exact) == (3, 24, False)
    assert all(part.share.drawn is not None for part in found.parts)
    assert len(found.runs) < 16
    assert "drawn by chance" in found.method
    again = ablate(make_task(), recipe, base, seeds=1, orders=3, ledger=ledger, quiet=True)
    assert again == found


@pytest.mark.parametrize(
    ("error", "why"),
    [(torch.OutOfMemoryError("CUDA out of memory"), "out of memory: CUDA"), (ZeroDivisionError("x"), "crashed: Zero")],
)
def test_a_part_that_does_not_fit_or_crashes_is_left_out(
    error: Exception, why: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, plain = planted(monkeypatch, lambda names: 32.0 / len(names)), module.train

    def train(workload: ht.Workload, recipe: ht.Recipe, *more: Any, **how: Any) -> Run:
        if {type(m).__name__ for m in recipe.methods} == {"AdamW", "LabelSmoothing"}:
            raise error
        return plain(workload, recipe, *more, **how)

    monkeypatch.setattr(module, "train", train)
    found = ablate(make_task(), THREE, seeds=2, ledger=ledger, quiet=True)
    assert len(trained) == 3 * 2
    assert found.refused["LabelSmoothing"].startswith(why)


def test_what_cannot_stand_alone_is_told_with_the_reason(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda names: 32.0 / (1 + len(names)))
    bare = ht.Recipe([], steps=4)
    found = ablate(make_task(), ONE.plus(OneCycle()), bare, seeds=2, ledger=ledger, quiet=True)
    why = "OneCycle would be left without AdamW or any other optimizer: give a --base with one"
    assert found.refused == {"OneCycle": why}
    assert found.orders == (("AdamW", "OneCycle"),)
    by_name = {part.name: part for part in found.parts}
    assert by_name["OneCycle"].alone.why == by_name["AdamW"].without.why == why
    assert by_name["OneCycle"].share.estimate == pytest.approx(1.5, rel=0.01)
    assert found.interaction.why == f"a change has no factor alone: {why}"


def test_bad_input_is_said_before_anything_is_trained(ledger: Ledger) -> None:
    base = ht.Recipe([AdamW(lr=0.03), OneCycle()], steps=4)
    fast = ht.Recipe([ScheduleFree(lr=0.03)], steps=4)
    with pytest.raises(BadWorkload, match="no target"):
        ablate(make_task(target=None), fast, base, ledger=ledger)
    for bad in ({"seeds": 0}, {"seeds": True}, {"orders": 0}):
        with pytest.raises(BadValue, match="whole number"):
            ablate(make_task(), fast, base, ledger=ledger, **bad)  # type: ignore[arg-type]
    assert not ledger.ablations


def test_methods_that_refuse_each_other_leave_the_orders_that_can_be(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda names: 16.0 if "ScheduleFree" in names else 32.0)
    base, fast = ht.Recipe([AdamW(lr=0.03), FusedOptimizer()], steps=4), ht.Recipe([ScheduleFree(lr=0.03)], steps=4)
    found = ablate(make_task(), fast, base, seeds=2, ledger=ledger, quiet=True)
    assert [part.name for part in found.parts] == ["ScheduleFree", "without FusedOptimizer"]
    assert found.orders == (("without FusedOptimizer", "ScheduleFree"),)
    assert found.parts[0].alone.estimate is None
    assert "no fused kernel" in found.parts[0].alone.why
    assert found.parts[0].share.estimate == pytest.approx(2.0, rel=0.01)


def test_what_misses_gets_more_time_and_what_misses_then_is_a_bound(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rewritten records meet the target only where the plant says so: others keep their real score, a miss."""
    real = module.train

    def train(*args: Any, **kwargs: Any) -> Run:
        run = real(*args, **kwargs)
        names = {type(m).__name__ for m in run.recipe.methods}
        if kwargs.get("group") and ("OneCycle" in names or run.recipe.steps == 16):
            rewrite(run.folder, float(run.recipe.steps or 0))
        return run

    monkeypatch.setattr(module, "train", train)
    task, fast = make_task(target=0.9, score=never), ONE.plus(OneCycle())
    short = ablate(task, fast, seeds=2, stretch=1, ledger=ledger, quiet=True)
    assert (short.whole.bound, len(short.runs)) == ("at least", 4)
    assert short.interaction.why == "one change has nothing to interact with"
    found = ablate(task, fast, seeds=2, ledger=ledger, quiet=True)
    assert found.id == short.id
    assert found.whole.estimate == pytest.approx(4.0)
    assert found.whole.bound == ""
    assert len(found.runs) == 2 + 2 * 3, "once, twice and four times the budget of the base"
    assert found.complete
    assert ablate(task, fast, seeds=2, stretch=2, ledger=ledger, quiet=True) == found
    assert verify(ledger).wrong == []


def never(outputs: Any, targets: Any) -> Any:
    """A score that no training reaches."""
    return outputs.sum() * 0.0
