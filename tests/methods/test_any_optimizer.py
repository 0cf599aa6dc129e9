"""AnyOptimizer: every name of torch trains, options survive, and a wrong word is answered with the right one."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.cli.arguments import method as written
from halftime.errors import BadRecipe, BadValue, UnknownName
from halftime.methods import AnyOptimizer
from halftime.methods.any_optimizer import UNFIT, find_optimizer, make_optimizer, optimizer_names
from halftime.settings import Options
from tests.contract.tasks import TRAIN, Interrupting, network, recipe, same, task, terminate, trained, weights


def test_all_of_torch_is_there() -> None:
    names = optimizer_names()
    assert {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adafactor", "Muon"} <= set(names)
    assert not set(UNFIT) & set(names)
    assert len(names) >= 10


@pytest.mark.parametrize("name", sorted(set(optimizer_names()) - {"Muon"}))
def test_each_of_torch_takes_a_step(name: str, tmp_path: Path) -> None:
    run = trained(task(), recipe(AnyOptimizer(name=name, lr=0.01), steps=3), tmp_path)
    assert run.state == "finished", run.reason


@pytest.mark.parametrize(("wrong", "right"), [("nadam", "NAdam"), ("AdmaW", "AdamW"), ("RMSProp", "RMSprop")])
def test_a_wrong_name_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnknownName, match=f"no optimizer of torch called '{wrong}'; did you mean '{right}'"):
        AnyOptimizer(name=wrong)


@pytest.mark.parametrize("name", sorted(UNFIT))
def test_what_the_loop_cannot_step_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadValue, match=f"{name} .*choose another"):
        AnyOptimizer(name=name)


def test_options_reach_the_optimizer() -> None:
    method = AnyOptimizer(name="Adam", lr=0.01, weight_decay=0.1, options={"betas": [0.8, 0.99], "amsgrad": True})  # type: ignore[arg-type]
    optimizer = method.optimizer(network(), torch.optim.SGD(network().parameters()))
    assert type(optimizer) is torch.optim.Adam
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["amsgrad"]) == (0.01, (0.8, 0.99), True)


def test_its_own_decay_is_left_to_the_optimizer_where_none_is_given() -> None:
    (group,) = make_optimizer(nn.Linear(2, 2), "AdamW", 0.01).param_groups
    assert group["weight_decay"] == 0.01


def test_options_survive_json_and_the_command_line() -> None:
    method = AnyOptimizer(name="Adam", options={"betas": (0.8, 0.99)})  # type: ignore[arg-type]
    there = ht.Recipe([method], steps=1)
    back = ht.Recipe.from_json(there.to_json())
    assert back == there
    assert back.hash == there.hash
    assert back.methods[0].options == Options(betas=(0.8, 0.99))  # type: ignore[attr-defined]
    assert hash(back.methods[0]) == hash(method)
    assert written("AnyOptimizer(name='Adam', options={'betas': [0.8, 0.99]})") == method


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentun": 0.9}, "does not take"),
        ({"momentum": -1.0}, "does not take"),
        ({"lr": 0.1}, "'lr' is given by a field of its own"),
        ({"weight_decay": 0.1}, "'weight_decay' is given by a field of its own"),
        ({"params": []}, "'params' is given by a field of its own"),
        ([0.9], "must be names and values"),
        ("momentum", "must be names and values"),
        ({1: 2}, "must be names and values"),
        ({"momentum": float("nan")}, "must be a finite number"),
        ({"momentum": {"a": 1}}, "must be a finite number"),
        ({"momentum": torch.ones(())}, "must be a finite number"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: Any, words: str) -> None:
    with pytest.raises(BadValue, match=words) as error:
        AnyOptimizer(name="SGD", options=options)
    assert "\n" not in str(error.value)
    assert "AnyOptimizer" in str(error.value)


def test_options_cannot_be_changed() -> None:
    options = Options(momentum=0.9)
    for change in (
        lambda: options.update(momentum=1),
        lambda: options.pop("momentum"),
        lambda: options.__setitem__("a", 1),
        options.clear,
    ):
        with pytest.raises(AttributeError):
            change()
    assert options == {"momentum": 0.9}


class Lion(torch.optim.SGD):
    """What a collection might have."""


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def test_the_collections_are_asked_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins with the functions of each package that are called; the real ones are asked below, where installed."""
    stand_in(monkeypatch, "timm")
    asked: list[Any] = []
    stand_in(
        monkeypatch,
        "timm.optim",
        list_optimizers=lambda: ["lion", "lamb"],
        get_optimizer_class=lambda name, bind_defaults: asked.append((name, bind_defaults)) or Lion,
    )
    stand_in(
        monkeypatch, "pytorch_optimizer", get_supported_optimizers=lambda: ["lion"], load_optimizer=lambda name: Lion
    )
    for source, name in (("timm", "lion"), ("pytorch_optimizer", "lion")):
        net = network()
        made = AnyOptimizer(name=name, source=source, weight_decay=0.1).optimizer(
            net, torch.optim.SGD(net.parameters())
        )
        assert type(made) is Lion
        assert [g["weight_decay"] for g in made.param_groups] == [0.1, 0.0]
        with pytest.raises(UnknownName, match=f"no optimizer of {source} called 'lino'; did you mean '{name}'"):
            find_optimizer("lino", source)
    assert set(asked) == {("lion", True)}


@pytest.mark.parametrize("source", ["timm", "pytorch_optimizer"])
def test_a_missing_collection_is_named_before_anything_is_written(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, source, None)
    monkeypatch.setitem(sys.modules, f"{source}.optim", None)
    with pytest.raises(BadRecipe, match=rf"source='{source}'.*pip install "):
        trained(task(), recipe(AnyOptimizer(name="lion", source=source), steps=2), tmp_path)
    assert ht.Ledger(tmp_path).runs == []


class Curved(torch.optim.SGD):
    """Wants second derivatives."""

    def step(self, closure: Any = None) -> Any:
        raise RuntimeError("element 0 of tensors does not require grad")


class Hoarding(torch.optim.SGD):
    """Keeps what no checkpoint holds."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["kept"] = object()
        return super().step(closure)


class TwoSets(torch.optim.SGD):
    """Trains other weights than it judges."""

    def eval(self) -> None:
        """Nobody calls it."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Curved, "wants more than gradients"), (Hoarding, "checkpoint cannot hold"),
        (TwoSets, "other weights than it judges, .* use ScheduleFree"),
    ],
)  # fmt: skip
def test_what_cannot_be_stepped_or_stored_is_refused_before_anything_is_written(
    kind: type, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, "pytorch_optimizer", get_supported_optimizers=lambda: ["one"], load_optimizer=lambda _: kind)
    with pytest.raises(BadRecipe, match=f"one of pytorch_optimizer .*{words}") as error:
        trained(task(), recipe(AnyOptimizer(name="one", source="pytorch_optimizer"), steps=2), tmp_path)
    assert "\n" not in str(error.value)
    assert ht.Ledger(tmp_path).runs == []


@pytest.mark.parametrize("name", sorted(set(optimizer_names()) - {"Muon"}))
def test_each_of_torch_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    what = recipe(AnyOptimizer(name=name, lr=0.01), steps=5)
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=4, act=terminate)), what, tmp_path)
    again = trained(task(), what, tmp_path, resume=stopped.value.run)
    assert same(weights(again), weights(trained(task(), what, tmp_path)))


def test_describing_one_draws_nothing() -> None:
    before = torch.get_rng_state()
    method = AnyOptimizer(name="ASGD")
    method.optimizer(nn.Linear(2, 2, device="meta"), None)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)


REAL = {"timm": "lion", "pytorch_optimizer": "lion"}


@pytest.mark.parametrize("source", [s for s in REAL if importlib.util.find_spec(s)] or ["torch"])
def test_the_real_collections_train_where_they_are_installed(source: str, tmp_path: Path) -> None:
    method = AnyOptimizer(name=REAL.get(source, "NAdam"), source=source, lr=1e-3)
    run = trained(task(), recipe(method, steps=3), tmp_path)
    assert run.state == "finished", run.reason


@pytest.mark.parametrize(
    ("field", "value"), [("lr", 0), ("source", "heavyball"), ("weight_decay", -1), ("name", 3), ("lr", float("nan"))]
)
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^AnyOptimizer\.{field}") as error:
        AnyOptimizer(**{field: value})
    assert "\n" not in str(error.value)
    assert "must be" in str(error.value)
