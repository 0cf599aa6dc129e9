"""The ledger's folder: where runs and proofs lie, and how they are found."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from halftime.errors import BadData, UnknownName, shorten, unknown, writing
from halftime.run import Run, attempt_files


class Ledger:
    """A folder of records: `runs/ID/attempt-001.jsonl`, `proofs/ID.jsonl`, and an index that can be rebuilt.

    Args:
        root: the folder; by default $HALFTIME_LEDGER, else `.halftime` in the working folder.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("HALFTIME_LEDGER") or ".halftime")

    @property
    def runs(self) -> list[Path]:
        """Folders of all runs, oldest first."""
        folder = self.root / "runs"
        return sorted(p for p in folder.iterdir() if attempt_files(p)) if folder.is_dir() else []

    @property
    def proofs(self) -> list[Path]:
        """Files of all proofs, oldest first."""
        folder = self.root / "proofs"
        return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []

    def new(self, kind: str) -> Path:
        """A fresh place for a run (a folder) or a proof (a file), named by time and four random characters."""
        name = f"{kind[0]}{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        return self.root / f"{kind}s" / (name + (".jsonl" if kind == "proof" else ""))

    def attempt(self, folder: Path) -> Path:
        """The file for a run's next attempt."""
        return folder / f"attempt-{len(attempt_files(folder)) + 1:03d}.jsonl"

    def find(self, name: str) -> Path:
        """A run's folder or a proof's file by its id or the unique start of it."""
        everything = {p.stem: p for p in (*self.runs, *self.proofs)}
        if name in everything:
            return everything[name]
        fitting = [stem for stem in everything if name and stem.startswith(name)]
        if len(fitting) > 1:
            raise UnknownName(f"{shorten(name)} could be any of {', '.join(fitting[:5])}: give more of it")
        if not fitting:
            error = unknown("run or proof", name, list(everything)[-5:])
            raise UnknownName(f"{error} (looked in {self.root})")
        return everything[fitting[0]]

    def run(self, name: str) -> Run:
        """A run by its id or the unique start of it."""
        path = self.find(name)
        if path.suffix == ".jsonl":
            raise UnknownName(f"{path.stem} is a proof, not a run: see `halftime report {path.stem}`")
        return Run.load(path)

    def check_writable(self) -> None:
        """Refuse a full or read-only disk before any work is done."""
        probe = self.root / f".probe-{secrets.token_hex(4)}"
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\0" * 65536)
            finally:
                probe.unlink(missing_ok=True)


def load_all(ledger: Ledger) -> list[Run]:
    """Every run that has begun; one that cannot be read is named."""
    found = []
    for folder in ledger.runs:
        try:
            found.append(Run.load(folder))
        except BadData:  # just starting, or killed before its first line: there is nothing to tell
            continue
        except (KeyError, IndexError, ValueError) as error:
            raise BadData(f"{folder} is not a run's record ({type(error).__name__} {error}): move it away") from error
    return found
