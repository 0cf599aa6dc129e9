"""Symptom: the device waits for data. Says how much of the time, for want of what, and what would help how much."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from halftime.data.limits import cores
from halftime.data.receiving import received
from halftime.data.replay import Host, Piece, Setting, interval, seconds_per_step, warm_up
from halftime.data.service import Service
from halftime.data.watch import Step
from halftime.diagnose.shortage import named, percent, shortage
from halftime.run import Run

ENOUGH = 20  # steps below which nothing is predicted
MODEL = 0.05  # the model's own error, a standard deviation of the logarithm, before it has a record
UNTOLD = "The record does not tell work on a core from waiting for a disk: all of it is taken for work."
UNSEEN = "Nothing has been watched yet: iterate over the loader first."
LEAST = 0.9  # of the cores, at worst: what is missing beyond that has another reason, and is no rule for more workers
SHARING = 0.95  # of the cores, left to work where more want one than there are; fitted where the record tells
UNKNOWN_HAND = 0.0007  # seconds to receive a batch from a worker, where none was seen


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Seconds a step under another setting, with a 90 % interval."""

    name: str
    low: float
    middle: float
    high: float


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What a watched loop waited for. Shares are of all its time; `cause` is one word, `said` a sentence about it."""

    steps: int
    seconds: float  # of all
    per_step: float  # first steps of epochs left out
    paid: float
    hidden: float
    first: float  # part of `paid`: first batches of epochs
    copy: float
    cause: str
    said: str
    setting: str  # what it was recorded at
    table: tuple[Forecast, ...]
    own: float  # observed / replayed seconds a step at the recorded setting: what the model misses here
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = []
        if self.steps:
            hidden = f", and {percent(self.hidden)} more was hidden behind its work" if self.hidden > 0 else ""
            waited = f"the device waited for data {percent(self.paid)} of the time{hidden}"
            lines.append(f"{self.steps} steps in {self.seconds:.3g} s: {waited}")
        lines.append(self.said)
        if self.table:
            width = max(len(f.name) for f in self.table)
            head = "what if".ljust(width)
            lines += ["", f"{head}  {'ms a step':>9}  {'90 % interval':>17}  {'time saved':>10}"]
        for f in self.table:
            saved = 1 - f.middle / self.per_step
            reach = f"{f.low * 1e3:.3g} to {f.high * 1e3:.3g}"
            lines.append(f"{f.name.ljust(width)}  {f.middle * 1e3:9.3g}  {reach:>17}  {percent(saved):>10}")
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return dataclasses.asdict(self)


def diagnose(
    steps: Sequence[Step],
    workers: int = 0,
    prefetch: int = 2,
    *,
    host_cores: float | None = None,
    ask: Sequence[int] = (),
    error: float = MODEL,
    notes: Sequence[str] = (),
) -> Diagnosis:
    """A diagnosis of recorded steps.

    Args:
        steps: as a `Watch` kept them.
        workers: of the loader they were recorded with.
        prefetch: batches that each worker kept ahead.
        host_cores: cores there are; those this process may use if None.
        ask: worker counts to predict; 1 to twice the cores, at least 4, if empty.
        error: of the model, a standard deviation of the logarithm.
        notes: lines to add.
    """
    total = math.fsum(s.whole for s in steps) or 1e-12
    paid, wait = math.fsum(s.paid for s in steps) / total, math.fsum(s.wait for s in steps) / total
    first = math.fsum(s.paid for s in steps if s.first) / total
    copy = math.fsum(s.copy for s in steps) / total
    later = typical(steps, workers, prefetch)
    per_step = math.fsum(s.whole for s in later) / max(1, len(later))
    host_cores = cores() if host_cores is None else host_cores
    cause, said = shortage(steps, total, workers, host_cores) if steps else ("nothing", UNSEEN)
    table, own, more = _table(later, workers, prefetch, host_cores, ask, error, per_step)
    return Diagnosis(
        len(steps),
        total if steps else 0.0,
        per_step,
        paid,
        wait - paid,
        first,
        copy,
        cause,
        said,
        named(workers),
        table,
        own,
        (*notes, *more),
    )


def typical(steps: Sequence[Step], workers: int, prefetch: int) -> list[Step]:
    """Steps without those at the start of each epoch, where the loader gets going."""
    found: list[Step] = []
    for epoch in _epochs(steps):
        found += epoch[warm_up(len(epoch), workers, prefetch) :]
    return found


def _epochs(steps: Sequence[Step]) -> list[list[Step]]:
    epochs: list[list[Step]] = []
    for s in steps:
        if s.first or not epochs:
            epochs.append([])
        epochs[-1].append(s)
    return epochs


def _table(
    steps: Sequence[Step], workers: int, prefetch: int, host_cores: float, ask: Sequence[int], error: float, seen: float
) -> tuple[tuple[Forecast, ...], float, list[str]]:
    """(forecasts, what the model misses at the recorded setting, lines about it)."""
    if len(steps) < ENOUGH:
        return (), 1.0, [f"No what-if table yet: it needs {ENOUGH} steps."]
    if any(s.service is None for s in steps):
        endless = seen - math.fsum(s.paid for s in steps) / len(steps)
        wide = math.exp(1.645 * error)
        note = "How long the loader works on a batch cannot be seen from outside: no table of workers."
        return (Forecast("infinitely fast loader", endless / wide, endless, endless * wide),), 1.0, [note]
    pieces, host = pieces_of(steps, workers, host_cores)
    host = _fitted(pieces, host, Setting(workers, prefetch), seen)
    own = seen / seconds_per_step(pieces, Setting(workers, prefetch), host)
    error = math.hypot(error, math.log(own) / 1.645)
    counts = ask or range(1, max(4, math.ceil(2 * host_cores)) + 1)
    asked = {named(w): Setting(w, prefetch) for w in counts}
    asked |= {
        "decoding twice as fast": Setting(workers, prefetch, decode=0.5),
        "samples cached": Setting(workers, prefetch, decode=0.0),
        "infinitely fast loader": Setting(workers, prefetch, endless=True),
    }
    table = [
        Forecast(name, *interval(pieces, setting, host, math.hypot(error, _untold(pieces, setting, host, workers))))
        for name, setting in asked.items()
    ]
    note = f"At {named(workers)}, as recorded, the model says {seen / own * 1e3:.3g} ms; measured {seen * 1e3:.3g}."
    return tuple(table), own, [note]


def _untold(pieces: Sequence[Piece], setting: Setting, host: Host, recorded: int) -> float:
    """What the record does not tell about another number of workers, a standard deviation of the logarithm.

    A worker may send a batch beside making the next one, or in turn; and putting samples together costs a worker more
    than the training process, since it fills shared memory. The truth lies between what is replayed and its best case.
    """
    if setting.endless or setting.workers == recorded:
        return 0.0
    lighter = {"beside": 0.0} if setting.workers else {"collate_cpu": 0.0, "collate_blocked": 0.0}
    best = seconds_per_step([piece._replace(**lighter) for piece in pieces], setting, host)
    return abs(math.log(seconds_per_step(pieces, setting, host) / max(best, 1e-12))) / 2


def pieces_of(steps: Sequence[Step], workers: int, host_cores: float) -> tuple[list[Piece], Host]:
    """Recorded steps as work for the model, what they waited for a core taken out; and the machine."""
    made = [(s, s.service) for s in steps if s.service]
    hand, answer, busy = received([s for s, _ in made]) if workers else (UNKNOWN_HAND, 0.0, 0.0)
    pieces, breadths = [], []
    for s, v in made:
        there = s.step - min(s.queued, s.step)
        on_core = min(s.cpu, there)
        breadths.append(s.cpu / there if there > 0 else 1.0)
        step = (on_core, there - on_core + s.copy, s.device)
        pieces.append(Piece(*v.fetch, *v.collate, hand, *step, v.beside))
    return pieces, Host(host_cores, min(max(1.0, median(breadths)), max(1.0, host_cores)), answer, busy, SHARING)


def _fitted(pieces: Sequence[Piece], host: Host, setting: Setting, seen: float) -> Host:
    """The machine with the loss of sharing its cores that makes the model say what was seen, where it depends on it."""
    low, high = (dataclasses.replace(host, sharing=share) for share in (LEAST, 1.0))
    slow, fast = (seconds_per_step(pieces, setting, h) for h in (low, high))
    if slow < 1.02 * fast:
        return host
    share = min(1.0, max(LEAST, LEAST + (1 - LEAST) * (1 / seen - 1 / slow) / (1 / fast - 1 / slow)))
    return dataclasses.replace(host, sharing=share)


def of_run(run: Run, ask: Sequence[int] = (), on_core: float | None = None) -> Diagnosis | None:
    """A diagnosis of a run from its record, or None where it holds no waits.

    Args:
        run: one whose record holds the series "wait" and "step".
        ask: worker counts to predict.
        on_core: share of making a batch that needs a core; the rest is waiting for a disk. All of it if None.
    """
    steps = steps_of(run, 1.0 if on_core is None else on_core)
    notes = [] if on_core is not None else [UNTOLD]
    return diagnose(steps, ask=ask, notes=notes) if steps else None


def steps_of(run: Run, on_core: float = 1.0) -> list[Step]:
    """Steps from a run's record. Served in turn, waiting is making; whoever serves ahead is seen from outside only."""
    waits, wholes = dict(run.series("wait")), dict(run.series("step"))
    ahead = bool(list(run.series("queue")))
    found: list[Step] = []
    now = 0.0
    for step in sorted(waits.keys() & wholes.keys()):
        wait, whole = waits[step] or 0.0, wholes[step] or 0.0
        cpu = wait * on_core
        made = None if ahead else Service(-1, now, now + wait, now + wait, cpu, cpu, 0, 0, 0, 0, 0)
        rest = max(0.0, whole - wait)
        found.append(Step(now, wait, wait, 0.0, 0.0, rest, rest, 0.0, 0.0, not found, made, ""))
        now += whole
    return found
