"""Order: bijections at any size, no bias, the same values alone as in a whole epoch, and going on anywhere."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from halftime.data import order as ordering
from halftime.data.feed import Feed, Tensors
from halftime.data.order import Curriculum, Permuted, Repeated, Subset, permuted, shuffled
from halftime.errors import BadData, BadValue

seeds = st.integers(0, 2**40)
epochs = st.integers(0, 10_000)


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 511, 512, 513, 1000, 50_000])
def test_it_is_a_bijection(samples: int) -> None:
    for epoch in range(3):
        assert torch.equal(Permuted()(7, epoch, samples).sort().values, torch.arange(samples))


@pytest.mark.parametrize("samples", [1_281_167, 10**12])
def test_it_is_a_bijection_where_it_is_sampled(samples: int) -> None:
    some = torch.randint(samples, (50_000,), generator=torch.Generator().manual_seed(0)).unique()
    found = permuted(some, samples, 1)
    assert len(found.unique()) == len(some)
    assert 0 <= int(found.min()) <= int(found.max()) < samples


@settings(deadline=None)
@given(seeds, epochs, st.integers(1, 3000), st.data())
def test_a_value_does_not_depend_on_what_is_asked_beside_it(seed: int, epoch: int, n: int, data: st.DataObject) -> None:
    asked = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9)))
    assert torch.equal(Permuted().at(seed, epoch, asked, n), Permuted()(seed, epoch, n)[asked])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_small_permutations_are_equally_frequent(n: int) -> None:
    seen = Counter(tuple(Permuted()(0, epoch, n).tolist()) for epoch in range(2400))
    ways = list(itertools.permutations(range(n)))
    assert stats.chisquare([seen[way] for way in ways]).pvalue > 0.001


@pytest.mark.parametrize(("n", "epochs"), [(100, 2000), (600, 600), (50_000, 4)])
def test_displacements_and_positions_have_no_bias(n: int, epochs: int) -> None:
    whole = torch.stack([Permuted()(3, epoch, n) for epoch in range(epochs)])
    jump = (whole[:, 1:] - whole[:, :-1]).abs().double().mean() / n
    assert abs(float(jump) - 1 / 3) < 0.005
    moved = ((whole - torch.arange(n)) % n).flatten()
    assert stats.chisquare(torch.bincount(moved * 50 // n, minlength=50)).pvalue > 0.001
    cells = (torch.arange(n) * 50 // n) * 50 + whole * 50 // n  # which part of the samples comes in which part of it
    assert stats.chisquare(torch.bincount(cells.flatten(), minlength=2500)).pvalue > 0.001
    if n == 100:  # who follows whom
        pairs = torch.bincount((whole[:, :-1] * n + whole[:, 1:]).flatten(), minlength=n * n)
        assert stats.chisquare(pairs.view(n, n)[~torch.eye(n, dtype=torch.bool)]).pvalue > 0.001


def test_epochs_and_seeds_are_independent() -> None:
    n = 20_000
    whole = [Permuted()(seed, epoch, n).double() for seed in range(3) for epoch in range(4)]
    for one, other in itertools.combinations(whole, 2):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.04
        assert int((one == other).sum()) < 12  # one is expected


ORDERS = {
    "shuffled": (shuffled, 23),
    "a function": (lambda seed, epoch, n: shuffled(seed, epoch, n)[: n - epoch % 3], 23),
    "permuted": (Permuted(), 23),
    "subset": (Subset(Permuted(), torch.tensor([1, 1, 4, 9, 22, 7, 3])), 23),
    "subset of a drawn one": (Subset(shuffled, torch.arange(3, 20)), 23),
    "repeated": (Repeated(Permuted(), torch.linspace(0, 2.7, 23)), 23),
    "soft pruning": (Repeated(shuffled, torch.where(torch.arange(23) % 2 == 0, 0.5, 1.0)), 23),
    "curriculum": (Curriculum(Permuted(), torch.arange(22, -1, -1), lambda e: min(1.0, 0.3 + 0.1 * e)), 23),
    "curriculum of repeats": (Curriculum(shuffled, torch.arange(23), lambda e: 1.0 if e % 2 else 0.4), 23),
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("size", [1, 4, 50])
def test_going_on_at_any_step_gives_the_rest(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "PIECE", 8)  # several pieces an epoch
    order, samples = ORDERS[name]
    feed = Feed(Tensors(torch.arange(samples)), size, 5, order=order)
    through = list(itertools.islice(feed.tickets(), 40))
    assert [t.step for t in through] == list(range(40))
    for step in range(30):
        for one, other in zip(itertools.islice(feed.tickets(step), 4), through[step:], strict=False):
            assert one[:3] == other[:3]
            assert torch.equal(one.ids, other.ids)


@pytest.mark.parametrize("name", ORDERS)
def test_an_epoch_is_that_of_the_order_cut_to_whole_batches(name: str) -> None:
    order, samples = ORDERS[name]
    feed = Feed(Tensors(torch.arange(samples)), 3, 5, order=order)
    for epoch, tickets in itertools.groupby(itertools.islice(feed.tickets(), 60), lambda t: t.epoch):
        if epoch < 4:
            served = torch.cat([t.ids for t in tickets])
            assert torch.equal(served, feed.indices(epoch))
            assert len(served) == max(1, ordering.length(order, 5, epoch, samples) // 3) * 3
    assert feed.steps_per_epoch == len(feed.indices(0)) // 3


@settings(deadline=None)
@given(st.lists(st.floats(0, 4), min_size=1, max_size=40), seeds, epochs)
def test_each_sample_is_repeated_as_its_factor_says(factors: list[float], seed: int, epoch: int) -> None:
    order = Repeated(Permuted(), torch.tensor(factors, dtype=torch.float64))
    if order.length(seed, epoch, len(factors)) == 0:
        return
    counts = torch.bincount(order(seed, epoch, len(factors)), minlength=len(factors)).tolist()
    assert sum(counts) == order.length(seed, epoch, len(factors))
    assert all(abs(count - factor) < 1 + 1e-6 for count, factor in zip(counts, factors, strict=True))


def test_over_epochs_factors_are_met() -> None:
    factors = torch.tensor([0.1, 0.5, 0.5, 0.5, 0.5, 1.0, 2.3, 0.0])
    order = Repeated(Permuted(), factors)
    counts = torch.stack([torch.bincount(order(1, epoch, 8), minlength=8) for epoch in range(3000)]).double()
    assert torch.allclose(counts.mean(0), factors.double(), atol=0.04)
    together = float((counts[:, 1] * counts[:, 2]).mean())  # neighbours do not always come together or apart
    assert 0.1 < together < 0.35


def test_a_long_way_in_no_earlier_epoch_is_made() -> None:
    made = []

    class Counting(Permuted):
        def at(self, seed, epoch, positions, samples):
            made.append((epoch, len(positions)))
            return super().at(seed, epoch, positions, samples)

    columns = torch.empty(1).expand(1_280_000)
    per_epoch = 1_280_000 // 512
    for order in (Counting(), shuffled):
        began = time.perf_counter()
        ticket = next(Feed(Tensors(columns), 512, 0, order=order).tickets(90 * per_epoch + 1234))
        assert time.perf_counter() - began < 1.0
        assert ticket[:3] == (90 * per_epoch + 1234, 90, 1234 * 512)
    assert made == [(90, ordering.PIECE)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Subset(shuffled, torch.tensor([2, 9]))(0, 0, 5), "sample 9; there are the samples 0 to 4"),
        (lambda: Subset(shuffled, torch.tensor([])), "one or more sample ids"),
        (lambda: Repeated(shuffled, torch.tensor([1.0, -1.0])), "at least 0"),
        (lambda: Repeated(shuffled, torch.tensor([1.0, torch.inf])), "finite"),
        (lambda: Repeated(shuffled, torch.ones(3))(0, 0, 4), "3 factors for 4 samples"),
        (lambda: Curriculum(shuffled, torch.arange(4), lambda e: 1.5)(0, 0, 4), "at most 1, not 1.5"),
    ],
)
def test_what_cannot_be_is_refused(make, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        make()


def test_an_epoch_without_samples_is_refused() -> None:
    feed = Feed(Tensors(torch.arange(4)), 2, 0, order=Repeated(shuffled, torch.zeros(4)))
    with pytest.raises(BadData, match="no sample in epoch 0"):
        next(feed.tickets())
