"""The model of the loader against what can be worked out by hand."""

from __future__ import annotations

import pytest

from halftime.data.replay import Host, Piece, Setting, interval, seconds_per_step


def piece(cpu: float = 0.0, blocked: float = 0.0, hand: float = 0.0, step: float = 0.0, pause: float = 0.0) -> Piece:
    return Piece(cpu, blocked, 0.0, 0.0, hand, step, pause)


@pytest.mark.parametrize(
    ("work", "workers", "wanted"),
    [
        (piece(blocked=0.04, pause=0.01), 0, 0.05),
        (piece(blocked=0.04, pause=0.01), 1, 0.04),
        (piece(blocked=0.04, pause=0.01), 2, 0.02),
        (piece(blocked=0.04, pause=0.01), 8, 0.01),
        (piece(cpu=0.04, pause=0.01), 2, 0.02),
        (piece(cpu=0.04, pause=0.01), 8, 0.02),  # two cores are two cores
        (piece(cpu=0.04, step=0.01), 8, 0.025),  # and the step needs one of them, too
        (piece(cpu=0.001, hand=0.01, step=0.01), 4, 0.02),  # receiving is not done by workers
    ],
)
def test_seconds_per_step(work: Piece, workers: int, wanted: float) -> None:
    assert seconds_per_step([work] * 800, Setting(workers), Host(2)) == pytest.approx(wanted, rel=0.03)


def test_faster_decoding_and_an_endless_loader() -> None:
    work = [Piece(0.02, 0.02, 0.01, 0.0, 0.001, 0.005, 0.0)] * 100
    host = Host(4)
    assert seconds_per_step(work, Setting(1, decode=0.5), host) == pytest.approx(0.03, rel=0.03)
    assert seconds_per_step(work, Setting(1, decode=0.0), host) == pytest.approx(0.01, rel=0.03)
    assert seconds_per_step(work, Setting(1, endless=True), host) == pytest.approx(0.005)


def test_in_order_one_slow_batch_stops_all_and_prefetching_hides_it() -> None:
    work = [piece(blocked=0.5 if i % 50 == 25 else 0.005, pause=0.01) for i in range(200)]
    short, deep = (seconds_per_step(work, Setting(2, prefetch), Host(4)) for prefetch in (1, 40))
    assert short > 0.018
    assert deep < short - 0.003


def test_a_device_that_is_never_idle_is_the_limit() -> None:
    work = [Piece(0.001, 0.0, 0.0, 0.0, 0.0, 0.001, 0.0, device=0.02)] * 100
    assert seconds_per_step(work, Setting(2), Host(4)) == pytest.approx(0.02, rel=0.02)


def test_the_interval_holds_the_middle_and_widens_with_the_error() -> None:
    work = [piece(blocked=0.01 + 0.001 * (i % 7), pause=0.002) for i in range(100)]
    narrow, wide = (interval(work, Setting(2), Host(2), error) for error in (0.01, 0.1))
    assert narrow[0] < narrow[1] < narrow[2]
    assert wide[1] == narrow[1]
    assert wide[2] / wide[0] > narrow[2] / narrow[0]
    assert interval(work, Setting(2), Host(2), 0.01) == narrow
