"""What the demo says of an arm that did not get there."""

from __future__ import annotations

from halftime.cli.demo import _median


def test_an_arm_without_a_median_was_not_reached() -> None:
    assert [_median(seconds) for seconds in (None, 0.0, 2.34)] == ["not reached", "0.0 s", "2.3 s"]
