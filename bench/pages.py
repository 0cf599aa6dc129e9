"""Write the evidence into the pages of the methods; with `--check`, say which pages are stale.

No number in `docs/methods/*.md` is typed by hand: what stands between the two markers comes from `evidence/*.json`; a
page of a method that nobody measured says so.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from halftime.cli.methods import line
from halftime.measure.prior import Entry, read

ROOT = Path(__file__).parent.parent
BEGIN, END, NONE = "<!-- evidence -->", "<!-- /evidence -->", "Evidence: not measured yet."
BLOCK = re.compile(rf"^(?:{re.escape(NONE)}|{re.escape(BEGIN)}\n.*?^{re.escape(END)})$", re.S | re.M)
HEAD = (
    "| workload | device | as soon at the target (95 %) | score | time of a run | verdict | against | pairs | date |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def block(entries: list[Entry]) -> str:
    """What a page says about the entries of its method."""
    if not entries:
        return NONE
    rows = [[*line(e), e["against"], str(e.get("seeds", "–")), e["date"]] for e in entries]
    said = [f"{e['workload']['name']}, {e['device']}: {e['words']}" for e in entries if not e["ratio"]]
    reasons = "".join(f"\n{textwrap.fill(text, 120, break_long_words=False)}\n" for text in said)
    table = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)
    return f"{BEGIN}\n{HEAD}{table}{reasons}{END}"


def renewed(page: str, entries: list[Entry]) -> str:
    """A page with its evidence made anew."""
    if len(BLOCK.findall(page)) != 1:
        raise SystemExit(f'a page needs one line "{NONE}" or one {BEGIN} and after it one {END}')
    return BLOCK.sub(lambda _: block(entries), page)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a page is stale")
    parser.add_argument("--pages", type=Path, default=ROOT / "docs" / "methods")
    parser.add_argument("--evidence", type=Path, default=ROOT / "evidence")
    given = parser.parse_args(arguments)
    pages = sorted(given.pages.glob("*.md"))
    unknown = {p.stem for p in given.evidence.glob("*.json")} - {p.stem for p in pages}
    if unknown or not pages:
        raise SystemExit(f"{len(pages)} pages, and none for the evidence of: {', '.join(sorted(unknown)) or 'any'}")
    stale = 0
    for page in pages:
        path = given.evidence / f"{page.stem}.json"
        old = page.read_text()
        new = renewed(old, read(path) if path.is_file() else [])
        if new != old and given.check:
            print(f"{page.name} is stale: run python -m bench.pages", file=sys.stderr)
        elif new != old:
            page.write_text(new)
        stale += new != old
    return int(bool(stale) and given.check)


if __name__ == "__main__":
    sys.exit(main())
