from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftime.data.controller import WINDOW, Controller, Setting
from tests.data.simulated import MS, Played, Regime, played

STEPS, SETTLED = 2000, 200


def steady(ms):
    return lambda number, workers: ms * MS


def changes(before, after, at=800):
    return lambda number, workers: (before if number < at else after) * MS


def contended(ms, cores):
    return lambda number, workers: ms * MS * max(1.0, workers / cores)


REGIMES = {
    "CPU-bound": Regime(contended(25, 4), steady(10)),
    "disk-bound": Regime(steady(45), steady(10)),
    "fast": Regime(steady(0.02), steady(10), hand=0.3 * MS),
    "one slow sample": Regime(lambda n, w: (60 if n % 50 == 49 else 5) * MS, steady(10)),
    "memory-capped": Regime(steady(45), steady(10), most=3, why="memory", feasible=False, missing="memory"),
    "shared-memory-capped": Regime(steady(45), steady(10), most=2, why="shared memory", feasible=False,
                                   missing="shared memory"),
    "step halves": Regime(steady(25), changes(12, 6), since=800),
    "step doubles": Regime(steady(25), changes(6, 12), since=800),
    "neighbour": Regime(changes(25, 40), changes(10, 13), since=800),
    "collate-bound": Regime(contended(45, 2), steady(10), most=2, why="CPU", feasible=False, missing="CPU"),
}  # fmt: skip


def kept(regime: Regime, steps: int = STEPS) -> tuple[Controller, Played]:
    controller = Controller(Setting(0), regime.least, 8)
    controller.limit(regime.most, regime.why)
    return controller, played(regime, controller, steps)


@pytest.mark.parametrize("name", REGIMES)
def test_the_queue_stays_just_ahead_of_the_step(name):
    regime = REGIMES[name]
    controller, out = kept(regime)
    if regime.feasible:
        assert out.stall(regime.since + SETTLED) <= 0.02
        if regime.since:
            assert out.stall(SETTLED) <= 0.02 + 0.01  # the change itself is paid for, once
    assert controller.short == regime.missing
    assert max(s.workers for s in out.settings) <= regime.most


@pytest.mark.parametrize("name", REGIMES)
def test_it_is_never_much_slower_than_the_best_fixed_setting(name):
    regime = REGIMES[name]
    _, out = kept(regime)
    fixed = [played(regime, None, STEPS, Setting(w)).seconds(SETTLED) for w in range(regime.most + 1)]
    assert min(fixed) / out.seconds(SETTLED) >= 0.98


def test_ten_regimes():
    assert len(REGIMES) == 10


@settings(deadline=None)
@given(st.floats(0.05, 6), st.floats(4, 100), st.integers(0, 2**16))  # a start takes 20 ms: shorter steps wait for it
def test_what_is_feasible_is_reached_within_200_steps(work, step, seed):
    dice = random.Random(seed)
    jitter = [dice.uniform(0.8, 1.2) for _ in range(512)]
    regime = Regime(lambda n, w: work * step * MS * jitter[n % 512], steady(step), hand=0.0)
    _, out = kept(regime, 600)
    assert out.stall(SETTLED) <= 0.02


seen = st.tuples(st.floats(0, 2), st.floats(0, 2), st.integers(0, 40), st.none() | st.floats(0, 3))


@settings(deadline=None)
@given(st.lists(seen, max_size=400), st.integers(0, 2), st.integers(2, 12), st.integers(0, 12))
def test_it_stays_within_its_bounds_and_is_a_function_of_what_it_saw(steps, least, most, cap):
    twins = [Controller(Setting(least), least, most) for _ in range(2)]
    for number, one in enumerate(steps):
        if number == len(steps) // 2:
            for twin in twins:
                twin.limit(cap, "memory")
        first, second = (twin.observe(*one) for twin in twins)
        assert first == second
        if first:
            assert least <= first.setting.workers <= max(least, most, cap)
            assert 1 <= first.setting.prefetch <= 16
            assert first.why
        if number > len(steps) // 2:
            assert twins[0].setting.workers <= max(least, cap)


def test_what_did_not_pay_is_taken_back_and_left_alone_for_longer_each_time():
    controller, changes = Controller(Setting(1), least=1, most=8), []
    for number in range(3000):
        wait = 30 * MS  # whatever it does
        if action := controller.observe(wait, 10 * MS, 0, 40 * MS):
            changes.append((number, action))
    back = [a for _, a in changes if a.why.startswith("taken back")]
    assert {a.setting for a in back} == {Setting(1)}
    assert {a.setting.prefetch for _, a in changes} == {2}  # the workers have no reserve: further ahead would not help
    tried = [number for number, a in changes if a.why.endswith("waiting for data")]
    assert len(back) in (len(tried), len(tried) - 1)
    gaps = [b - a for a, b in itertools.pairwise(tried)]
    assert len(gaps) >= 3
    assert gaps == sorted(gaps)
    assert gaps[-1] > 2 * gaps[0]
    assert controller.short == "work"


def test_a_slower_step_gives_the_processor_back():
    controller = Controller(Setting(4), least=1, most=8)
    for _ in range(3 * WINDOW):
        assert controller.observe(0.0, 10 * MS, 8, None) is None
    actions = [controller.observe(0.0, 15 * MS, 8, None) for _ in range(2 * WINDOW)]
    made = next(a for a in actions if a)
    assert made.setting.workers == 3
    assert "processor" in made.why


def test_a_lower_limit_is_obeyed_at_once():
    controller = Controller(Setting(6), least=0, most=8)
    controller.limit(2, "memory")
    action = controller.observe(0.0, 1.0, 5)
    assert action is not None
    assert action.setting.workers == 2
    assert action.why == "memory allows no more"


def test_waiting_for_batches_that_lie_ready_asks_for_no_worker():
    controller = Controller(Setting(2), least=1, most=8)
    assert not any(controller.observe(5 * MS, 10 * MS, 4, 20 * MS) for _ in range(200))
    assert controller.short == "handing over"
