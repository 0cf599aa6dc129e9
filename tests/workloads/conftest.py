"""Which real data there is here; a test that needs others is skipped and says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from halftime.data import sources

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real(monkeypatch):
    """A function that skips the test where a data set of `sources` is not on this machine; nothing is downloaded."""
    if "HALFTIME_DATA" not in os.environ and BESIDE.is_dir():
        monkeypatch.setenv("HALFTIME_DATA", str(BESIDE))

    def ask(name: str) -> None:
        folders = [Path(os.environ.get("HALFTIME_DATA", BESIDE)) / name, sources.cache() / name]
        if not any(sources.within(folder, sources.SOURCES[name]) for folder in folders):
            pytest.skip(f"{name} is not on this machine: set HALFTIME_DATA to the folder that holds it")

    return ask
