"""The ledger's folder: where runs, proofs and tunes lie, and how they are found."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from halftime.data.ranks import here
from halftime.errors import BadData, InputError, UnknownName, shorten, unknown, writing
from halftime.ledger.lines import read
from halftime.run import Run, attempt_files


class Ledger:
    """A folder of records: `runs/ID/attempt-001.jsonl`, `proofs/ID/…` likewise, and an index that can be rebuilt.

    Args:
        root: the folder; by default $HALFTIME_LEDGER, else `.halftime` in the working folder.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("HALFTIME_LEDGER") or ".halftime")

    @property
    def runs(self) -> list[Path]:
        """Folders of all runs, oldest first."""
        return self._folders("runs")

    @property
    def proofs(self) -> list[Path]:
        """Folders of all proofs, oldest first."""
        return self._folders("proofs")

    @property
    def noises(self) -> list[Path]:
        """Folders of all pilots that measured noise, oldest first."""
        return self._folders("noises")

    @property
    def tunes(self) -> list[Path]:
        """Folders of all searches for a learning rate, oldest first."""
        return self._folders("tunes")

    @property
    def searches(self) -> list[Path]:
        """Folders of all searches for a faster recipe, oldest first."""
        return self._folders("searches")

    def _folders(self, kind: str) -> list[Path]:
        folder = self.root / kind
        return sorted(p for p in folder.iterdir() if attempt_files(p)) if folder.is_dir() else []

    def new(self, kind: str) -> Path:
        """A fresh folder for a "run", "proof", "noise", "tune" or "search", named by milliseconds and some chance."""
        now = time.time()
        when = f"{time.strftime('%y%m%d-%H%M%S', time.localtime(now))}-{int(now % 1 * 1000):03d}"
        rooms = f"{kind}es" if kind == "search" else f"{kind}s"
        return self.root / rooms / f"{kind[0]}{when}{secrets.token_hex(2)}"

    def attempt(self, folder: Path) -> Path:
        """The file for the next attempt of a run or a proof."""
        return folder / f"attempt-{len(attempt_files(folder)) + 1:03d}.jsonl"

    def find(self, name: str) -> Path:
        """The folder of a run or a proof by its id or the unique start of it."""
        everything = {p.name: p for p in (*self.runs, *self.proofs)}
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
        if path.parent.name == "proofs":
            raise UnknownName(f"{path.name} is a proof, not a run: see `halftime report {path.name}`")
        found = load(path)
        if found is None:
            raise BadData(f"run {path.name} has no first line yet: it is just starting, or was killed before it")
        return found

    def check_writable(self) -> None:
        """Refuse a full or read-only disk before any work is done; of several ranks, the first writes and asks."""
        if not here().first:
            return
        probe = self.root / f".probe-{secrets.token_hex(4)}"
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\0" * 65536)
            finally:
                probe.unlink(missing_ok=True)


def load(folder: Path) -> Run | None:
    """The run in a folder, or None where it has no first line yet: just starting, or killed before it.

    Raises:
        BadData: it is no run's record.
    """
    try:
        return Run.load(folder) if any(read(path)[0] for path in attempt_files(folder)) else None
    except (KeyError, IndexError, ValueError, TypeError, InputError) as error:
        raise BadData(f"{folder} is not a run's record ({type(error).__name__} {error}): move it away") from error


def load_all(ledger: Ledger) -> list[Run]:
    """Every run that has begun, oldest first; one that cannot be read is named."""
    return [run for run in map(load, ledger.runs) if run is not None]
