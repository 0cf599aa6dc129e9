"""Chance keyed by sample: the same numbers as plain arithmetic gives, on any seed."""

from __future__ import annotations

import pytest
import torch

from halftime.data.keyed import bits

WRAP = 2**64


def mixed(state: int) -> int:
    """SplitMix64's finaliser in unsigned integers, as its authors wrote it."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % WRAP
    state = (state ^ state >> 27) * 0x94D049BB133111EB % WRAP
    return state ^ state >> 31


def slow(number: int, *key: int) -> int:
    golden, other = 0x9E3779B97F4A7C15, 0xC4C561C08072C0D7
    state = other
    for i, part in enumerate(key):
        state = mixed((part * golden + (other if i == 0 else state)) % WRAP)
    return mixed((mixed((number * golden + state) % WRAP) + other) % WRAP)


@pytest.mark.parametrize("key", [(0, 0, 0), (7, -1, 3), (-5, 12, 2**63), (2**70 + 9, 3, 1)])
def test_the_same_as_plain_arithmetic(key: tuple[int, int, int]) -> None:
    numbers = [0, 1, 2**40, -3]
    found = [value % WRAP for value in bits(torch.tensor(numbers), *key).tolist()]
    assert found == [slow(number, *key) for number in numbers]
