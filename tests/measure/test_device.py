"""Devices and what they cost, as far as this machine has them."""

from __future__ import annotations

import pytest
import torch

from halftime.errors import BadValue
from halftime.measure.cost import Energy
from halftime.measure.device import pick, synchronize


def test_the_fastest_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick().type == best
    assert pick("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "CPU"])
def test_an_unknown_device_is_named_with_what_there_is(name: str) -> None:
    with pytest.raises(BadValue, match=r"there is: .*cpu"):
        pick(name)


def test_energy_is_counted_or_not_known_but_never_made_up() -> None:
    device = pick()
    meter = Energy(device)
    synchronize(device)
    joules = meter.joules
    assert joules is None if device.type != "cuda" else joules is None or joules >= 0.0
