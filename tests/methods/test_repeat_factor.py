"""RepeatFactor: the formula of LVIS, its expectation over epochs, and the labels of every kind of target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from halftime.data.feed import Feed, Tensors
from halftime.data.labels import classes_in, label_sets
from halftime.data.order import shuffled
from halftime.errors import BadValue, BadWorkload
from halftime.methods import SGD, RepeatFactor
from halftime.methods.repeat_factor import class_frequencies, repeat_factors, repeated
from tests.conftest import make_task


def long_tail() -> list[list[int]]:
    """A thousand photographs: class 0 in all, 1 in some, 2 in a few, 3 in three; two of them empty."""
    return [[0, *([1] * (i % 5 == 0)), *([2] * (i % 50 == 0)), *([3] * (i % 333 == 1))] for i in range(998)] + [[], []]


def test_the_factors_are_those_of_the_formula() -> None:
    labels, t = long_tail(), 0.5
    shares = class_frequencies(labels)
    assert shares == {0: 0.998, 1: 0.2, 2: 0.02, 3: 0.003}
    for kinds, factor in zip(labels, repeat_factors(labels, t).tolist(), strict=True):
        slow = max([max(1.0, (t / (sum(k in other for other in labels) / 1000)) ** 0.5) for k in kinds] or [1.0])
        assert factor == pytest.approx(slow)


@pytest.mark.parametrize("threshold", [0.01, 0.1, 1.0])
def test_expected_repeats_are_within_one_per_cent(threshold: float) -> None:
    labels = long_tail()
    factors = repeat_factors(labels, threshold)
    feed = repeated(Feed(Tensors(torch.arange(1000)), 1, seed=3), factors)
    epochs = 400
    counts = torch.zeros(1000, dtype=torch.float64)
    for epoch in range(epochs):
        seen = torch.bincount(feed.order(3, epoch, 1000), minlength=1000)
        assert bool((seen >= factors.floor()).all())  # never less than the whole part, never more than one above
        assert bool((seen <= factors.ceil()).all())
        counts += seen
    for factor in factors.unique():  # samples of one factor together: what their classes get
        mine = factors == factor
        assert float(counts[mine].mean() / epochs) == pytest.approx(float(factor), rel=0.01)


def test_rounding_differs_between_epochs_and_seeds_and_is_a_function_of_them() -> None:
    order = repeated(Feed(Tensors(torch.arange(1000)), 1, seed=0), repeat_factors(long_tail(), 0.5)).order
    drawn = [torch.bincount(order(seed, epoch, 1000)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0], torch.bincount(order(0, 0, 1000)))


def test_a_threshold_below_every_share_changes_nothing_but_the_order() -> None:
    feed = Feed(Tensors(torch.arange(1000)), 10, seed=0)
    assert repeat_factors(long_tail(), 0.002).unique().tolist() == [1.0]
    assert repeated(feed, torch.ones(1000)).indices(0).sort().values.tolist() == list(range(1000))


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (torch.tensor(3), {3}),
        (3, {3}),
        (torch.tensor([[1, -100], [1, 2]]), {1, 2}),
        (torch.tensor([0.0, 1.0, 1.0]), {1, 2}),
        (torch.tensor([False, True]), {1}),
        ({"boxes": torch.zeros(3, 4), "classes": torch.tensor([2, 0, -1])}, {0, 2}),
        ({"boxes": torch.zeros(0, 4), "labels": torch.tensor([], dtype=torch.int64)}, set()),
        (torch.tensor([0.5, 1.0]), None),
        (torch.tensor(0.25), None),
        ({"boxes": torch.zeros(3, 4)}, None),
        ("cat", None),
    ],
)
def test_classes_of_a_target(target: Any, classes: set[int] | None) -> None:
    assert classes_in(target) == classes


class Photographs:
    """Boxes, read sample by sample; with and without the list of targets that readers have."""

    def __init__(self, kinds: list[list[int]], listed: bool) -> None:
        self.rows = [{"boxes": torch.zeros(len(k), 4), "classes": torch.tensor(k, dtype=torch.int64)} for k in kinds]
        self.read = 0
        if listed:
            self.targets = self.rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        return torch.rand(3, 4, 4), self.rows[index]


@pytest.mark.parametrize("listed", [True, False])
def test_labels_of_photographs_with_boxes(listed: bool) -> None:
    data, random = Photographs([[0, 0], [0, 2], [], [1]] * 4, listed), torch.get_rng_state()
    assert label_sets(data) == [frozenset(k) for k in ((0,), (0, 2), (), (1,))] * 4
    assert data.read == (2 if listed else 16)  # the list is believed where it says what the samples say
    assert torch.equal(torch.get_rng_state(), random)


def test_a_list_of_targets_that_says_something_else_is_not_believed() -> None:
    data = Photographs([[0], [1]], listed=False)
    data.targets = [{"classes": torch.tensor([5])}, {"classes": torch.tensor([6])}]
    assert label_sets(data) == [frozenset({0}), frozenset({1})]


def test_the_control_repeats_as_much_and_others() -> None:
    data = Feed(Tensors(torch.zeros(1000, 2), torch.tensor([0] * 990 + [1] * 10)), 10, seed=4)
    method = RepeatFactor(threshold=1.0)
    control = method.control()
    assert control == RepeatFactor(threshold=1.0, score="random")
    drawn = [torch.bincount(m.data(data).order(4, 0, 1000), minlength=1000) for m in (method, control)]
    assert drawn[0].sort().values.tolist() == drawn[1].sort().values.tolist()
    assert bool((drawn[0][990:] == 10).all())
    assert not bool((drawn[1][990:] == 10).all())


def test_targets_without_classes_are_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    x = torch.randn(64, 1, 8, 8)
    pair = x, x.mean((2, 3))
    off = lambda outputs, targets: (outputs[:, :1] - targets).abs().mean()  # noqa: E731
    numbers = make_task(train=pair, valid=pair, loss=off, score=off, better="lower", target=None)
    with pytest.raises(BadWorkload, match=r"^RepeatFactor needs targets that name classes"):
        ht.train(numbers, ht.Recipe([SGD(), RepeatFactor()], steps=2), quiet=True, device="cpu")
    assert ht.Ledger(tmp_path / "ledger").runs == []


def test_the_run_says_how_much_longer_an_epoch_is() -> None:
    run = ht.train(make_task(), ht.Recipe([SGD(), RepeatFactor(threshold=1.0)], steps=2), quiet=True, device="cpu")
    assert any(e.startswith("RepeatFactor: 1.4") for e in run.events), run.events


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), "half", None])
def test_a_bad_value_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(BadValue, match=r"^RepeatFactor\.threshold must be"):
        RepeatFactor(threshold=value)
    with pytest.raises(BadValue, match="factors"):
        repeated(Feed(Tensors(torch.arange(2)), 1, seed=0, order=shuffled), torch.tensor([1.0, -1.0]))


def test_it_says_where_no_class_is_rare() -> None:
    even, tail = torch.arange(40) % 4, torch.tensor([0] * 39 + [1])
    x = torch.zeros(40, 2)
    assert RepeatFactor().idle(torch.nn.Linear(2, 2), Tensors(x, even)).startswith("no class is held by less than 10 %")
    assert RepeatFactor().idle(torch.nn.Linear(2, 2), Tensors(x, tail)) == ""
    assert RepeatFactor().idle(torch.nn.Linear(2, 2), [(x[0], 0)] * 9) == ""  # nobody reads all of it to know
