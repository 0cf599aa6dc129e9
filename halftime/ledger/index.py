"""Index: an SQLite table over the runs, for listing and queries. The records are the truth; it can be thrown away."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from halftime.errors import StorageError
from halftime.ledger.store import Ledger, load
from halftime.run import Run, attempt_files

VERSION = 1  # of the table; another one is rebuilt
COLUMNS = {
    "id": "TEXT PRIMARY KEY", "started": "REAL", "workload": "TEXT", "recipe": "TEXT", "recipe_hash": "TEXT",
    "seed": "INTEGER", "part": "TEXT", "device": "TEXT", "state": "TEXT", "verdict": "TEXT", "score": "REAL",
    "hit_after": "REAL", "hit_by": "REAL", "seconds": "REAL", "device_seconds": "REAL", "joules": "REAL",
    "steps": "INTEGER", "attempts": "INTEGER", "intact": "INTEGER", "content": "TEXT", "seen": "TEXT",
}  # fmt: skip


def refresh(ledger: Ledger, rebuild: bool = False) -> list[dict[str, Any]]:
    """Bring the index up to date and return its rows, oldest run first.

    Args:
        ledger: whose runs are indexed, into `index.sqlite` in its folder.
        rebuild: start from nothing.

    Raises:
        StorageError: the index cannot be written. BadData: a run's record cannot be read.
    """
    path = ledger.root / "index.sqlite"
    folders = ledger.runs
    if not folders and not path.exists():
        return []
    try:
        if rebuild:
            for old in ledger.root.glob("index.sqlite*"):
                old.unlink()
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as base:
            return _refresh(base, folders)
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"cannot write {path}: {error}; delete it, or run `halftime ledger rebuild`") from error


def _refresh(base: sqlite3.Connection, folders: list[Path]) -> list[dict[str, Any]]:
    base.row_factory = sqlite3.Row
    base.execute("BEGIN IMMEDIATE")  # a plain BEGIN that later writes is refused at once when another has begun
    if base.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        base.execute("DROP TABLE IF EXISTS runs")
        base.execute(f"CREATE TABLE runs ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        base.execute(f"PRAGMA user_version = {VERSION}")
    seen = dict(base.execute("SELECT id, seen FROM runs").fetchall())
    for folder in folders:
        now = _seen(folder)
        if seen.pop(folder.name, None) != now and (run := load(folder)):
            row = _row(run, now)
            marks = ", ".join("?" * len(COLUMNS))
            base.execute(f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({marks})", list(row.values()))
    for gone in seen:
        base.execute("DELETE FROM runs WHERE id = ?", [gone])
    rows = [dict(row) for row in base.execute("SELECT * FROM runs ORDER BY started, id")]
    base.execute("COMMIT")
    return rows


def _seen(folder: Path) -> str:
    """What the files looked like when they were read."""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in attempt_files(folder)]
    return json.dumps(files)


def _row(run: Run, seen: str) -> dict[str, Any]:
    after, by = run.hit or (None, None)
    row = {
        "id": run.id, "started": run.started, "workload": run.workload["name"], "recipe": str(run.recipe),
        "recipe_hash": run.recipe.hash, "seed": run.seed, "part": run.group, "device": run.device, "state": run.state,
        "verdict": run.verdict, "score": run.score, "hit_after": after, "hit_by": by, "seconds": run.seconds,
        "device_seconds": run.device_seconds, "joules": run.joules, "steps": run.steps, "attempts": run.attempts,
        "intact": run.intact, "content": json.dumps(run.recipe.to_dict()),
        # the state of a run without an end depends on the clock: it is read anew each time
        "seen": seen if run.state in ("finished", "failed", "preempted") else "",
    }  # fmt: skip
    return {name: row[name] for name in COLUMNS}
