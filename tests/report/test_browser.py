"""In a real browser: nothing sticks out at the side, letters stay readable, the console stays empty."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from halftime.ledger.store import Ledger, load_all
from halftime.report.page import proof_page, runs_page
from tests.report.records import BASE, tuned, write_proof

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = """
    --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --hide-scrollbars --enable-logging=stderr
    --window-size=1400,1000 --virtual-time-budget=5000 --dump-dom
""".split()  # noqa: SIM905 - one under the other would be long
MEASURE = """
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll("details").forEach(d => d.open = true);
    const charts = [...page.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width > 0);
    return {
      name: frame.name, room: root.clientWidth, need: root.scrollWidth, charts: charts.length,
      main: frame.contentWindow.getComputedStyle(page.querySelector("main")).maxWidth,
      letters: Math.min(99, ...charts.map(s => 13 * s.getBoundingClientRect().width / s.viewBox.baseVal.width)),
    };
  });
  document.documentElement.textContent = "FOUND" + JSON.stringify(found) + "END";
});
</script>
"""


def measured(pages: dict[str, str], folder: Path) -> tuple[list[dict[str, Any]], str]:
    """What the browser found of each page in each width, and what it said on its console."""
    frames = [
        f'<iframe name="{name} {width}" width="{width}" height="800" srcdoc="{html.escape(text)}"></iframe>'
        for name, text in pages.items()
        for width in (320, 390, 640, 1280)
    ]
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f"<!doctype html><meta charset='utf-8'>{MEASURE}<body>{''.join(frames)}</body>")
    line = [str(BROWSER), *QUIET, f"--user-data-dir={folder / 'profile'}", wrapper.as_uri()]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"FOUND(.*?)END", done.stdout, re.DOTALL)
    assert found, done.stdout[:500] + done.stderr[-500:]
    console = "\n".join(s for s in done.stderr.splitlines() if "CONSOLE" in s)
    return json.loads(html.unescape(found[1])), console


@pytest.mark.skipif(BROWSER is None, reason="no chromium found: apt-get install chromium")
def test_pages_fit_phone_and_desk(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    tuned(ledger)
    good = write_proof(ledger, [20.0, 21.0, 22.0, 20.5, None], [10.0, 10.5, 11.0, 10.2, 10.4], joules=512.0)
    odd = {"halftime": 1, "epochs": 5.0, "batch_size": 64, "methods": {"A" * 150: {"p" * 90: "v" * 200}}}
    about = {"name": "x" * 200, "source": "y" * 200, "data": "z" * 200}
    long = write_proof(ledger, [9e5, 1e6], [4e5, 4.1e5], ends=(2e6, 1e6), recipes=(BASE, odd), workload=about)
    pages = {"good": proof_page(good), "long": proof_page(long), "runs": runs_page(load_all(ledger))}
    found, console = measured(pages, tmp_path)
    assert console == ""
    assert len(found) == 12
    for one in found:
        assert one["need"] <= one["room"], one
        assert one["main"] == "784px", "the style sheet is in force under the page's own policy"
        assert one["charts"] >= 2, one
        assert one["letters"] >= 10, one
