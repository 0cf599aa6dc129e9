"""Write the README's table of figures from `bench/results/*.json`; with `--check`, say whether it is stale.

No number in the README is typed by hand: what stands between the two markers is made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.tables import NEEDED, measured

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
HEAD = "| question | predicted | measured | n |\n|---|---|---|---|\n"


def table(results: Path) -> str:
    """A table of the figures of each file in a folder of results, to be unfolded, in the order of their names."""
    blocks = []
    for path in sorted(results.glob("*.json")):
        content = json.loads(path.read_text())
        lines = [row(figure, path.name) for figure in content.get("figures", ())]
        about = f"<b>{path.stem}</b>: {len(lines)} figures, {content['date']}, {machine(content['machine'])}"
        if lines:
            blocks.append(f"<details><summary>{about}</summary>\n\n{HEAD}{''.join(lines)}\n</details>\n")
    return "\n".join(blocks) or "Nothing has been measured yet.\n"


def row(figure: dict[str, Any], source: str) -> str:
    """A line of the table: question, what was predicted, what was measured, how often."""
    missing = [name for name in NEEDED if name not in figure]
    if missing:
        raise SystemExit(f"{source}: a figure lacks {', '.join(missing)}: measure it again")
    cells = [figure["question"], figure["predicted"], measured(figure), str(figure["n"])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def machine(found: dict[str, Any]) -> str:
    """A machine in a few words."""
    where = found.get("gpu") or found["cpu"]
    return f"{where}, {found['cores']} cores, torch on {found['threads']}"


def renewed(readme: str, results: Path) -> str:
    """The README with the table between the markers made anew."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise SystemExit(f"the README needs one {BEGIN} and after it one {END}")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{table(results)}{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if the table is stale")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args(arguments)
    old = given.readme.read_text()
    new = renewed(old, given.results)
    if old == new:
        return 0
    if given.check:
        print(f"{given.readme.name} is stale: run python -m bench.readme", file=sys.stderr)
        return 1
    given.readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
