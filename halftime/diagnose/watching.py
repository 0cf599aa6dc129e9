"""`watch(loader)`: one line in anybody's loop, a diagnosis while it runs, and advice that is judged afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from halftime.data.watch import Watch
from halftime.diagnose.predictions import Predictions, key_of
from halftime.diagnose.shortage import named
from halftime.diagnose.starved import ENOUGH, MODEL, Diagnosis, diagnose, typical
from halftime.errors import BadData, StorageError, shorten
from halftime.ledger.store import Ledger


class Watched(Watch):
    """A loader under watch: iterate it as before, print it whenever you like.

    Args:
        loader: any iterable.
        device: where to move each batch, timed; not moved if None.
        ledger: where predictions are kept; see `Ledger`.
    """

    def __init__(self, loader: Any, device: Any = None, ledger: Ledger | str | Path | None = None) -> None:
        super().__init__(loader, device)
        self.predictions = Predictions((ledger if isinstance(ledger, Ledger) else Ledger(ledger)).root)
        self.key = key_of(loader)
        self._judged = self._predicted = False

    def diagnosis(self, ask: Sequence[int] = ()) -> Diagnosis:
        """What the loop has waited for until now.

        Args:
            ask: worker counts to predict; 1 to twice the cores, at least 4, if empty.
        """
        steps, past = self.steps, self.predictions.errors()
        error = max(MODEL, median(abs(e) for e in past) / 0.6745) if len(past) >= 5 else MODEL
        notes = [*self.notes, *self._score(past)]
        found = diagnose(steps, self.workers, self.prefetch, ask=ask, error=error, notes=notes)
        self._keep(found)
        return found

    def summary(self) -> str:
        """The diagnosis in words, with the what-if table."""
        return str(self.diagnosis())

    def __str__(self) -> str:
        return self.summary()

    def _score(self, past: Sequence[float]) -> list[str]:
        """What earlier predictions were worth, this setting's first."""
        found = []
        steps = typical(self.steps, self.workers, self.prefetch)
        if self.inside and not self._judged and len(steps) >= ENOUGH:
            seconds = sum(s.whole for s in steps) / len(steps)
            with contextlib.suppress(StorageError):
                line = self.predictions.happened(self.key, named(self.workers), seconds)
                self._judged = True
                if line:
                    past = [*past, line["error"]]
                    found.append(
                        f"Predicted earlier, from {line['made_at']}: {line['middle'] * 1e3:.3g} ms a step; "
                        f"it became {seconds * 1e3:.3g} ({line['error']:+.1%}).".replace("%", " %")
                    )
        if past:
            usual = f"{median(abs(e) for e in past):.1%}".replace("%", " %")
            found.append(f"Of {len(past)} predictions that came to be tried, the median error is {usual}.")
        return found

    def _keep(self, found: Diagnosis) -> None:
        """Write the table down, once: a full or read-only disk does not disturb the loop."""
        if not self.inside or self._predicted or len(found.table) < 2:
            return
        table = {f.name: (f.low, f.middle, f.high) for f in found.table if f.name.endswith((" worker", " workers"))}
        with contextlib.suppress(StorageError):
            self.predictions.predicted(self.key, found.setting, table)
            self._predicted = True


def watch(
    loader: Any, *, device: torch.device | str | None = None, ledger: Ledger | str | Path | None = None
) -> Watched:
    """Watch any iterable of batches: how long the loop waits for them, for want of what, and what would help.

    The batches are the loader's own, in its order. Of a torch `DataLoader` the work inside is timed too, in its workers
    as well; of anything else only the waiting can be seen.

    Args:
        loader: any iterable of batches.
        device: where to move each batch, so that the copy is timed too; they are not moved if None.
        ledger: where predictions are kept, to be judged once they are tried; see `Ledger`.

    Returns:
        An iterable; print it at any time.

    Raises:
        BadData: it cannot be iterated, or a part of it cannot be sent to its workers.

    Example:
        >>> watched = watch([1, 2, 3])
        >>> [batch for batch in watched]
        [1, 2, 3]
        >>> print(watched.summary().split(":")[0][:7])
        3 steps
    """
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise BadData(f"watch needs something to iterate over, such as a DataLoader, not {shorten(loader)}")
    return Watched(loader, device, ledger)
