"""Recipes: equal by content, refused in one line, fuzzed."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import halftime as ht
from halftime.errors import BadRecipe, BadValue, InputError, StorageError, UnknownName
from halftime.methods import ALL, EMA, SGD, AdamW, ClipGradients, OneCycle, StepDrop
from halftime.recipe import FORMAT, Recipe


def test_order_of_writing_does_not_matter() -> None:
    one = Recipe([AdamW(lr=3e-3), OneCycle(), EMA(), ClipGradients()], epochs=8)
    other = Recipe([ClipGradients(), EMA(), OneCycle(), AdamW(lr=3e-3)], epochs=8)
    assert one == other
    assert one.hash == other.hash
    assert one.to_json() == other.to_json()


def test_methods_act_after_what_they_name() -> None:
    names = [type(m).__name__ for m in Recipe([ClipGradients(), SGD()], steps=1).methods]
    assert names == ["SGD", "ClipGradients"]


def test_every_field_changes_the_hash() -> None:
    base = Recipe([AdamW()], epochs=1)
    others = [base.replace(epochs=2), base.replace(steps=1), base.replace(batch_size=64), base.replace(micro_batch=32),
              base.plus(AdamW(lr=0.1)), base.plus(EMA()), base.minus("AdamW")]  # fmt: skip
    assert len({r.hash for r in (base, *others)}) == 8


def test_numbers_of_one_value_are_one_recipe() -> None:
    assert Recipe([AdamW(lr=1)], epochs=1) == Recipe([AdamW(lr=1.0)], epochs=1.0)
    assert Recipe([AdamW(lr=1)], epochs=1).hash == Recipe([AdamW(lr=1.0)], epochs=1.0).hash


def test_json_round_trip_of_all_methods() -> None:
    assert len(ALL) >= 12
    for method in ALL:
        recipe = Recipe([method()], minutes=1.5, batch_size=32, micro_batch=8)
        assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Recipe([SGD(), AdamW()], epochs=1), BadRecipe, "SGD and AdamW are both optimizer methods"),
        (lambda: Recipe([OneCycle(), StepDrop()], epochs=1), BadRecipe, "both schedule methods"),
        (lambda: Recipe([SGD(), SGD(lr=0.2)], epochs=1), BadRecipe, "SGD is there twice"),
        (lambda: Recipe([AdamW()]), BadRecipe, "one budget"),
        (lambda: Recipe([AdamW()], epochs=1, steps=5), BadRecipe, "one budget"),
        (lambda: Recipe([AdamW], epochs=1), BadValue, "did you mean AdamW()?"),  # type: ignore[list-item]
        (lambda: Recipe(AdamW(), epochs=1), BadValue, "must be a list"),  # type: ignore[arg-type]
        (lambda: Recipe(["AdamW"], epochs=1), BadValue, "must hold methods"),  # type: ignore[list-item]
        (lambda: Recipe([], epochs=-1), BadValue, "epochs must be above 0, not -1"),
        (lambda: Recipe([], epochs=math.nan), BadValue, "epochs must be above 0, not nan"),
        (lambda: Recipe([], steps=1.5), BadValue, "steps must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: Recipe([], steps=1, batch_size=0), BadValue, "batch_size must be at least 1"),
        (lambda: Recipe([], steps=1, batch_size=8, micro_batch=9), BadValue, "micro_batch must be at least 1 and"),
        (lambda: AdamW(lr=-1), BadValue, "AdamW.lr must be above 0, not -1"),
        (lambda: AdamW(lr=math.nan), BadValue, "AdamW.lr must be above 0, not nan"),
        (lambda: AdamW(lr=math.inf), BadValue, "not inf"),
        (lambda: AdamW(lr="fast"), BadValue, "AdamW.lr must be a number, not 'fast'"),  # type: ignore[arg-type]
        (lambda: AdamW(lr=True), BadValue, "AdamW.lr must be a number, not True"),
        (lambda: SGD(nesterov=1), BadValue, "SGD.nesterov must be True or False, not 1"),  # type: ignore[arg-type]
        (lambda: EMA(every=2.0), BadValue, "EMA.every must be a whole number"),  # type: ignore[arg-type]
        (lambda: StepDrop(milestones=0.5), BadValue, "must be a list of numbers"),  # type: ignore[arg-type]
        (lambda: StepDrop(milestones=(0.5, 2.0)), BadValue, r"milestones[1] must be at least 0 and at most 1"),
        (lambda: Recipe([AdamW()], epochs=1).minus("SDG"), UnknownName, "'SDG'"),
        (lambda: Recipe.from_json("{"), BadRecipe, "not JSON"),
        (lambda: Recipe.from_json("[]"), BadRecipe, "a recipe is an object"),
        (lambda: Recipe.from_json('{"methods": {}, "steps": 1, "steps": 2}'), BadRecipe, "given twice"),
        (lambda: Recipe.from_json('{"methods": {"Admw": {}}, "steps": 1}'), UnknownName, "did you mean 'AdamW'?"),
        (lambda: Recipe.from_json('{"methods": {"SGD": {"rl": 1}}, "steps": 1}'), UnknownName, "did you mean 'lr'?"),
        (lambda: Recipe.from_json('{"methods": {"SGD": 3}, "steps": 1}'), BadValue, "SGD must be an object"),
        (lambda: Recipe.from_json('{"methods": {}, "epoch": 1}'), UnknownName, "did you mean 'epochs'?"),
        (lambda: Recipe.from_dict({"halftime": FORMAT + 1, "methods": {}, "steps": 1}), BadRecipe, "update halftime"),
        (lambda: Recipe.from_json('{"methods": {"SGD": {"lr": NaN}}, "steps": 1}'), BadValue, "not nan"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_line(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_is_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fast.json"
    Recipe([AdamW()], epochs=1).save(path)
    before = path.read_text()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        Recipe([AdamW(), OneCycle()], epochs=2).save(path)
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir()] == ["fast.json"]


def test_a_field_may_not_hide_a_place() -> None:
    with pytest.raises(BadValue, match="may not have the name of a place"):

        @dataclasses.dataclass(frozen=True)
        class Wrong(ht.Method):
            forward: float = 1.0  # type: ignore[assignment]


numbers = st.one_of(st.integers(), st.floats(), st.integers(10**300, 10**320))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
names = st.one_of(st.sampled_from([m.__name__ for m in ALL]), st.text(max_size=6))
fields = st.one_of(st.sampled_from(sorted({f.name for m in ALL for f in dataclasses.fields(m)})), st.text(max_size=6))
keys = st.one_of(
    st.sampled_from(["halftime", "methods", "epochs", "steps", "minutes", "batch_size", "micro_batch"]),
    st.text(max_size=6),
)
recipes = st.one_of(
    values,
    st.fixed_dictionaries(
        {
            "methods": st.one_of(
                values,
                st.dictionaries(names, st.one_of(values, st.dictionaries(fields, values, max_size=3)), max_size=3),
            )
        },
        optional={
            "steps": st.one_of(st.integers(1, 9), values),
            "epochs": values,
            "batch_size": values,
            "halftime": values,
        },
    ),
    st.dictionaries(keys, values, max_size=5),
)


@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipes)
def test_any_json_is_a_recipe_or_one_line_and_no_key_is_ignored(content: Any) -> None:
    try:
        recipe = Recipe.from_json(json.dumps(content))
    except InputError as error:
        assert "\n" not in str(error)
        return
    written = recipe.to_dict()
    for key, value in content.items():
        if value is not None and key != "halftime":
            assert key in written
    for name, given_fields in content["methods"].items():
        for field, value in given_fields.items():
            kept = written["methods"][name][field]
            assert kept == value or list(kept) == list(value)


@settings(max_examples=1000, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_one_line(text: str) -> None:
    try:
        Recipe.from_json(text)
    except InputError as error:
        assert "\n" not in str(error)
