"""`halftime search` around the search itself: what it is given, and an outcome that cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from halftime.cli import main
from halftime.errors import StorageError
from halftime.methods import EMA, StepDrop
from halftime.search.records import Found

FOUND = Found("s1", "nothing found", "nothing was faster", {}, {}, {"methods": {}, "steps": 1})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the search was asked for; it finds nothing, at once."""
    given: dict[str, Any] = {}

    def search(*_: Any, **how: Any) -> Found:
        given.update(how)
        return FOUND

    monkeypatch.setattr("halftime.search.search.search", search)
    return given


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_the_outcome_is_shown_even_where_it_cannot_be_written(
    json: list[str], asked: dict[str, Any], own_folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(path: Path, _: bytes) -> None:
        raise StorageError(f"{path}: the disk is full")

    call = ["search", "digits", "--minutes", "1", "--out", "found", *json]
    assert main(call) == 1
    assert ("written: found/recipe.json" in capsys.readouterr().out) == (not json)
    monkeypatch.setattr("halftime.ledger.checkpoint.replace", full)
    with pytest.raises(SystemExit):
        main(call)
    shown = capsys.readouterr()
    assert "nothing was faster" in shown.out
    assert "written" not in shown.out
    assert "the disk is full" in shown.err


def test_methods_with_several_settings_are_told_apart(asked: dict[str, Any], own_folder: Path) -> None:
    main(["search", "digits", "--minutes", "1", "--methods", "StepDrop(factor=0.2, milestones=(0.5,0.8)),EMA()"])
    assert asked["methods"] == [StepDrop(factor=0.2, milestones=(0.5, 0.8)), EMA()]
