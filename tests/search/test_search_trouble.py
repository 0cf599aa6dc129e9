"""Whatever a trial does, the search goes on, and says only what its records carry."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from halftime.errors import BadValue
from halftime.measure.sequential import Design, follow, running
from halftime.methods import EMA, ChannelsLast, DropStochastic, OneCycle
from halftime.places import Method, Places
from halftime.recipe import Recipe
from halftime.search import prune, work
from halftime.search.batch import throughput
from halftime.search.candidates import Candidate, Queue
from halftime.search.combine import _asked_twice, judge, without_idle
from halftime.search.gains import Anchor, anchored, gain_of, race
from halftime.search.journal import alone
from halftime.search.length import Short, shortest
from halftime.search.outcome import designed, expected, likely, waterfall
from halftime.search.phases import changed
from halftime.search.records import Decision, Gain, Pace, Trial
from halftime.search.retune import rate_of, retuned, unrated
from halftime.search.start import Start
from halftime.search.timing import TOO_LONG, curve, pace
from halftime.search.work import Job, trained
from tests.search.planted import BASE, searched, task
from tests.search.test_search_parts import EVEN, anchor
from tests.search.test_search_parts import work as some_work


@dataclasses.dataclass(frozen=True)
class Late(Method):
    """Blows up after more steps than the first block has."""

    steps: int = 14

    def start(self, model: Any, optimizer: Any, feed: Any) -> Any:
        return _Late(feed, self.steps)


class _Late(Places):
    def __init__(self, feed: Any, steps: int) -> None:
        self.feed, self.steps = feed, steps

    def batch(self, inputs: Any, targets: Any, progress: float) -> tuple[Any, Any]:
        return inputs * (float("nan") if self.feed.served.step > self.steps else 1.0), targets


def test_a_recipe_that_diverges_in_a_later_block_is_a_result_of_timing() -> None:
    found = pace(task(), BASE, BASE.plus(Late()), device="cpu", rounds=3, least=0.05)
    assert (found.ratio, found.why.split(":")[0]) == (0.0, "crashed")
    found = pace(task(), BASE.plus(Late()), BASE, device="cpu", rounds=3, least=0.05)
    assert "failed" in found.why or "crashed" in found.why


def test_a_batch_size_that_cannot_be_timed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = curve(task(), [BASE, BASE.plus(Late(2)), BASE], device="cpu", least=0.01)
    assert second.why
    assert not first.why
    assert third.ratio > 0
    assert all(one.why for one in curve(task(), [BASE.plus(Late(2)), BASE], device="cpu", least=0.01))
    around = some_work(tmp_path)
    broken = {"why": "crashed: planted", "ratio": 0.0}
    paces = [dataclasses.asdict(EVEN), dataclasses.asdict(EVEN) | broken]
    monkeypatch.setattr("halftime.search.batch.timed", lambda work, recipes: (paces * 3)[: len(recipes)])
    points = throughput(around, BASE)
    assert points
    assert all(point.throughput > 0 for point in points)
    assert any("could not be timed: crashed: planted" in note for note in around.notes)


def test_a_score_that_is_no_number_is_no_score(tmp_path: Path) -> None:
    asked: list[int] = []

    def odd_at_the_end(outputs: Any, targets: Any) -> Any:
        asked.append(1)
        return (outputs - targets).abs().mean() * (math.inf if len(asked) > 1 else 1.0)

    odd = dataclasses.replace(task(), score=odd_at_the_end)
    place = dataclasses.replace(some_work(tmp_path).place, workload=odd)
    trial = trained(place, Job("base", BASE.replace(steps=4), 0))
    assert trial.state == "finished"
    assert trial.score is None
    assert not trial.ended


def test_a_gain_stays_finite_where_the_slope_tells_nothing(tmp_path: Path) -> None:
    here = anchor([1.0, 1.0], slope=1e-9, squares=1.0, freedom=2)
    around = some_work(tmp_path)
    found = gain_of(around, here, [Trial("", "", seed, 10, score=score) for seed, score in enumerate([0.0, 2.0])], EVEN)
    assert 0 < found.low < found.high < math.inf


def test_an_incumbent_that_did_not_end_settles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = some_work(tmp_path)
    lost = Trial("", "", 0, state="failed", reason="planted")
    here = Anchor(BASE.replace(steps=10), {seed: dataclasses.replace(lost, seed=seed) for seed in (20000, 20001)}, 0.1)

    def all_end(_: Any, wanted: Any, judged: bool = False) -> list[Trial]:
        return [Trial("", "", seed, 10, score=1.0) for _, seed in wanted]

    monkeypatch.setattr(work.Work, "together", all_end)
    gain, _, verdict = race(around, here, BASE, EVEN)
    assert (gain, verdict) == (None, "dropped")


def test_a_slope_that_was_measured_is_kept_where_nothing_new_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = [Trial("", "", seed, 24, score=1.0) for seed in (20000, 20001)]
    monkeypatch.setattr(work.Work, "together", lambda *_, **__: alike)
    before = anchor([1.0, 1.0], slope=0.07)
    assert anchored(some_work(tmp_path), BASE, 24, -0.5, before).slope == pytest.approx(0.07)


def test_the_time_that_runs_out_while_leaving_out_costs_only_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def over(*_: Any) -> Any:
        raise work.OutOfTime

    monkeypatch.setattr("halftime.search.search.left_out", over)
    found = searched(ledger=tmp_path, proof=False)
    assert any("the recipe stays whole" in note for note in found.notes)
    assert found.verdict in ("not shown", "nothing found")


@pytest.mark.parametrize("steps", [None, 105])
def test_what_was_left_out_is_not_looked_for_beyond_the_length_that_decides(
    steps: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits' search once trained up to six times as long a recipe, only to say that it stays whole."""
    whole, less, asked = BASE.plus(EMA()).replace(steps=100), BASE.replace(steps=100), []

    def shortest(work: Any, anchor: Any, goal: float, longest: int, looks: int) -> Short:
        asked.append(longest)
        return Short(less.replace(steps=steps) if steps else None, (), 0.0)

    monkeypatch.setattr("halftime.search.prune.pruned", lambda *_: less)
    monkeypatch.setattr("halftime.search.length.shortest", shortest)
    around = some_work(tmp_path)
    kept = prune.left_out(around, BASE, 0.9, anchor([1.0]), Short(whole, (), 0.0), ["EMA"])
    assert asked == [110]
    assert kept == (less.replace(steps=steps) if steps else whole)
    assert [note.endswith("the recipe stays whole") for note in around.notes] == ([] if steps else [True])


@pytest.mark.parametrize(
    ("hits", "stays"),
    [
        ((14.5, 15.4, 16.8, 16.0), True),  # as it was on cifar10
        ((12.6, 11.0, 11.4, 12.4), False),  # a little later, not clearly: near enough to do without
        ((9.0, 9.5, 9.1, 9.4), False),
        ((), False),  # never checked
    ],
)
def test_what_meets_the_target_later_without_a_change_is_not_pruned(
    hits: tuple[float, ...], stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of cifar10 left out Whitening: fewer steps to the same score, yet many more seconds to the target."""

    def checked(recipe: Recipe, steps: int, hits: tuple[float, ...]) -> Short:
        trials = [Trial("", "", k, steps, seconds=0.014 * steps, hit=hit, score=0.77) for k, hit in enumerate(hits)]
        return Short(recipe, tuple(trials), 0.77, checked=bool(hits))

    whole, less = BASE.plus(EMA()).replace(steps=1193), changed(BASE, lr=0.05).replace(steps=1070)
    monkeypatch.setattr("halftime.search.prune.pruned", lambda *_: less)
    monkeypatch.setattr("halftime.search.length.shortest", lambda *_, **__: checked(less, 1070, hits))
    around = some_work(tmp_path)
    kept = prune.left_out(around, BASE, 0.76, anchor([1.0]), checked(whole, 1193, (11.4, 11.25, 10.99, 12.08)), ["EMA"])
    assert kept == (whole if stays else less)
    assert [(one.verdict, one.change) for one in around.decisions] == ([("kept", "without EMA")] if stays else [])


@pytest.mark.parametrize("most", [5, 6, 8, 36])
def test_however_few_the_pairs_of_a_proof_they_can_show_a_clear_gain(most: int) -> None:
    plan, clear = designed(most), [0.7 + 0.01 * (i % 3) for i in range(most)]
    assert plan.most == most
    assert any(follow(clear[:n], plan).low > 0 for n in range(3, most + 1))
    assert "no gain can be claimed" in Design(alpha=plan.alpha, most=5).words
    assert "no gain can be claimed" not in plan.words


def test_a_proof_is_designed_for_what_the_search_saw() -> None:
    """Six pairs are enough where both the gain and the score are plain, and a blind design would ask for eight."""
    shown = designed(9, time=10.0, score=1.8)
    assert (shown.effect, shown.quality, shown.most) == (2.0, (1.5,), 9)
    assert (shown.soonest or 99) < (designed(9).soonest or 0)
    gaps = [0.0072, 0.0125, 0.0012, 0.0140, 0.0044, 0.0073]
    assert running(gaps, 2 * shown.alpha, shown.quality).low > running(gaps, 2 * shown.alpha, designed(9).quality).low


def test_many_pairs_show_a_quality_that_was_hoped_to_be_plainer() -> None:
    plan, smaller = designed(36, time=10.0, score=1.8), [0.7 + (-1.0) ** i for i in range(36)]
    assert running(smaller, 2 * plan.alpha, plan.quality).low > 0
    assert running(smaller, 2 * plan.alpha, (1.5,)).low < 0


def test_what_a_proof_will_find_is_not_hoped_for_from_one_run_or_a_small_spread(tmp_path: Path) -> None:
    def run(hit: float, score: float) -> Trial:
        return Trial("shorten", BASE.hash, 0, seconds=hit, held=hit, hit=hit, score=score)

    around, recipe = some_work(tmp_path), BASE
    began = Start(BASE, 10, (run(20.0, 0.95), run(20.0, 0.95)), 0.9, None)
    around.trials = [run(10.0, 0.95)]
    assert expected(around, began, recipe) == (0.0, 0.0)
    around.trials.append(run(10.0, 0.95))
    time, score = expected(around, began, recipe)
    assert time == pytest.approx(0.7 * math.log(2) / 0.1)
    assert score == pytest.approx(0.7 * 4)


def test_a_run_that_was_evaluated_at_its_end_alone_does_not_tell_when_the_target_is_met(tmp_path: Path) -> None:
    """A search of cifar10 took such runs along, and hoped for 3.18 times of a recipe that its checks gave 4.8."""

    def run(seed: int, hit: float, judged: bool) -> Trial:
        return Trial("shorten", BASE.hash, seed, 100, seconds=17.0, hit=hit, score=0.77, judged=judged)

    around, began = some_work(tmp_path), Start(BASE, 10, (Trial("", "", 0, 400, hit=55.0),), 0.9, None)
    around.trials = [run(0, 17.0, False), run(1, 17.0, False)]
    assert likely(around, began, BASE) == pytest.approx(55 / 17)  # it is all that is known
    around.trials.append(run(2, 11.0, True))
    assert likely(around, began, BASE) == pytest.approx(5)


@pytest.mark.parametrize(
    ("held", "goal", "mean", "sd", "seconds", "aims"),
    [
        (90.0, 0.766, 0.771, 0.009, 2460.0, pytest.approx(0.771, abs=1e-3)),  # cifar10: a dozen pairs
        (1.0, 0.980, 0.985, 0.008, 164.0, 0.980),  # the digits: a hundred
        (90.0, 0.766, 0.771, 0.001, 2460.0, 0.766),  # seeds hardly differ
        (90.0, 0.780, 0.771, 0.009, 2460.0, 0.780),  # the target lies above the base
    ],
)
def test_a_length_aims_as_high_as_the_pairs_that_can_be_paid_for_can_show(
    held: float, goal: float, mean: float, sd: float, seconds: float, aims: Any
) -> None:
    """A cifar10 that aimed too low was not shown by fifteen pairs, digits that aimed too high trained twice as long."""
    began = Start(BASE, 100, (Trial("", "", 0, held=held),), goal, None, mean=mean)
    assert began.aimed(sd, tolerance=0.01, seconds=seconds) == aims


def test_two_searches_never_share_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "s1"), pytest.raises(BadValue, match="s1 is still running"), alone(tmp_path / "s1"):
        pass
    with alone(tmp_path / "s1"):
        pass


def test_what_is_never_earned_back_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = Pace(0.0, 0.0, 0.0, 1.0, 0, 0, 0.0, 0.0, f"{TOO_LONG} compiling alone takes more")
    unknown = dataclasses.replace(never, why="crashed: planted")
    for found, stays in ((never, False), (unknown, True)):
        monkeypatch.setattr(prune, "timed", lambda *_, one=found: (one, None))
        assert prune._slower(some_work(tmp_path), anchor([1.0]), BASE)[0] is stays


def test_the_waterfall_shows_a_change_as_large_as_it_was_when_it_was_taken() -> None:
    gain = Gain(1.05, 0.98, 1.1, 2, 0.0, 1.0)
    methods = {"EMA": EMA().to_dict()}
    maybe = Decision("methods", "+ EMA()", "promising", "", methods, gain)
    taken = Decision("pairs", "+ EMA()", "kept", "", methods, dataclasses.replace(gain, ratio=1.3, low=1.1))
    bars = waterfall([maybe, taken], BASE, BASE.plus(EMA()), 1.5)
    assert [bar.ratio for bar in bars][:-1] == [1.3]
    opening = dataclasses.replace(maybe, stage="opening")
    assert waterfall([opening], BASE, BASE.plus(EMA()), 1.5)[0].ratio == 1.05


def test_the_rates_of_a_recipe_are_those_that_were_tried_for_it(tmp_path: Path) -> None:
    around = some_work(tmp_path)
    tuned, tried = retuned(around, BASE, 0.1, 16)
    rates = {trial.recipe for trial in tried}
    assert around.rated[unrated(tuned.replace(steps=99).plus(ChannelsLast()))] == len(rates) >= 3
    assert unrated(tuned.plus(EMA())) not in around.rated


def test_another_setting_of_what_the_base_has_is_tried_where_it_is_asked_for(tmp_path: Path) -> None:
    found = searched(ledger=tmp_path, methods=[OneCycle(warmup=0.4)], proof=False)
    assert any("warmup=0.4" in one.change for one in found.decisions)
    assert not any("Quick" in one.change for one in found.decisions)


def test_the_rest_has_no_upper_end_where_the_proof_has_none() -> None:
    fast = BASE.replace(steps=32)
    *_, rest = waterfall([], BASE, fast, 2.0, 1.5, None)
    assert (rest.ratio, rest.low, rest.high) == (2.0, 1.5, None)
    *_, rest = waterfall([], BASE, fast, 2.0)  # nothing was proved: no ends at all
    assert rest.low == rest.high == 2.0


def test_what_has_nothing_to_do_is_not_tried(tmp_path: Path) -> None:
    around = some_work(tmp_path)
    queue = Queue([Candidate((DropStochastic(),)), Candidate((EMA(),))])
    without_idle(around, queue)
    assert [type(one.methods[0]).__name__ for one in queue.waiting] == ["EMA"]
    assert around.notes == ["DropStochastic is not tried: nothing in the network is dropped at random"]


@pytest.mark.parametrize(
    ("rate", "losses", "chosen"),
    [(1.0, (0.3, 0.2), 0.1), (1.0, (0.2, 0.3), 1.0), (1.0, (None, 0.3), 0.1), (0.3, (), 0.3)],
    ids=["luck", "moved", "diverged", "near"],
)
def test_a_rate_that_moved_far_is_asked_twice(
    rate: float, losses: tuple[float | None, ...], chosen: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short training once preferred fourteen times the rate by luck, and a change that pays was dropped for it."""
    around, recipe = some_work(tmp_path), changed(BASE, lr=rate).replace(steps=10)

    def together(wanted: Any, judged: bool = False) -> list[Trial]:
        assert [rate_of(one) for one, _ in wanted] == [rate, 0.1]
        return [Trial("", "", 0, 10, score=loss, state="failed" if loss is None else "finished") for loss in losses]

    monkeypatch.setattr(around, "together", together)
    monkeypatch.setattr(around, "affords", lambda *_: True)
    found, runs = _asked_twice(around, recipe, 0.1)
    assert (rate_of(found), len(runs)) == (chosen, len(losses))


@pytest.mark.parametrize(
    ("ratio", "until", "why"), [(0.04, 100.0, "no score makes up for that"), (0.5, 0.0, "no time was left")]
)
def test_a_change_with_far_slower_steps_is_not_trained(
    ratio: float, until: float, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen bits on a processor that has no units for them took a quarter of a search."""
    around, here = some_work(tmp_path), anchor([0.1, 0.1])
    around.until, around._costs = until, {10: 1.0}
    slow = dataclasses.replace(EVEN, ratio=ratio)
    monkeypatch.setattr("halftime.search.combine.fitting", lambda *_: (BASE, slow, ""))
    judged = judge(around, here, Candidate((EMA(),)))
    assert (judged.decision.verdict, judged.trials) == ("dropped", ())
    assert judged.decision.why.startswith(f"a step takes {1 / ratio:.3g} times as long")
    assert why in judged.decision.why
    assert around.trials == []


def test_a_length_that_is_well_known_is_proved_even_where_no_time_was_left(tmp_path: Path) -> None:
    around, here = some_work(tmp_path), anchor([0.1, 0.101, 0.1], slope=0.05)
    around.until, around.limit, around._costs = 0.0, 0.5, {10: 1.0}
    found = shortest(around, here, -0.095, 400)
    assert found.recipe is not None
    assert 10 < (found.recipe.steps or 0) < 20
    assert any("no time was left to check" in note for note in around.notes)
