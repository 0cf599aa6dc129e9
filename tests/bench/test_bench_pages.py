"""The pages of the methods take their evidence from the files, say so where there is none, and are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import pages
from halftime.measure.prior import FORMAT

PAGE = "# EMA\n\nWhat it is.\n\nEvidence: not measured yet.\n\n## When it helps\n"
ENTRY: dict[str, Any] = {
    "workload": {"name": "digits"}, "facts": [], "device": "cpu", "date": "2026-11-25", "verdict": "gain", "words": "",
    "machine": {}, "packages": {}, "cost": 1.02, "against": "the recipe without it", "seeds": 5,
    "ratio": {"estimate": 1.2, "low": 1.1, "high": 1.3, "n": 5}, "quality": {"estimate": 0.001},
}  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("pages", "evidence"):
        (tmp_path / name).mkdir()
    (tmp_path / "pages" / "ema.md").write_text(PAGE)
    return tmp_path / "pages", tmp_path / "evidence"


def call(folders: tuple[Path, Path], *more: str) -> int:
    return pages.main(["--pages", str(folders[0]), "--evidence", str(folders[1]), *more])


def store(folder: Path, name: str, *entries: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps({"format": FORMAT, "method": "EMA", "entries": entries}))


def test_a_page_without_evidence_says_so_and_is_fresh(folders: tuple[Path, Path]) -> None:
    assert call(folders, "--check") == 0
    assert call(folders) == 0
    assert (folders[0] / "ema.md").read_text() == PAGE


def test_a_stale_page_is_told_and_made_anew(folders: tuple[Path, Path]) -> None:
    store(folders[1], "ema", ENTRY, {**ENTRY, "device": "a GPU", "ratio": None, "quality": None, "words": "no | there"})
    assert call(folders, "--check") == 1
    assert (folders[0] / "ema.md").read_text() == PAGE
    assert call(folders) == 0
    page = (folders[0] / "ema.md").read_text()
    assert "| digits | cpu | 1.20× (1.10 to 1.30) | +0.0010 | 1.02× | gain |" in page
    assert "digits, a GPU: no | there" in page
    assert pages.NONE not in page
    assert call(folders, "--check") == 0
    (folders[1] / "ema.json").unlink()
    assert call(folders) == 0
    assert (folders[0] / "ema.md").read_text() == PAGE


def test_evidence_without_a_page_is_refused_and_so_is_a_page_without_its_place(folders: tuple[Path, Path]) -> None:
    store(folders[1], "other", ENTRY)
    with pytest.raises(SystemExit, match="other"):
        call(folders)
    (folders[1] / "other.json").unlink()
    (folders[0] / "ema.md").write_text("# EMA\n")
    with pytest.raises(SystemExit, match="a page needs one line"):
        call(folders)
