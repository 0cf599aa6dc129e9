"""What a run's steps waited for: a strip of the steps, how deep the queue was, and the what-if table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from halftime.diagnose.starved import Diagnosis, of_run, steps_of
from halftime.report.charts import twice
from halftime.report.svg import Chart, Frame, Scale
from halftime.report.words import count, short
from halftime.run import Run

MOST = 8  # runs of a workload whose waits are shown
COLUMNS = 120
KEYS = (("k0", "the step's own work"), ("k1", "waiting for the batch"))


def waits(name: str, run: Run) -> dict[str, Any] | None:
    """What the page shows of one run's waits, or None where its record holds none.

    Args:
        name: unique on the page.
        run: any run.
    """
    steps = steps_of(run)
    found = of_run(run)
    if found is None:
        return None
    percent = f"{100 * found.paid:.1f} %"
    return {
        "run": run.id,
        "said": f"{count(found.steps, 'step')}; {percent} of their time went into waiting for batches. {found.said}",
        "strip": strip(f"{name}-strip", [(s.wait, s.step) for s in steps]),
        "queue": queue(f"{name}-queue", [(step, v) for step, v in run.series("queue") if v is not None]),
        "table": _table(found),
        "notes": found.notes,
    }


def strip(name: str, steps: Sequence[tuple[float, float]]) -> Markup:
    """Columns of (waiting, working) seconds, in milliseconds a step.

    Args:
        name: unique on the page.
        steps: (seconds waited, seconds worked) of each step, in order.
    """
    bins = [
        (math.fsum(w for w, _ in part) * 1e3 / len(part), math.fsum(v for _, v in part) * 1e3 / len(part))
        for part in _parts(steps)
    ]
    tall = sorted(w + v for w, v in bins)[-max(1, len(bins) // 50)]  # one stalled column does not flatten all others
    total = math.fsum(w + v for w, v in steps)
    share = 100 * math.fsum(w for w, _ in steps) / total if total else 0.0
    about = f"{count(len(steps), 'step')}; waiting takes {share:.1f} % of their time."

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale(0.0, float(len(steps)), frame.left, frame.right)
        y = Scale(0.0, max(tall, 1e-6) * 1.1, frame.bottom, frame.top)
        chart.y_axis(y, frame, "milliseconds a step", 4)
        chart.x_axis(x, frame, "step")
        wide = (frame.right - frame.left) / len(bins)
        for i, (wait, work) in enumerate(bins):
            left, middle, top = frame.left + i * wide, y(work), y(work + wait)
            chart.rect(left, middle, wide, frame.bottom - middle, "bar k0")
            chart.rect(left, top, wide, middle - top, "bar k1")

    return twice(name, "What the steps waited for", about, KEYS, 150.0, 52.0, draw)


def queue(name: str, depths: Sequence[tuple[int, float]]) -> Markup:
    """Batches that stood ready at each step; nothing where nobody counted them."""
    if not depths:
        return Markup("")
    parts = _parts(depths)
    points = [(math.fsum(s for s, _ in part) / len(part), math.fsum(d for _, d in part) / len(part)) for part in parts]
    about = f"Between {short(min(d for _, d in depths))} and {short(max(d for _, d in depths))} batches stood ready."

    def draw(chart: Chart, frame: Frame) -> None:
        x = Scale(0.0, float(max(s for s, _ in depths)) or 1.0, frame.left, frame.right)
        y = Scale(0.0, max(1.0, max(d for _, d in points)) * 1.1, frame.bottom, frame.top)
        chart.y_axis(y, frame, "batches ready", 4)
        chart.x_axis(x, frame, "step")
        chart.line([(x(s), y(d)) for s, d in points], "curve k0")

    return twice(name, "Queue depth", about, (), 110.0, 52.0, draw)


def _parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    each = math.ceil(len(values) / COLUMNS)
    return [values[i : i + each] for i in range(0, len(values), each)]


def _table(found: Diagnosis) -> list[dict[str, str]]:
    rows = []
    for f in found.table:
        saved = 100 * (1 - f.middle / found.per_step)
        reach = f"{short(f.low * 1e3)} to {short(f.high * 1e3)}"
        words = f"{saved:.1f} %".replace("-0.0", "0.0").replace("-", "−")
        rows.append({"name": f.name, "middle": short(f.middle * 1e3), "reach": reach, "saved": words})
    return rows
