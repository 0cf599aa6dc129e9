"""The pages of the methods: the same sections, settings that are the class's own, and snippets that run."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import halftime as ht
from bench import pages
from halftime.methods import ALL

from .tasks import task, trained

PAGES = Path(__file__).parents[2] / "docs" / "methods"
SECTIONS = ["When it helps", "What it costs", "When it fails", "Settings", "In your own loop", "In a recipe", "Paper"]
every_page = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def page(kind: type[ht.Method]) -> str:
    return (PAGES / f"{kind.__module__.rpartition('.')[2]}.md").read_text()


def allowed(field: Any) -> str:
    """The range of a field in words."""
    limits, kind = field.metadata, str(field.type)
    if limits.get("among"):
        return " or ".join(f'"{value}"' for value in limits["among"])
    words = (("above", -math.inf), ("low", -math.inf), ("below", math.inf), ("high", math.inf))
    said = {"above": "above", "low": "at least", "below": "below", "high": "at most"}
    given = [f"{said[k]} {limits[k]:g}" for k, none in words if limits.get(k, none) != none]
    free = {"str": "a text", "Options": "names and values"}.get(kind, "True or False")
    return ", ".join(given) or free


def rows(kind: type[ht.Method]) -> list[str]:
    """What the table of settings must begin with, a row for each field."""
    return [f"| `{f.name}` | `{f.default!r}` | {allowed(f)} |".replace("'", '"') for f in dataclasses.fields(kind)]


def facts(kind: type[ht.Method]) -> str:
    """The line of facts that a page must hold."""
    needs = ", ".join(sorted(kind.needs)) or "nothing"
    change = "by rounding at most" if kind.exact else "yes"
    return f"Slot: {kind.slot}. Needs: {needs}. Changes results: {change}."


@every_page
def test_a_page_has_its_sections_and_no_number_that_nobody_measured(kind: type[ht.Method]) -> None:
    text = page(kind)
    assert text.startswith(f"# {kind.__name__}\n")
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS
    assert len(pages.BLOCK.findall(text)) == 1
    prose = re.sub(r"```.*?```|^\|.*$|`[^`]*`", "", pages.BLOCK.sub("", text), flags=re.S | re.M).split("## Paper")[0]
    assert not re.search(r"\d+(\.\d+)? ?(%|percent|times|x\b|seconds)", prose)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@every_page
def test_the_settings_are_those_of_the_class(kind: type[ht.Method]) -> None:
    text = page(kind)
    assert facts(kind) in text
    for row in rows(kind):
        assert row in text, row
    assert text.count("\n| `") == len(rows(kind))


@every_page
def test_the_snippets_run(kind: type[ht.Method], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = torch.get_rng_state()
    blocks = re.findall(r"^```python\n(.*?)^```", page(kind), re.S | re.M)
    assert len(blocks) == 2
    plain, with_recipe = ({"__name__": "snippet"}, {"__name__": "snippet"})
    for block, names in zip(blocks, (plain, with_recipe), strict=True):
        exec(compile(block, f"{kind.__name__}.md", "exec"), names)
    torch.set_rng_state(random)
    assert "halftime.methods." in blocks[0]
    assert not any(value is kind for value in plain.values())  # the plain part alone
    recipe = with_recipe["recipe"]
    assert isinstance(recipe, ht.Recipe)
    assert any(isinstance(m, kind) for m in recipe.methods)
    if "cuda" in kind.needs:  # the recipes of the pages are trained on the CPU
        with pytest.raises(ht.InputError, match=f"^{kind.__name__} needs a CUDA device"):
            trained(task(), recipe.replace(steps=2, batch_size=16), tmp_path / "ledger")
        return
    run = trained(task(), recipe.replace(steps=2, batch_size=16), tmp_path / "ledger")
    assert run.state == "finished"


def test_there_is_a_page_for_every_method() -> None:
    assert len(list(PAGES.glob("*.md"))) == len(ALL) >= 12
