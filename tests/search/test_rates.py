"""The chooser on surfaces whose optimum is known: it finds it, at its price, or says that there is none."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftime.errors import BadValue
from halftime.search import rates

BEST, LOW, HIGH = 0.05, 1e-3, 3.0


def surface(drift: float, noise: float = 0.0, best: float = BEST) -> object:
    """Losses with their lowest point at `best * share ** -drift`, steep above it, diverging 30 times beyond."""

    def loss_after(rate: float, share: float, seed: int) -> float:
        off = math.log(rate / (best * share**-drift))
        if off > math.log(30):
            return math.inf
        wobble = random.Random(f"{rate} {share} {seed}").gauss(0, noise)
        return (2.3 - 2.1 * math.exp(-(off**2) / (4 if off > 0 else 8))) * math.exp(wobble) + 0.005 / share

    return loss_after


@given(drift=st.floats(0.1, 0.5), best=st.floats(3e-3, 1.0))
@settings(max_examples=60, deadline=None)
def test_finds_a_drifting_optimum_within_a_step_and_the_price(drift: float, best: float) -> None:
    found = rates.choose(surface(drift, best=best), LOW, HIGH)  # type: ignore[arg-type]
    assert found.rate is not None
    assert abs(math.log(found.rate / best)) < math.log(HIGH / LOW) / (rates.POINTS - 1)
    assert abs(math.log(found.rate / best)) < math.log(rates.NARROW)
    assert found.cost <= rates.BUDGET


def test_noise_of_seeds_moves_it_little() -> None:
    """With losses that differ by 3 % between seeds, nine of ten choices lie within a factor of two."""
    off = []
    for i in range(40):
        found = rates.choose(surface(0.3, 0.03, BEST * 1.01**i), LOW, HIGH)  # type: ignore[arg-type]
        assert found.rate is not None
        off.append(abs(math.log(found.rate / (BEST * 1.01**i))))
    assert sorted(off)[35] < math.log(2)


def test_both_neighbours_are_verified_at_the_longest_share() -> None:
    found = rates.choose(surface(0.3), LOW, HIGH)  # type: ignore[arg-type]
    last = {t.ask.rate: t.loss for t in found.tries if t.ask.share == rates.VERIFIED and not t.ask.control}
    best = min(last, key=lambda rate: last[rate])
    assert min(last) < best < max(last)
    assert "worse on both sides" in found.why


@pytest.mark.parametrize("best", [BEST / 500, BEST * 700])
def test_the_grid_grows_where_the_best_is_at_its_edge(best: float) -> None:
    found = rates.choose(surface(0.3, best=best), LOW, HIGH)  # type: ignore[arg-type]
    assert found.rate is not None
    assert 0.5 < found.rate / best < 2.0
    assert found.cost <= rates.BUDGET


def test_a_diverging_upper_half_is_no_obstacle() -> None:
    def loss_after(rate: float, share: float, seed: int) -> float:
        return math.nan if rate > BEST * 2 * share**-0.3 else 2.3 - 2 * math.exp(-(math.log(rate / BEST) ** 2) / 8)

    found = rates.choose(loss_after, LOW, HIGH)
    assert found.rate is not None
    assert BEST / 3 < found.rate < BEST * 2


def test_half_the_last_round_diverging_is_no_lack_of_signal() -> None:
    """Four rates, the best inside, both above it without a loss: the middle of the four is that of what was learned."""
    plain = surface(0.3)
    rounds = rates.choose(plain, LOW, HIGH).tries  # type: ignore[arg-type]
    limit = 1.1 * min(t.ask.rate for t in rounds if t.ask.share == rates.VERIFIED)

    def loss_after(rate: float, share: float, seed: int) -> float:
        return math.inf if share == rates.VERIFIED and rate > limit else plain(rate, share, seed)  # type: ignore[operator]

    found = rates.choose(loss_after, LOW, HIGH)
    last = sorted((t.ask.rate, t.loss) for t in found.tries if t.ask.share == rates.VERIFIED)
    assert [loss == math.inf for _, loss in last] == [False, False, True, True]
    assert min(last, key=lambda one: one[1]) == last[1]
    assert found.rate is not None


def test_no_signal_is_a_result_and_never_a_number() -> None:
    for loss, words in ((2.303, "the same at every rate"), (math.nan, "diverges at every rate")):
        found = rates.choose(lambda rate, share, seed, loss=loss: loss, LOW, HIGH)  # type: ignore[misc]
        assert found.rate is None
        assert words in found.why
        assert str(found).startswith("no signal")


@pytest.mark.parametrize("with_control", [False, True])
def test_pure_noise_is_no_signal(with_control: bool) -> None:
    wrong = 0
    for i in range(100):
        noise = lambda rate, share, seed, i=i: 2.3 + random.Random(f"{i} {rate} {share} {seed}").gauss(0, 0.04)  # noqa: E731
        control = lambda rate, share, seed, noise=noise: noise(rate, share, seed + 9)  # noqa: E731
        found = rates.choose(noise, LOW, HIGH, control=control if with_control else None)
        wrong += found.rate is not None
        assert found.cost <= rates.BUDGET
    assert wrong <= 3


def test_learning_nothing_but_the_bias_is_no_signal_against_shuffled_targets() -> None:
    """An untrained network loses more than chance; on random labels a good rate only brings it down to chance."""

    def chance(rate: float, share: float, seed: int) -> float:
        wobble = random.Random(f"{rate} {share} {seed}").gauss(0, 0.01)
        return 2.303 + 0.4 * math.exp(-share * rate * 300) + min(5.0, rate) ** 2 + wobble

    control = lambda rate, share, seed: chance(rate, share, seed) + random.Random(rate).gauss(0, 0.01)  # noqa: E731
    assert rates.choose(chance, LOW, HIGH, control=control).rate is None


def test_advance_needs_only_what_was_tried_in_any_order() -> None:
    """Half the tries forgotten: the same choice, and only what was forgotten is asked for again."""
    loss_after = surface(0.3, 0.01)
    whole = rates.choose(loss_after, LOW, HIGH)  # type: ignore[arg-type]
    tries = list(whole.tries)
    random.Random(0).shuffle(tries)
    kept, again = tries[: len(tries) // 2], 0
    while isinstance(step := rates.advance(LOW, HIGH, kept, shuffled=False), tuple):
        kept = [rates.Try(ask, loss_after(ask.rate, ask.share, ask.seed)) for ask in reversed(step)] + kept  # type: ignore[operator]
        again += len(step)
    assert step.rate == whole.rate
    assert again == len(tries) - len(tries) // 2
    assert set(step.tries) == set(whole.tries)


@pytest.mark.parametrize("ends", [(0, 1), (1, 1), (2, 1), (-1, 1), (1e-3, math.inf), ("a", 1)])
def test_ends_that_are_no_rates_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(BadValue, match="0 < low < high"):
        rates.choose(lambda *_: 1.0, *ends)
