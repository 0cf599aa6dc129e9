"""The parts of a search that are pure: journal, gains, root, knee, order, and what is kept of the switches."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.errors import BadData
from halftime.ledger.store import Ledger
from halftime.measure.prior import FORMAT, Prior, prior
from halftime.methods import ALL, EMA, SGD, AdamW, Compile, Guard, LabelSmoothing, Lookahead, Muon, OneCycle
from halftime.run import Run, attempt_files
from halftime.search import gains, outcome
from halftime.search.batch import accumulated, by_time, knee, sized, throughput
from halftime.search.candidates import PUBLISHED, Candidate, Queue, candidates, opening, variants
from halftime.search.drift import Reference
from halftime.search.gains import Anchor, gain_of, learn
from halftime.search.journal import Journal, records
from halftime.search.leap import leapt, opened, preferred
from halftime.search.length import Root, shortest
from halftime.search.machine import Setting, kept_settings, settings, try_settings
from halftime.search.memory import fits, largest
from halftime.search.records import Decision, Found, Gain, Pace, Trial
from halftime.search.retune import of_length
from halftime.search.search import Plan, _expected
from halftime.search.start import Start
from halftime.search.switches import clear, judge, switches, timed
from halftime.search.timing import compared, pace, shortened
from halftime.search.view import View
from halftime.search.work import Job, Place, Work
from tests.measure.test_prior import entry
from tests.search.planted import BASE, Quick, mse, task

NOBODY = Prior(0.0, 0.2, 1.0, 0, True)  # about a method that was never measured
EVEN = Pace(1.0, 0.99, 1.01, 1.01, 6, 20, 0.001, 0.0)


def work(folder: Path, **fields: Any) -> Work:
    ledger = Ledger(folder)
    place = Place(task(), ledger, "search", "cpu")
    return Work(place, Journal(ledger, ledger.new("search")), View(quiet=True), 100.0, **fields)


def test_a_journal_gives_back_what_it_knows_and_counts_time_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    folder = ledger.new("search")
    first = Journal(ledger, folder)
    assert first.once("a", lambda: {"x": (1, 2)}) == {"x": [1, 2]}
    assert first.once("a", lambda: 1 / 0) == {"x": [1, 2]}
    assert first.decide({"change": "one", "verdict": "kept"})
    again = Journal(ledger, folder)
    assert again.resumed
    assert again.once("a", lambda: 1 / 0) == {"x": [1, 2]}
    assert again.spent == first.spent
    assert not again.decide({"change": "one", "verdict": "kept"})
    assert again.decide({"change": "two", "verdict": "kept"})
    with pytest.raises(BadData, match="begin a new search"):
        Journal(ledger, folder).decide({"change": "one", "verdict": "dropped"})


def trials(scores: list[float]) -> list[Trial]:
    return [Trial("", "", seed, 10, score=score) for seed, score in enumerate(scores)]


def anchor(scores: list[float], **fields: Any) -> Anchor:
    return Anchor(BASE.replace(steps=10), {t.seed: t for t in trials(scores)}, **{"slope": 0.1, **fields})


def test_a_gain_is_score_over_slope_and_pace(tmp_path: Path) -> None:
    """A score better by the slope is worth a factor of e; a lower score is better here."""
    here = anchor([1.0, 1.0, 1.0], squares=0.0003, freedom=3)
    found = gain_of(work(tmp_path), here, trials([0.9, 0.91, 0.89]), dataclasses.replace(EVEN, ratio=2.0))
    assert found.ratio == pytest.approx(2 * math.e)
    assert 1.0 < found.low < found.ratio < found.high
    nothing = gain_of(work(tmp_path), here, trials([1.01, 0.99, 1.0]), EVEN)
    assert nothing.low < 1.0 < nothing.high


def test_a_broken_candidate_does_not_teach_the_noise(tmp_path: Path) -> None:
    here = anchor([1.0, 1.0, 1.0], squares=0.0003, freedom=3)
    before = here.sd
    learn(work(tmp_path), here, trials([9.0, 15.0, 11.0]))
    assert here.sd == before
    learn(work(tmp_path), here, trials([1.01, 0.99, 1.0]))
    assert here.freedom == 5


def test_what_changes_nothing_is_settled_at_once_and_does_not_teach_the_noise(tmp_path: Path) -> None:
    around = work(tmp_path)
    incumbent = gains.anchored(around, BASE, 64, -10.0)
    before = incumbent.squares, incumbent.freedom
    gain, seen, found = gains.race(around, incumbent, incumbent.recipe, EVEN)
    assert gain is not None
    assert (gain.ratio, len(seen), found) == (1.0, gains.RACE[0], "not clear")
    assert (incumbent.squares, incumbent.freedom) == before


def test_no_op_candidates_are_rarely_kept(tmp_path: Path) -> None:
    """Of a thousand pairs of seeds that differ by chance alone, about three in a hundred look like a gain."""
    dice, kept, around = random.Random(0), 0, work(tmp_path)
    for _ in range(1000):
        base, other = ([dice.gauss(1.0, 0.02) for _ in range(4)] for _ in range(2))
        noise = [dice.gauss(0.0, 0.02 * math.sqrt(2)) for _ in range(4)]
        here = anchor(base, squares=sum(x * x for x in noise), freedom=4)
        kept += gain_of(around, here, trials(other), EVEN).low > 1.0
    assert 10 <= kept <= 50


def test_a_root_is_found_through_noise() -> None:
    for seed in range(20):
        dice = random.Random(seed)
        root = Root(0.0, 8.0, guess=3.0, width=2.0)
        for _ in range(6):
            at = root.quantile(0.5)
            root.told(at, at - 5.0 + dice.gauss(0, 0.1), noise=0.1)
        assert abs(root.quantile(0.5) - 5.0) < 0.3


def test_the_knee_of_a_device_that_saturates() -> None:
    curve = [(n, n / (0.001 + 0.0001 * max(0, n - 64))) for n in (16, 32, 64, 128, 256, 512)]
    assert knee(curve) in (64, 128)
    assert knee([(16, 100.0), (32, 99.0), (64, 60.0)]) == 16


def test_rate_and_steps_move_with_batch_and_length() -> None:
    moved = sized(BASE, 128, 50)
    assert (moved.batch_size, moved.steps) == (128, 50)
    assert moved.get("optimizer") == SGD(lr=0.2)
    assert of_length(BASE, BASE.steps // 2).get("optimizer") == SGD(lr=0.123)  # type: ignore[operator]


def test_a_start_up_must_be_earned_back_within_the_run() -> None:
    slow_to_start = Pace(2.0, 1.9, 2.1, 1.02, 6, 20, 0.01, startup=10.0)
    assert slow_to_start.pays_after == 2000
    assert judge(slow_to_start, slow_to_start, 200)[0] == "too long"
    assert judge(slow_to_start, slow_to_start, 10_000)[0] == "kept"


def test_a_switch_must_beat_what_a_recipe_gains_over_itself_twice() -> None:
    fast = Pace(1.1, 1.05, 1.15, 1.02, 6, 20, 0.01, 0.0)
    assert judge(fast, fast, 100)[0] == "kept"
    assert judge(fast, EVEN, 100)[0] == "dropped"
    assert judge(dataclasses.replace(fast, same=1.2), fast, 100)[0] == "dropped"
    assert not clear(dataclasses.replace(fast, low=0.99))
    assert judge(dataclasses.replace(EVEN, ratio=0.0, why="refused: no"), None, 100) == ("refused", "refused: no")


def test_blocks_are_compared_by_rounds() -> None:
    rounds = [{"first": (0.010, 1.0), "again": (0.0101, 1.0), "second": (0.005, 3.0)} for _ in range(6)]
    found = compared(rounds, 20)
    assert found.ratio == pytest.approx(2.01, rel=0.01)
    assert found.startup == pytest.approx(2.0)
    assert 1.0 < found.same < 1.02


def test_real_blocks_show_a_planted_pause_and_no_other() -> None:
    short = {"device": "cpu", "least": 0.02, "rounds": 4}
    assert pace(task(), BASE, BASE.plus(Quick()), **short).ratio > 2.0  # type: ignore[arg-type]
    assert 0.6 < pace(task(), BASE, BASE, **short).ratio < 1.6  # type: ignore[arg-type]
    assert pace(task(), BASE, BASE.minus("SGD").plus(Muon(), EMA()), **short).why == ""  # type: ignore[arg-type]


def test_exact_methods_are_switches_and_the_others_candidates() -> None:
    kinds = {type(s.method) for s in switches(BASE)}
    assert kinds == {kind for kind in ALL if kind.exact and kind is not Guard}
    tried = {type(c.methods[0]) for c in candidates(BASE)}
    assert not tried & kinds
    assert not tried & {SGD, OneCycle}
    assert {type(c.methods[0]) for c in candidates(BASE, facts=frozenset())} < tried
    assert [c.methods for c in candidates(BASE, named=[EMA()])] == [(EMA(),)]
    assert Candidate((AdamW(),)).on(BASE).get("optimizer") == AdamW()
    assert all(one.methods[0] != EMA() for one in variants(BASE.plus(EMA()), [EMA()]))


def test_the_next_candidate_is_that_of_the_highest_expected_gain_a_minute() -> None:
    good, fair, unsure = (Candidate((m,), *p) for m, p in ((EMA(), (0.3, 0.1)), (Lookahead(), (0.1, 0.1)),
                                                           (LabelSmoothing(), (0.0, 0.3))))  # fmt: skip
    queue = Queue([fair, unsure, good])
    assert queue.take() is good
    for _ in range(6):
        queue.told(good, -0.5)  # promises are not kept here: what is certain to be small now counts less
    assert queue.shift(measured=False) < -0.3
    assert queue.shift(measured=True) == 0.0  # what was published and does not hold says nothing about measurements
    assert queue.take() is unsure


def test_what_was_measured_to_gain_nowhere_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmeasured methods are tried; measured ones in the order of what they gained."""
    told = {"EMA": Prior(0.3, 0.1, 1.0, 2, True), "Lookahead": Prior(-0.1, 0.1, 1.0, 2, False)}
    monkeypatch.setattr("halftime.search.candidates.prior", lambda name, *_: told.get(name, NOBODY))
    found = {type(c.methods[0]): c for c in candidates(BASE)}
    assert Lookahead not in found
    assert (found[EMA].mean, found[EMA].sd) == (0.3, 0.1)
    assert found[LabelSmoothing].mean == PUBLISHED["LabelSmoothing"]
    assert {*PUBLISHED} <= {kind.__name__ for kind in ALL}
    assert found[Muon].sd > found[LabelSmoothing].sd
    assert Queue(found.values()).take() is found[EMA]
    assert candidates(BASE, named=[Lookahead()])


def test_what_nearly_always_pays_is_tried_first() -> None:
    assert [c.methods for c in opening(ht.Recipe([SGD()], epochs=1))] == [(OneCycle(),), (AdamW(),)]
    assert [c.methods for c in opening(BASE)] == [(AdamW(),)]
    assert opening(ht.Recipe([Muon(), OneCycle()], epochs=1)) == []


class Ragged:
    """Samples of different sizes, one of them huge."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(1, 64 if index == 17 else 8), torch.tensor(float(index % 2))


class Limited(nn.Module):
    """Has room for so many numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() > 200:
            raise torch.OutOfMemoryError("planted")
        return x.mean((1, 2)) * self.weight


def test_the_largest_sample_is_tried_before_a_setting_is_safe() -> None:
    data = Ragged()
    ragged = task(model=Limited, train=data, valid=data, loss=nn.functional.mse_loss)
    chosen, size = largest(ragged.train, 4)
    assert size == 64
    assert max(chosen[i][0].numel() for i in range(len(chosen))) == 64
    found = fits(ragged, ht.Recipe([SGD()], steps=4, batch_size=2), "cpu")
    assert not found.fits
    fine = fits(task(), BASE, "cpu")
    assert fine.fits, fine.why
    assert "evaluation" in fine.tried


def limited(**changes: Any) -> ht.Workload:
    """A workload whose network has room for twenty-five samples of eight numbers."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(512, 8, 1, generator=source)
    fields = dict(model=Limited, train=(x, x.mean((1, 2))), valid=(x[:16], x[:16].mean((1, 2))), score=mse, loss=mse)
    return task(**{**fields, **changes})


def test_a_batch_that_does_not_fit_is_made_of_parts(tmp_path: Path) -> None:
    around = work(tmp_path, block=0.01)
    around.place = dataclasses.replace(around.place, workload=limited())
    recipe = ht.Recipe([SGD()], steps=16, batch_size=16)
    points = {point.size: point for point in throughput(around, recipe)}
    assert {size: point.recipe.micro_batch for size, point in points.items()} == {4: None, 8: None, 16: None, 32: 16}
    assert around.notes == ["a batch of 32 fits in parts of 16 only"]
    assert all(point.throughput > 0 for point in points.values())
    assert accumulated(around, recipe.replace(batch_size=64), 32) is None


def test_sizes_are_compared_at_equal_time(tmp_path: Path) -> None:
    """A step costs a pause whatever its size, so a larger batch is worth having, and the stage comes to its end."""
    around = work(tmp_path, block=0.01)
    around.stage = "batch"
    recipe = ht.Recipe([SGD(lr=0.3), OneCycle()], steps=24, batch_size=4)
    here = gains.anchored(around, recipe, 24, -0.03)
    with around.share("batch", 0.9):
        found = by_time(around, here)
    tried = [d for d in around.decisions if d.change.startswith("batch size")]
    assert tried
    assert any("the knee is at" in note for note in around.notes)
    assert found is None or found[0].batch_size != 4
    assert (found is not None) == any(d.verdict == "kept" for d in tried)


def test_a_compiler_is_not_tried_where_it_cannot_be_earned_back(tmp_path: Path) -> None:
    around = work(tmp_path)
    around.train(BASE, [0])
    found, again = timed(around, BASE, BASE.plus(Compile()), 100)
    assert again is None
    assert judge(found, again, 100)[0] == "too long"
    assert not [key for key in around.journal.known if key.startswith("pace")]


def test_what_is_missing_is_tried_at_a_share_of_the_length(tmp_path: Path) -> None:
    around = work(tmp_path, block=0.01)
    textbook = ht.Recipe([SGD(lr=0.02, momentum=0.0)], steps=256, batch_size=32)
    pilot = tuple(around.train(textbook, range(3), judged=True))
    began = Start(textbook, 256, pilot, -0.1, None)
    anchor = leapt(around, began, Candidate((OneCycle(), AdamW())))
    assert anchor is not None
    assert anchor.steps <= 128
    (decision,) = around.decisions
    assert decision.gain is not None
    assert decision.gain.ratio > 1.3
    assert set(decision.methods) == {"OneCycle", "AdamW"}
    assert leapt(around, dataclasses.replace(began, goal=1.0), Candidate((OneCycle(),))) is None  # out of reach


def test_the_seconds_of_a_training_that_was_killed_count_for_its_search(tmp_path: Path) -> None:
    """The first attempt dies after a training and before it writes that down."""
    first = work(tmp_path)
    first.journal.log.record("start", durable=True)
    (trial,) = first.train(BASE, [0])
    (folder,) = first.place.ledger.searches
    lines = [r for r in records(folder) if r["kind"] == "made"]
    for path in attempt_files(folder):
        path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if '"made"' not in line))
    assert len(lines) == 1
    again = Work(first.place, Journal(first.place.ledger, folder), View(quiet=True), 100.0)
    (same,) = again.train(BASE, [0])
    assert (same.run, same.earlier) == (trial.run, pytest.approx(trial.held))
    assert again.journal.spent >= trial.held > 0
    assert Work(first.place, Journal(first.place.ledger, folder), View(quiet=True), 100.0).train(BASE, [0]) == [same]


@pytest.mark.parametrize(("pace", "first"), [(0.9, Muon), (0.4, AdamW)])
def test_an_optimizer_that_evidence_prefers_comes_first_if_its_steps_are_cheap_enough(
    tmp_path: Path, monkeypatch, pace: float, first: type
) -> None:
    """Elsewhere 1.6 times as soon, with steps of 1.2 times the seconds; here of 1.1 or 2.5 times."""
    told = entry("gain", 1.6, 1.5, 1.7, against="AdamW", cost=1.2)
    (tmp_path / "muon.json").write_text(json.dumps({"format": FORMAT, "method": "Muon", "entries": [told]}))
    hopes = {"Muon": prior("Muon", ["images"], places=[tmp_path]), "SGD": dataclasses.replace(NOBODY, step=1.0)}
    timing = Pace(pace, pace, pace, 1.0, 4, 8, 0.01, 0.0)
    monkeypatch.setattr("halftime.search.leap.fitting", lambda work, anchor, candidate: (anchor.recipe, timing, ""))
    around, base = work(tmp_path), ht.Recipe([SGD()], steps=64, batch_size=32)
    found = preferred(around, base, opening(base), hopes)
    assert [type(one.methods[0]) for one in found] == [OneCycle, first]
    assert bool(around.notes) == (first is Muon)
    decayed = ht.Recipe([AdamW(), OneCycle()], steps=64)
    assert preferred(around, decayed, opening(decayed), hopes) == []  # nothing is missing


def test_what_a_search_expects_is_read_once(tmp_path: Path, monkeypatch) -> None:
    """Evidence that is measured between two attempts does not send the second one another way."""
    monkeypatch.setattr("halftime.measure.prior.folders", lambda: [tmp_path])
    around = work(tmp_path)
    plan, where = Plan(BASE, None, ()), torch.device("cpu")
    before = _expected(around, plan, frozenset({"images"}), where)
    told = entry("gain", 1.6, 1.5, 1.7, against="AdamW", cost=1.2)
    (tmp_path / "muon.json").write_text(json.dumps({"format": FORMAT, "method": "Muon", "entries": [told]}))
    assert prior("Muon", ["images"]).measured == 1
    again = dataclasses.replace(around, journal=Journal(around.place.ledger, *around.place.ledger.searches))
    assert _expected(again, plan, frozenset({"images"}), where) == before
    assert before["Muon"].measured == 0


def test_a_leap_that_does_not_get_there_is_written_down(tmp_path: Path) -> None:
    around = work(tmp_path, block=0.01)
    around.stage = "opening"
    textbook = ht.Recipe([SGD(lr=0.02, momentum=0.0)], steps=96, batch_size=32)
    began = Start(textbook, 96, tuple(around.train(textbook, range(2), judged=True)), 1.0, None)
    assert leapt(around, began, Candidate((OneCycle(),))) is None
    (decision,) = around.decisions
    assert (decision.verdict, decision.gain) == ("dropped", None)
    assert decision.why.startswith("the goal was met at no share of the base's steps; the best ended at ")
    assert decision.runs
    assert opened(around.decisions) == {"OneCycle"}


def test_a_leap_that_found_no_time_may_come_again(tmp_path: Path) -> None:
    around = work(tmp_path, block=0.01)
    around.stage = "opening"
    textbook = ht.Recipe([SGD(lr=0.02, momentum=0.0)], steps=96, batch_size=32)
    began = Start(textbook, 96, tuple(around.train(textbook, range(2), judged=True)), 1.0, None)
    around.until = 0.0
    assert leapt(around, began, Candidate((OneCycle(),))) is None
    assert [d.runs for d in around.decisions] == [()]
    assert opened(around.decisions) == set()


def test_a_length_that_cannot_be_checked_goes_to_the_proof(tmp_path: Path) -> None:
    """Each training takes a third of the time: one look is had, and no check."""
    around = work(tmp_path)

    def engine(place: Place, jobs: Sequence[Job], before: Sequence[Run] = ()) -> Iterator[Trial]:
        for job in jobs:
            around.journal.spent += 30.0
            steps = job.recipe.steps or 0
            score = 0.5 / math.sqrt(steps)  # lower is better: 0.05 after 100 steps
            yield Trial("shorten", job.recipe.hash, job.seed, steps, held=30.0, seconds=30.0, hit=29.0, score=score)

    around.engine = engine
    here = anchor([0.0625, 0.0625], slope=0.02)
    here.recipe = BASE.replace(steps=64)
    found = shortest(around, here, -0.05, 400)
    assert found.recipe is not None
    assert 100 <= (found.recipe.steps or 0) <= 200
    assert "before the proof" in around.notes[0]
    assert shortest(around, here, 0.0, 400).recipe is None


def test_a_recipe_that_missed_in_its_proof_is_proved_once_more_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around, recipe, asked = work(tmp_path), BASE.replace(steps=40), []
    around.trials = [Trial("", recipe.hash, 0, 40, seconds=2.0, hit=2.0, score=0.0)]
    began = Start(BASE, 64, (Trial("", BASE.hash, 0, 64, seconds=9.0, held=9.0, hit=8.0, score=0.0),), 0.0, None)

    def proved(_: Work, __: Start, tried: ht.Recipe, k: int) -> dict[str, Any]:
        asked.append((tried.steps, k))
        verdict, ratio = ("proved", [3.0, 2.0, None]) if k else ("not shown", None)
        return {"id": f"p{k}", "verdict": verdict, "words": "shown", "ratio": ratio, "device_seconds": 5.0,
                "times": [8.0, 3.0], "bound": 8.0, "missed": not k, "pair": 1.0}  # fmt: skip

    monkeypatch.setattr(outcome, "_proved", proved)
    found = outcome.concluded(around, began, recipe)
    assert asked == [(40, 0), (52, 1)]
    assert (found.verdict, found.proof, found.recipe["steps"]) == ("faster", "p1", 52)
    assert "error rate of both" in found.notes[0]
    assert found.before == "p0"
    assert found.device_seconds == 10.0


def test_a_setting_that_is_kept_is_named_and_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around, done = work(tmp_path), []
    planted = Setting("planted", "torch.planted()", lambda: done.append(1))
    fast = dataclasses.replace(EVEN, ratio=1.5, low=1.4, high=1.6)
    monkeypatch.setattr("halftime.search.machine.settings", lambda _: [planted])
    monkeypatch.setattr("halftime.search.machine.named", {"planted": planted}.__getitem__)
    monkeypatch.setattr("halftime.search.machine.pace", lambda *_, **__: fast)
    try_settings(around, BASE)
    assert around.settings == ["torch.planted()"]
    assert len(done) == 1
    found = outcome.ended(around, Start(BASE, 64, (), 0.0, None), "nothing found", "")
    assert Found.from_dict(json.loads(json.dumps(found.to_dict()))).settings == ("torch.planted()",)
    monkeypatch.setattr("halftime.search.machine.pace", lambda *_, **__: EVEN)
    slow = work(tmp_path)
    try_settings(slow, BASE)
    assert not slow.settings


def test_the_bar_of_what_remains_is_marked() -> None:
    gain = Gain(2.0, 1.5, 2.5, 3, 0.0, 1.0)
    kept = Decision("methods", "+ Quick()", "kept", "", {"Quick": {}}, gain)
    bars = outcome.waterfall([kept], BASE, BASE.plus(Quick()), 6.0)
    assert [(bar.ratio, bar.rest) for bar in bars] == [(2.0, False), (pytest.approx(3.0), True)]


def test_settings_of_the_process_come_back() -> None:
    before = torch.get_num_threads()
    with kept_settings():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before
    for setting in settings(torch.device("cpu")):
        with setting.within():
            assert torch.get_num_threads() != before
        assert torch.get_num_threads() == before


def test_a_machine_that_slows_down_is_reported(tmp_path: Path) -> None:
    around = work(tmp_path)
    reference = Reference(around, BASE, every=0.0)
    steps = iter((0.001, 0.001, 0.002))
    reference._measure = lambda: next(steps)  # type: ignore[method-assign]
    reference()
    reference()
    assert not around.notes
    reference()
    assert "2.0× slower" in around.notes[0]


def test_a_short_workload_has_few_validation_samples() -> None:
    assert len(shortened(task()).valid) == 256


def test_every_stage_ends_when_its_share_is_spent(tmp_path: Path) -> None:
    around = work(tmp_path)
    with around.share("one", 0.5):
        assert around.until == pytest.approx(50.0)
        assert around.affords(10)
        around.journal.spent = 51.0
        assert not around.affords()
    assert around.until == 100.0
