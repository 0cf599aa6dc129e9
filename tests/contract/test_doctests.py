"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import halftime


def test_the_examples_in_docstrings_are_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example that trains writes its ledger here
    monkeypatch.delenv("HALFTIME_LEDGER", raising=False)
    ran, wrong = 0, []
    names = [m.name for m in pkgutil.walk_packages(halftime.__path__, "halftime.")]
    for name in ("halftime", *(n for n in names if not n.endswith("__main__"))):
        result = doctest.testmod(importlib.import_module(name), report=False)
        ran += result.attempted
        wrong += [name] * result.failed
    assert wrong == []
    assert ran > 10
    assert len(names) > 20
