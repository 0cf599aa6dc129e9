"""Journal: what a search has learned and decided, append-only; the search is a pure function of it.

Whatever chance or the clock has a hand in is asked for by `once`, under a name. The answer is written down, and given
again when a later attempt asks under the same name. So a search that was killed anywhere is simply run from the start:
it takes the same decisions without training anything twice, until it comes to what it does not know yet.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from halftime.errors import BadData, BadValue, writing
from halftime.ledger.lines import Record, Writer, read
from halftime.ledger.store import Ledger
from halftime.run import attempt_files


class Journal:
    """Writes one attempt of a search, and knows the attempts before it.

    Args:
        ledger: where it lies.
        folder: of the search.

    Raises:
        StorageError: the disk is full or read-only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ledger = Ledger(folder)
        ...     where = ledger.new("search")
        ...     first = Journal(ledger, where).once("dice", lambda: 4)
        ...     again = Journal(ledger, where).once("dice", lambda: 6)
        >>> first, again
        (4, 4)
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        before = records(folder)
        self.known: dict[str, Record] = {r["key"]: r for r in before if r["kind"] == "made"}
        self.decided: list[Record] = [r for r in before if r["kind"] == "decision"]
        self.resumed = bool(before)
        self.began = before[0]["t"] if before else time.time()  # of the first attempt
        self.spent, self._asked, self._at = 0.0, set[str](), 0
        self.log = Writer(ledger.attempt(folder))
        self._mark = time.perf_counter()

    def once(self, key: str, make: Callable[[], Any], earlier: Callable[[Any], float] = lambda _: 0.0) -> Any:
        """What `make` returns, made once in the life of the search; all time since the last entry counts as its cost.

        Args:
            key: its name in this search.
            make: gives what JSON can hold.
            earlier: of what was made, the seconds that an attempt spent on it which was killed.
        """
        if key not in self.known:
            value = json.loads(json.dumps(make()))
            now = time.perf_counter()
            entry: Record = {"key": key, "value": value, "seconds": round(now - self._mark, 6)}
            self.log.record("made", **entry)
            self._mark, self.known[key] = now, entry
        elif key not in self._asked:
            self._mark = time.perf_counter()  # reading again what is known costs the search nothing
        if key not in self._asked:
            self._asked.add(key)
            self.spent += self.known[key]["seconds"] + earlier(self.known[key]["value"])
        return self.known[key]["value"]

    def decide(self, content: Record) -> bool:
        """Write down a decision, unless that was done; whether it is new.

        Raises:
            BadData: an earlier attempt decided otherwise here: it was another version of halftime.
        """
        content = json.loads(json.dumps(content))
        if self._at < len(self.decided):
            before = {k: v for k, v in self.decided[self._at].items() if k not in ("kind", "t")}
            self._at += 1
            if before != content:
                raise BadData(
                    f"this search decided otherwise before ({before.get('change')}: {before.get('verdict')}): halftime "
                    "has changed since, so begin a new search without --resume"
                )
            return False
        self.log.record("decision", durable=True, **content)
        return True


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process works on this search; the system frees it if the process dies.

    Raises:
        BadValue: one does.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadValue(f"{folder.name} is still running elsewhere: let it end, or stop it first") from None
        yield


def records(folder: Path) -> list[Record]:
    """All records of a search, in the order in which they were written."""
    return [record for path in attempt_files(folder) for record in read(path)[0]]
