"""The recipes beside the package: each is one, is named for a workload, and survives JSON."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from halftime import Recipe
from halftime.workloads import ALL

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
FILES = sorted(path.name for workload in ALL for path in FOLDER.glob(f"{workload}_2cores_*.py"))


def test_every_cpu_workload_has_one():
    assert {re.sub(r"_2cores_\d{8}\.py$", "", name) for name in FILES} == {
        "blood_cells", "digits", "fashion_mnist", "cifar10", "shakespeare", "multitask"
    }  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_it_is_a_recipe(name):
    recipe = runpy.run_path(str(FOLDER / name))["recipe"]
    assert isinstance(recipe, Recipe)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.get("optimizer")
    assert recipe.get("schedule")
