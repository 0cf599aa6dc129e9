"""The README's Python is run, and its figures are those of bench/results."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from halftime.cli import main
from tests.conftest import ROOT


def test_the_examples_run(own_folder: Path, monkeypatch: object) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    workload, use, method = blocks
    (own_folder / "my_workload.py").write_text(workload)
    shown = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, cwd=own_folder, check=True)
    assert shown.stdout.startswith("reached 0.95 (")
    (own_folder / "my_workload.py").write_text(workload + method)
    assert main(["train", "my_workload.py", "--with", "Brighter(by=0.2)", "--steps", "4", "--target", "0.1"]) == 0


def test_the_recipes_are_proved_as_the_page_says(own_folder: Path) -> None:
    text = (ROOT / "README.md").read_text()
    (own_folder / "my_workload.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    for name, content in zip(("slow", "fast"), re.findall(r"```json\n(.*?)```", text, re.DOTALL), strict=True):
        (own_folder / f"{name}.json").write_text(content)
    lines = [line.split("#")[0] for line in text.split("saved as")[1].split("```")[1].strip().splitlines()]
    assert [line.split()[1] for line in lines] == ["train", "train", "prove", "runs"]
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0


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
