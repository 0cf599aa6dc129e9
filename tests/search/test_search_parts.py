"""The parts of a search that are pure: journal, gains, root, knee, order, and what is kept of the switches."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.errors import BadData
from halftime.ledger.store import Ledger
from halftime.methods import ALL, EMA, SGD, AdamW, Guard, LabelSmoothing, Lookahead, Muon, OneCycle
from halftime.search.batch import knee, sized
from halftime.search.candidates import Candidate, Queue, candidates, variants
from halftime.search.drift import Reference
from halftime.search.gains import Anchor, gain_of, learn
from halftime.search.journal import Journal
from halftime.search.length import Root
from halftime.search.machine import kept_settings, settings
from halftime.search.memory import fits, largest
from halftime.search.priors import DEFAULT, prior
from halftime.search.records import Pace, Trial
from halftime.search.retune import of_length
from halftime.search.switches import clear, judge, switches
from halftime.search.timing import compared, pace, shortened
from halftime.search.view import View
from halftime.search.work import Place, Work
from tests.search.planted import BASE, Quick, task

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


def test_no_op_candidates_are_rarely_kept(tmp_path: Path) -> None:
    """Of a thousand pairs of seeds that differ by chance alone, about one in a hundred looks like a gain."""
    dice, kept, around = random.Random(0), 0, work(tmp_path)
    for _ in range(1000):
        base, other = ([dice.gauss(1.0, 0.02) for _ in range(4)] for _ in range(2))
        noise = [dice.gauss(0.0, 0.02 * math.sqrt(2)) for _ in range(4)]
        here = anchor(base, squares=sum(x * x for x in noise), freedom=4)
        kept += gain_of(around, here, trials(other), EVEN).low > 1.0
    assert 1 <= kept <= 25


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
    assert queue.shift < -0.3
    assert queue.take() is unsure


def test_evidence_says_what_is_tried_and_in_which_order(tmp_path: Path) -> None:
    assert prior(EMA, folders=(tmp_path / "none",)) == DEFAULT
    entries = [{"device": "cpu", "ratio": {"estimate": r}} for r in (1.2, 1.3)]
    strange = {"device": "H100", "ratio": {"estimate": 3.0}}
    (tmp_path / "ema.json").write_text(json.dumps({"format": 1, "entries": [*entries, strange]}))
    (tmp_path / "muon.json").write_text("no evidence")
    found = prior(EMA, folders=(tmp_path,))
    assert found is not None
    assert found[0] == pytest.approx((math.log(1.2) + math.log(1.3)) / 2)
    assert prior(Muon, folders=(tmp_path,)) is None


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
