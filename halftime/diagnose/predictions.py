"""What was predicted, and what came of it: lines in the ledger's folder, so that advice has a score."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from halftime.errors import writing

Line = dict[str, Any]
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Predictions:
    """An append-only file of predictions and outcomes for all loaders.

    Args:
        root: the ledger's folder.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / "predictions.jsonl"

    def lines(self, key: str = "") -> list[Line]:
        """Everything about one loader, oldest first; about all of them if `key` is empty. Torn lines are left out."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        found = []
        for row in text.split("\n")[:-1]:
            try:
                line = json.loads(row)
            except ValueError:
                continue
            if isinstance(line, dict) and {"kind", "key", "setting"} <= set(line) and key in ("", line["key"]):
                found.append(line)
        return found

    def predicted(self, key: str, made_at: str, table: Mapping[str, tuple[float, float, float]]) -> None:
        """Keep a table.

        Args:
            key: of the loader.
            made_at: the setting it was recorded at.
            table: setting -> (low, middle, high) seconds a step.
        """
        now = round(time.time(), 3)
        fields = [{"setting": s, "low": v[0], "middle": v[1], "high": v[2]} for s, v in table.items() if s != made_at]
        self._write({"kind": "predicted", "t": now, "key": key, "made_at": made_at, **f} for f in fields)

    def happened(self, key: str, setting: str, seconds: float) -> Line | None:
        """Compare the newest prediction of a setting that was now really used; None where there is none.

        A prediction is judged once.
        """
        mine = [line for line in self.lines(key) if line["setting"] == setting]
        if not mine or mine[-1]["kind"] != "predicted":
            return None
        before = mine[-1]
        middle, inside = float(before["middle"]), float(before["low"]) <= seconds <= float(before["high"])
        line = {"kind": "happened", "t": round(time.time(), 3), "key": key, "setting": setting, "seconds": seconds}
        line |= {"made_at": before["made_at"], "middle": middle, "error": middle / seconds - 1.0, "inside": inside}
        self._write([line])
        return line

    def errors(self) -> list[float]:
        """Relative errors of all predictions that came to be judged, oldest first."""
        return [float(line["error"]) for line in self.lines() if line["kind"] == "happened"]

    def _write(self, lines: Iterable[Line]) -> None:
        data = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell() and self.path.read_bytes()[-1:] != b"\n":
                    file.write(b"\n")  # after a line that was torn off
                file.write(data.encode())


def key_of(loader: Any) -> str:
    """Sixteen characters that a loader keeps when only its workers change.

    They tell apart data set, transform, batch size, collate function, machine, and the program: its network takes part
    in a step, and is not to be seen from the loader.
    """
    dataset, collate = getattr(loader, "dataset", loader), getattr(loader, "collate_fn", None)
    size = len(dataset) if hasattr(type(dataset), "__len__") else -1
    names = [f"{getattr(c, '__module__', '')}.{getattr(c, '__qualname__', '')}" for c in (type(dataset), collate)]
    changes = [_told(getattr(dataset, name, None)) for name in ("transform", "target_transform", "transforms")]
    program = str(Path(sys.argv[0]).resolve()) if sys.argv and sys.argv[0] else ""
    facts = [*names, *changes, size, getattr(loader, "batch_size", None), platform.node(), program]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]


def _told(change: Any) -> str:
    """A transform in words that are the same in another process."""
    if hasattr(change, "__qualname__"):
        return f"{getattr(change, '__module__', '')}.{change.__qualname__}"
    return f"{type(change).__module__}.{type(change).__qualname__} {ADDRESS.sub('', repr(change))}"
