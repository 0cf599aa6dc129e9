"""What the measurements share: one figure as a record, a file of them, and tables as text."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import beta

from halftime.ledger.fingerprint import fingerprint

Figure = dict[str, Any]
NEEDED = ("name", "question", "predicted", "unit", "n", "median", "spread", "spread_is")


def sample(name: str, question: str, predicted: str, unit: str, values: Sequence[float]) -> Figure:
    """A figure from repeated measurements: median and quartiles."""
    low, median, high = quartiles(values)
    about = {"name": name, "question": question, "predicted": predicted, "unit": unit, "n": len(values)}
    return {**about, "median": median, "spread": [low, high], "spread_is": "quartiles"}


def count(name: str, question: str, predicted: str, unit: str, hits: int, n: int) -> Figure:
    """A figure from trials that may go wrong: how many did, and the 95 % interval of the rate (Clopper and Pearson)."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975 if hits else 0.95, hits + 1, n - hits)) if hits < n else 1.0
    about = {"name": name, "question": question, "predicted": predicted, "unit": unit, "n": n}
    return {**about, "median": hits, "spread": [low, high], "spread_is": "rate"}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The quarter, the median and three quarters of some values.

    >>> quartiles([1.0, 2.0, 3.0])
    (1.5, 2.0, 2.5)
    """
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def measured(figure: Figure) -> str:
    """What was found, in words.

    >>> measured({"median": 0, "n": 200, "unit": "lost", "spread": [0.0, 0.0149], "spread_is": "rate"})
    '0 of 200 lost (95 %: rate at most 1.5 %)'
    """
    low, high = figure["spread"]
    if figure["spread_is"] == "rate":
        rate = f"rate at most {high:.1%}" if not figure["median"] else f"rate {low:.1%} to {high:.1%}"
        return f"{figure['median']} of {figure['n']} {figure['unit']} (95 %: {rate.replace('%', ' %')})"
    ends = f"{number(low) or 'no lower end'} to {number(high) or 'no upper end'}"
    said = f"{number(figure['median'])} {figure['unit']} ({figure['spread_is']} {ends})" if figure["n"] else "no ratio"
    return said if figure.get("shown", True) else f"not shown: {said}"


def number(value: Any) -> str:
    """A value for a table: three digits that count, no exponent for what is read every day.

    >>> number(1234.5), number(0.04567), number("x"), number(None)
    ('1234', '0.0457', 'x', '')
    """
    if value is None:
        return ""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as an aligned table; numbers to the right."""
    if not rows:
        return "(nothing)"
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[number(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    right = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names]
    lines = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def options(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every measurement takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--date", default=dt.date.today().isoformat(), help="the day to write down (today)")
    return parser


def printed(content: Mapping[str, Any]) -> str:
    """What a file of results says, for a terminal: its tables, then each figure with what was predicted."""
    about, machine = [f"{content['date']}", ""], content["machine"]
    about[1] = f"{machine['cpu']}, {machine['cores']} cores, torch {content['packages']['torch']}"
    parts = [", ".join(about)]
    parts += [f"{title}\n{text(rows)}" for title, rows in content["tables"].items()]
    parts += [f"{f['question']}\n  predicted {f['predicted']}; measured {measured(f)}" for f in content["figures"]]
    return "\n\n".join(parts) + "\n"


def publish(
    given: argparse.Namespace, figures: Sequence[Figure], tables: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Print the tables and the figures, and write them where `--json` says, the printed text beside."""
    made_by = fingerprint(torch.device("cpu"))
    content = {
        "date": given.date,
        **made_by,
        "figures": list(figures),
        "tables": {k: list(v) for k, v in tables.items()},
    }
    print(printed(content))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        given.json.with_suffix(".txt").write_text(printed(content))
