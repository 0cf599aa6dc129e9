"""A method stands under one name in every room, and its file has the form of the house. Counts what it checked."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
import torch

from bench import pages
from halftime.measure import prior
from halftime.methods import ALL
from halftime.places import PLACES, Method

ROOT = Path(__file__).parents[2]
ROOMS = {"halftime/methods": "{}.py", "tests/methods": "test_{}.py", "examples/plain": "{}.py", "docs/methods": "{}.md"}
STEMS = sorted(kind.__module__.rpartition(".")[2] for kind in ALL)
MAY_IMPORT = (
    "__future__",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "functools",
    "halftime.data",
    "halftime.errors",
    "halftime.heads",
    "halftime.methods",
    "halftime.notes",
    "halftime.overflow",
    "halftime.places",
    "halftime.settings",
    "halftime.snapshots",
    "huggingface_hub",
    "importlib",
    "math",
    "pathlib",
    "random",
    "re",
    "safetensors",
    "sysconfig",
    "time",
    "torch",
    "types",
    "typing",
)

every_stem = pytest.mark.parametrize("stem", STEMS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_holds_exactly_the_methods(room: str) -> None:
    pattern = ROOMS[room].format("*")
    before, after = ROOMS[room].split("{}")
    found = sorted(p.name.removeprefix(before).removesuffix(after) for p in (ROOT / room).glob(pattern))
    assert [stem for stem in found if stem != "__init__"] == STEMS
    assert len(STEMS) == len(ALL) == len(set(STEMS)) >= 12


def test_evidence_is_that_of_a_method_and_says_which_have_none() -> None:
    found = sorted((ROOT / "evidence").glob("*.json"))
    checked = 0
    for path in found:
        content = json.loads(path.read_text())
        assert prior.stem(content["method"]) == path.stem
        assert path.stem in STEMS
        entries = prior.read(path)
        assert len({(e["workload"]["name"], e["device"]) for e in entries}) == len(entries) > 0
        assert all(e["seeds"] >= 5 for e in entries if e["ratio"])
        checked += 1
    assert checked == len(found) >= 1
    assert {prior.stem(kind.__name__) for kind in ALL} == set(STEMS)


def test_the_pages_hold_the_evidence_that_there_is() -> None:
    assert pages.main(["--check"]) == 0


def test_a_stem_is_its_class_in_snake_case() -> None:
    for kind in ALL:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        assert kind.__module__ == f"halftime.methods.{'adamw' if kind.__name__ == 'AdamW' else words}"
    assert len(ALL) >= 12


def test_all_is_sorted_and_complete() -> None:
    names = [kind.__name__ for kind in ALL]
    assert names == sorted(names, key=str.lower)
    ours = {kind for kind in Method.__subclasses__() if kind.__module__.startswith("halftime.methods.")}
    assert ours == set(ALL)


def source(stem: str) -> tuple[str, ast.Module]:
    text = (ROOT / "halftime" / "methods" / f"{stem}.py").read_text()
    return text, ast.parse(text)


@every_stem
def test_the_docstring_says_what_costs_and_when_it_fails(stem: str) -> None:
    lines = (ast.get_docstring(source(stem)[1]) or "").splitlines()
    heads = [line.split(":")[0] for line in lines if re.match(r"[A-Z][a-z]+( when)?: ", line)]
    assert heads == ["What", "Paper", "Costs", "Fails when"]
    paper = next(line for line in lines if line.startswith("Paper: "))
    assert re.search(r"\b(19|20)\d\d\b", paper) or paper.startswith("Paper: none")


@every_stem
def test_the_plain_part_comes_first_and_needs_torch_alone(stem: str) -> None:
    text, tree = source(stem)
    imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imported += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert imported
    for module in imported:
        assert module.startswith(MAY_IMPORT), module
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    methods = [c.lineno for c in classes if any("Method" in ast.unparse(b) for b in c.bases)]
    assert len(methods) == 1
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    assert all(f.lineno < methods[0] for f in functions)
    assert all(c.name.startswith("_") for c in classes if c.lineno > methods[0])
    assert len(text.splitlines()) <= 200
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            said = len((ast.get_docstring(node) or "").splitlines())
            assert (node.end_lineno or 0) - node.lineno + 1 - said <= 40, node.name


def test_public_functions_say_what_they_take_and_show_it() -> None:
    checked = 0
    for kind in ALL:
        module = inspect.getmodule(kind)
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", "") == kind.__module__ and not name.startswith("_")
            if not ours or thing is kind:
                continue
            said = inspect.getdoc(thing) or ""
            assert "Example:" in said, name
            assert said.splitlines()[0].endswith((".", ";")), name
            for argument in inspect.signature(thing).parameters:
                assert re.search(rf"^    {argument}: ", said, re.M), f"{name}: what is {argument}?"
            if inspect.isfunction(thing):
                assert "Returns:" in said, name
            checked += 1
    assert checked >= 12


def test_the_fields_are_said_in_the_docstring() -> None:
    checked = 0
    for kind in ALL:
        for field in kind().to_dict():
            assert re.search(rf"^    {field}: ", inspect.getdoc(kind) or "", re.M), f"{kind.__name__}.{field}"
            checked += 1
    assert checked > 20


def test_a_method_overrides_a_place_and_holds_no_state() -> None:
    for kind in ALL:
        own = [place for place in (*PLACES, "start") if place in vars(kind)]
        assert own, kind.__name__
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert not any(isinstance(v, torch.Tensor) for v in vars(kind()).values())
        assert set(kind.choices) <= set(kind().to_dict())
