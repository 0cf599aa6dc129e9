"""Chance keyed by sample: random numbers that are a function of (seed, epoch, sample id, stream), a batch at once.

No generator has a state here, so helpers share nothing, and a sample gets the same numbers in an epoch in whatever
batch, process or order it comes.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

_Bits = TypeVar("_Bits", int, Tensor)
_GOLDEN, _MIX1, _MIX2, _OTHER = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15, -0x3B3A9E3F7F8D3F29


def bits(ids: Tensor, seed: int, epoch: int, stream: int) -> Tensor:
    """64 well-mixed bits a sample (SplitMix64; Steele, Lea and Flood 2014).

    Args:
        ids: sample numbers, int64 [B].
        seed: of the run.
        epoch: counts from 0; a stream that all epochs share passes -1.
        stream: which of several draws: another number gives numbers that have nothing to do with each other.

    Returns:
        int64 [B], where all 64 bits are random.

    Example:
        >>> bits(torch.tensor([7, 8, 7]), 0, 1, 0).unique().numel()
        2
    """
    state = _mixed(seed * _GOLDEN + _OTHER)
    for number in (epoch, stream):
        state = _mixed(state + number * _GOLDEN)
    return _mixed(_mixed(ids * _GOLDEN + _wrapped(state)) + _OTHER)


def uniform(ids: Tensor, seed: int, epoch: int, stream: int) -> Tensor:
    """A number in [0, 1) for each sample, float32 [B]; arguments as in `bits`.

    >>> bool((uniform(torch.arange(1000), 0, 0, 0).mean() - 0.5).abs() < 0.05)
    True
    """
    return (bits(ids, seed, epoch, stream) >> 40 & 0xFFFFFF).to(torch.float32) * 2.0**-24


def whole(ids: Tensor, seed: int, epoch: int, stream: int, low: int, high: int) -> Tensor:
    """A whole number from `low` to `high`, both included, for each sample, int64 [B]; other arguments as in `bits`.

    >>> sorted(set(whole(torch.arange(1000), 0, 0, 0, -1, 1).tolist()))
    [-1, 0, 1]
    """
    return low + ((bits(ids, seed, epoch, stream) >> 32 & 0xFFFFFFFF) * (high - low + 1) >> 32)


def _mixed(state: _Bits) -> _Bits:
    """SplitMix64's finaliser; int64 wraps round as unsigned numbers do, shifts are made logical.

    Of an integer too large for 64 bits the lowest 64 come out right, among others.
    """
    state = (state ^ (state >> 30 & 0x3FFFFFFFF)) * _MIX1
    state = (state ^ (state >> 27 & 0x1FFFFFFFFF)) * _MIX2
    return state ^ (state >> 31 & 0x1FFFFFFFF)


def _wrapped(number: int) -> int:
    """An integer of any size as 64 bits with a sign."""
    return (number + 2**63) % 2**64 - 2**63
