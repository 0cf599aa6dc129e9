"""Chance in a batch: a data set that draws gets its seeded generator, one that does not costs none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from halftime.data.feed import NO_CHANCE, Feed, Tensors


class Noisy(Tensors):
    def batch(self, indices: torch.Tensor, generator: Any) -> Any:
        rows = super().batch(indices, generator)
        return rows + torch.rand(rows.shape, generator=generator)


class Counted(Tensors):
    draws = False

    def batch(self, indices: torch.Tensor, generator: Any) -> Any:
        assert generator is NO_CHANCE
        return super().batch(indices, generator)


def test_a_subclass_that_draws_is_served_the_same_chance_again() -> None:
    one, other = (next(Feed(Noisy(torch.zeros(8, 2)), 4, seed=3).batches(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, next(Feed(Noisy(torch.zeros(8, 2)), 4, seed=4).batches(5)))


def test_one_that_says_it_does_not_draw_is_told_when_it_does() -> None:
    assert next(Feed(Counted(torch.zeros(8, 2)), 4, seed=3).batches()).shape == (4, 2)

    class Liar(Noisy):
        draws = False

    with pytest.raises(TypeError):
        next(Feed(Liar(torch.zeros(8, 2)), 4, seed=3).batches())
