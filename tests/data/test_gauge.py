"""The scarcest resource decides how many workers there may be."""

from __future__ import annotations

import pytest

from halftime.data.gauge import Caps, Needs


@pytest.mark.parametrize(("caps", "needs", "most"), [
    (Caps(4, None, 10**9, 8), Needs(), (8, "the limit on workers")),
    (Caps(2.5, None, 10**9, 8), Needs(on_processor=True), (3, "CPU")),
    (Caps(0.2, None, 10**9, 8), Needs(on_processor=True), (1, "CPU")),
    (Caps(4, 1000, 10**9, 8), Needs(10, 280), (3, "memory")),
    (Caps(4, None, None, 8), Needs(), (0, "shared memory")),
    (Caps(4, 0, 10**9, 8), Needs(10, 280), (0, "memory")),
])  # fmt: skip
def test_the_scarcest_resource_decides(caps, needs, most):
    assert caps.most(needs, prefetch=2) == most


@pytest.mark.parametrize(("caps", "needs", "workers", "deepest"), [
    (Caps(4, None, 10**9, 8), Needs(10, 280), 4, 16),
    (Caps(4, None, 1000, 8), Needs(10, 280), 4, 16),
    (Caps(4, None, 500, 8), Needs(10, 280), 4, 10),
    (Caps(4, 1000, 10**9, 8), Needs(10, 280), 3, 2),
    (Caps(4, 0, 10**9, 8), Needs(10, 280), 1, 0),
])  # fmt: skip
def test_workers_go_no_further_ahead_than_there_is_room_for(caps, needs, workers, deepest):
    assert caps.deepest(needs, workers) == deepest
