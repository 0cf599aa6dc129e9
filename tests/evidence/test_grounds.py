"""The grounds hold the facts that they declare, and every method has grounds that have what it needs."""

from __future__ import annotations

import pytest
import torch

from halftime.data.batch import split
from halftime.data.feed import Feed
from halftime.diagnose.misfit import FACTS, inspect
from halftime.errors import UnknownName
from halftime.evidence.controls import AtRandom, control_of
from halftime.evidence.grounds import GROUNDS, comparison, ground, meant_for
from halftime.methods import ALL, EMA, SGD, AdamW, OneCycle, ScheduleFree, StepDrop
from halftime.places import Method
from tests.workloads.conftest import real  # noqa: F401 - a fixture

DATA = {"shakespeare": "tinyshakespeare", "fashion": "fashion_mnist", "cifar10": "cifar10"}


@pytest.mark.parametrize("one", GROUNDS, ids=lambda one: one.name)
def test_facts_are_those_of_the_workload(one, real):  # noqa: F811
    if (stem := one.name.split("_")[0]) in DATA:
        real(DATA[stem])
    workload = one.make()
    assert workload.name == one.name
    assert workload.target is not None
    assert workload.tolerance > 0
    inputs, targets = split(Feed(workload.train, 4, 0).look())
    found = inspect(workload, workload.model(), (inputs, targets))
    assert one.facts & {*FACTS} <= found
    assert ("images" in found) == ("images" in one.facts) != ("tokens" in one.facts)
    assert bool(getattr(workload.train, "flip", False)) == ("mirrors" in one.facts)
    labels = workload.train.columns[-1]
    if "tail" in one.facts:
        counts = torch.bincount(labels).tolist()
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > 5 * counts[-1] > 0


def test_every_method_has_two_grounds_that_have_what_it_needs() -> None:
    checked = 0
    for kind in ALL:
        found = meant_for(kind)
        assert all(kind.needs - {"cuda"} <= one.facts for one in found), kind.__name__
        checked += len(found) == 2 or (len(found) == 1 and "tokens" in kind.needs) or "heads" in kind.needs
    assert checked == len(ALL) >= 35
    assert [one.name for one in meant_for(EMA, ["digits_tail"])] == ["digits_tail"]
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        ground("digit")


def kinds(methods: tuple[Method, ...]) -> set[type[Method]]:
    return {type(m) for m in methods}


@pytest.mark.parametrize(
    ("method", "base", "fast"),
    [
        (EMA(), {AdamW, OneCycle}, {AdamW, OneCycle, EMA}),
        (SGD(), {AdamW, OneCycle}, {SGD, OneCycle}),
        (AdamW(), {SGD, OneCycle}, {AdamW, OneCycle}),
        (OneCycle(), {AdamW, StepDrop}, {AdamW, OneCycle}),
        (StepDrop(), {AdamW, OneCycle}, {AdamW, StepDrop}),
        (ScheduleFree(), {AdamW, OneCycle}, {ScheduleFree}),
    ],
    ids=str,
)
def test_both_sides_differ_in_the_method_alone_and_both_decay(method, base, fast) -> None:
    found = comparison(method, ground("digits"))
    assert (kinds(found.base.methods), kinds(found.fast.methods)) == (base, fast)
    assert (found.base.budget, found.base.batch_size) == (found.fast.budget, found.fast.batch_size)
    assert found.control is None


def test_settings_that_are_asked_for_are_trained_and_what_was_trained_is_said() -> None:
    """The grounds' recipes hold AdamW and OneCycle themselves: as they come, those suit the ground; asked for, not."""
    asked = comparison(AdamW(lr=0.02, weight_decay=0.3), ground("digits"))
    assert asked.fast.get("optimizer") == asked.method == AdamW(lr=0.02, weight_decay=0.3)
    assert asked.base == comparison(AdamW(), ground("digits")).base
    usual = comparison(AdamW(), ground("digits"))
    assert usual.fast == ground("digits").recipe
    assert usual.method == usual.fast.get("optimizer") != AdamW()
    slow = OneCycle(warmup=0.4)
    assert comparison(slow, ground("digits")).fast.get("schedule") == slow


class Half(Method):
    """Keeps half of the samples."""

    def data(self, feed: Feed) -> Feed:
        import dataclasses

        return dataclasses.replace(feed, order=lambda seed, epoch, samples: torch.arange(samples // 2))


def test_who_chooses_samples_has_a_control_of_the_same_size_drawn_at_random() -> None:
    method = Half()
    feed = Feed(ground("digits").make().train, 8, seed=3)
    beside = control_of(method, feed)
    assert beside is not None
    assert kinds(beside) == {Half, AtRandom}
    chosen = method.data(feed).indices(0)
    drawn = AtRandom().data(method.data(feed)).indices(0)
    assert len(drawn) == len(chosen) == len(set(drawn.tolist()))
    assert set(drawn.tolist()) != set(chosen.tolist())
    assert torch.equal(drawn, AtRandom().data(method.data(feed)).indices(0))


class Own(Half):
    """Declares its control."""

    def control(self) -> Method:
        return EMA()


def test_a_control_that_is_declared_is_taken() -> None:
    assert control_of(Own(), Feed(ground("digits").make().train, 8, 0)) == (EMA(),)
