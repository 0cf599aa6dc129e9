"""Write the README's tables of figures from `bench/results/*.json`; with `--check`, say whether they are stale.

No number in the README is typed by hand: what stands between markers is made here, a few figures for the first look
and all of them further down.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.tables import NEEDED, measured

ROOT = Path(__file__).parent.parent
FIRST = (  # for the first look: file, figure; some of what went well and some of what did not
    ("demo", "demo ratio"),
    ("searches-digits", "search: digits over the textbook base"),
    ("searches-digits", "search: digits over AdamW + OneCycle"),
    ("searches-fashion", "search: fashion_mnist over the textbook base"),
    ("searches-fashion", "search: fashion_mnist over AdamW + OneCycle"),
    ("switches", "switches: kept and slower"),
    ("rates", "halftime: above 1.05"),
    ("rates", "lightning: above 1.05"),
    ("claims", "real-sequential-same seeds"),
    ("overhead-loop", "overhead: halftime, empty recipe"),
    ("kills", "resuming: different"),
    ("watching", "watch: overhead"),
    ("watching", "what if: coverage"),
    ("packing", "packing cifar10: over the best DataLoader on two cores"),
    ("packing", "packing bccd: over the best DataLoader on two cores"),
    ("keeping", "keeper: throughput"),
)
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


def first(results: Path) -> str:
    """A table of the figures for the first look."""
    lines = []
    for stem, name in FIRST:
        path = results / f"{stem}.json"
        figures = json.loads(path.read_text())["figures"] if path.is_file() else []
        lines += [row(figure, stem) for figure in figures if figure["name"] == name]
    if len(lines) != len(FIRST):
        raise SystemExit("a figure for the first look is missing from the results")
    return HEAD + "".join(lines)


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
    """The README with the tables between its markers made anew."""
    for mark, make in (("first figures", first), ("figures", table)):
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        if readme.count(begin) != 1 or readme.count(end) != 1 or readme.index(begin) > readme.index(end):
            raise SystemExit(f"the README needs one {begin} and after it one {end}")
        before, after = readme.split(begin)[0], readme.split(end)[1]
        readme = f"{before}{begin}\n{make(results)}{end}{after}"
    return readme


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a table is stale")
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
