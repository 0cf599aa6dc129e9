"""The README's Python is run, and its figures are those of bench/results."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_the_examples_run(own_folder: Path, monkeypatch: object) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    (own_folder / "my_workload.py").write_text(blocks[0])
    shown = subprocess.run(
        [sys.executable, "-c", blocks[1]], capture_output=True, text=True, cwd=own_folder, check=True
    )
    assert shown.stdout.startswith("reached 0.95 (")


def test_the_commands_of_the_readme_are_those_of_the_program() -> None:
    from halftime.cli import VERBS

    block = (ROOT / "README.md").read_text().split("## Commands")[1].split("```")[1]
    named = {
        word
        for line in block.strip().splitlines()
        if line.startswith("halftime")
        for word in re.findall(r"[a-z]+", line)
    }
    assert set(VERBS) <= named
