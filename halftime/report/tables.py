"""Tables and summaries for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from halftime.run import Run


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns; numbers to the right.

    Example:
        >>> print(table(["lr", "score"], [[0.1, 0.9], [0.03, None]]))
          lr  score
         0.1    0.9
        0.03      –
    """
    cells = [[cell(value) for value in row] for row in rows]
    right = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(head))]
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    lines = []
    for line in [list(head), *cells]:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def cell(value: Any) -> str:
    """One value in a few characters."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def bracket(hit: tuple[float, float] | None) -> str:
    """When a target was met, both ends."""
    return f"{hit[0]:.1f} to {hit[1]:.1f} s" if hit else "missed"


def summary(run: Run) -> str:
    """A run in a few lines."""
    target = run.workload["target"]
    lines = [f"run {run.id}: {run.verdict}" + (f" ({run.reason})" if run.reason else "")]
    lines.append(f"  {run.workload['name']} · {run.recipe} · seed {run.seed} · {run.device}")
    if target is not None:
        lines.append(f"  target {target:g}: {bracket(run.hit)}" + " of training" * bool(run.hit))
    if run.score is not None:
        lines.append(f"  final score {run.score:.4f} after {run.steps} steps, {run.seconds:.1f} s of training")
    if run.tried > run.steps:  # left out by loss scaling, or by a guard
        lines.append(f"  {run.tried - run.steps} of {run.tried} batches were not applied")
    if run.evaluations and run.evaluations[-1].scores:
        parts = [(name, value) for name, value in run.evaluations[-1].scores.items() if value is not None]
        lines.append("  " + ", ".join(f"{name} {value:.4f}" for name, value in parts))
    spans = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.spans.items() if seconds >= 0.05)
    energy = f", {run.joules / 3600:.2f} Wh" if run.joules is not None else ""
    lines.append(f"  held its device {run.device_seconds:.1f} s{energy}" + (f" ({spans})" if spans else ""))
    if run.receipt:
        lines.append(f"  order receipt {run.receipt} of {run.tried} batches")
    if run.weights.exists():
        lines.append(f"  weights: {run.weights}")
    return "\n".join(lines)
