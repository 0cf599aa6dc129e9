"""Symptom: the device waits for data. Says how much of the time, for want of what, and what each way out would bring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from halftime.data.cores import cores
from halftime.data.replay import Host, Piece, Setting, interval, seconds_per_step, warm_up
from halftime.data.watch import Step
from halftime.run import Run

ENOUGH = 20  # steps below which nothing is predicted
CALM = 0.02  # share of the time below which waiting is not worth a word
MODEL = 0.03  # the model's own error, a standard deviation of the logarithm, before it has a record
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
        lines = [
            f"{self.steps} steps in {self.seconds:.3g} s: the device waited for data {_percent(self.paid)} of the time"
            + (f", and {_percent(self.hidden)} more was hidden behind its work" if self.hidden > 0 else "")
        ]
        lines.append(self.said)
        if self.table:
            width = max(len(f.name) for f in self.table)
            head = "what if".ljust(width)
            lines += ["", f"{head}  {'ms a step':>9}  {'90 % interval':>17}  {'time saved':>10}"]
        for f in self.table:
            saved = 1 - f.middle / self.per_step
            reach = f"{f.low * 1e3:.3g} to {f.high * 1e3:.3g}"
            lines.append(f"{f.name.ljust(width)}  {f.middle * 1e3:9.3g}  {reach:>17}  {_percent(saved):>10}")
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
    cause, said = _cause(steps, total, workers, host_cores)
    table, own, more = _table(later, workers, prefetch, host_cores, ask, error, per_step)
    setting = f"{workers} workers"
    return Diagnosis(
        len(steps), total, per_step, paid, wait - paid, first, copy, cause, said, setting, table, own, (*notes, *more)
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
    own = seen / seconds_per_step(pieces, Setting(workers, prefetch), host)
    error = math.hypot(error, math.log(own) / 1.645)
    counts = ask or range(1, max(4, math.ceil(2 * host_cores)) + 1)
    asked = {f"{w} workers": Setting(w, prefetch) for w in counts}
    asked |= {
        "decoding twice as fast": Setting(workers, prefetch, decode=0.5),
        "samples cached": Setting(workers, prefetch, decode=0.0),
        "infinitely fast loader": Setting(workers, prefetch, endless=True),
    }
    table = [Forecast(name, *interval(pieces, setting, host, error)) for name, setting in asked.items()]
    note = f"The model says {seen / own * 1e3:.3g} ms for the {workers} workers there are; measured {seen * 1e3:.3g}."
    return tuple(table), own, [note]


def pieces_of(steps: Sequence[Step], workers: int, host_cores: float) -> tuple[list[Piece], Host]:
    """Recorded steps as work for the model, what they waited for a core taken out; and the machine."""
    made = [s for s in steps if s.service]
    hand, latency = _receiving(made) if workers else (UNKNOWN_HAND, 0.0)
    pieces, breadths = [], []
    for s in made:
        fetch, collate = s.service.fetch, s.service.collate  # type: ignore[union-attr]
        there = s.step - min(s.queued, s.step)
        on_core = min(s.cpu, there)
        breadths.append(s.cpu / there if there > 0 else 1.0)
        own_hand = max(s.wait, hand) if workers and s.service.end <= s.asked else hand  # type: ignore[union-attr]
        pieces.append(
            Piece(
                fetch[0], fetch[1], collate[0] + s.service.beside, collate[1],  # type: ignore[union-attr]
                min(own_hand, 4 * hand), on_core, there - on_core + s.copy, s.device,
            )  # fmt: skip
        )
    return pieces, Host(host_cores, min(max(1.0, median(breadths)), max(1.0, host_cores)), latency)


def _receiving(steps: Sequence[Step]) -> tuple[float, float]:
    """Seconds that receiving a batch takes, and those from its end to its arrival at one who waits for it.

    Batches that overtook the one waited for were received within its wait, and look free: so the upper fifth counts.
    """
    ready = sorted(s.wait for s in steps if s.service and s.service.end <= s.asked)
    late = sorted(s.asked + s.wait - s.service.end for s in steps if s.service and s.service.end > s.asked)
    if len(ready) < 5:
        return late[len(late) // 4], 0.0
    hand = ready[len(ready) * 4 // 5]
    return hand, max(0.0, median(late) - hand) if late else 0.0


def _cause(steps: Sequence[Step], total: float, workers: int, host_cores: float) -> tuple[str, str]:
    """(the resource that is short in one word, a sentence about it)."""
    paid, copy = math.fsum(s.paid for s in steps), math.fsum(s.copy for s in steps)
    if max(paid, copy) < CALM * total:
        return "nothing", "The loader keeps up: nothing here is worth a change of it."
    first = math.fsum(s.paid for s in steps if s.first)
    if first > paid / 2:
        return "start", (
            f"Short: the start. The first batches of epochs take {_percent(first / paid)} of the waiting; "
            "keep the workers between epochs (persistent_workers=True), or make the data set lighter to send."
        )
    if copy > paid:
        return "copy", (
            f"Short: the way to the device. Copying takes {_percent(copy / total)} of the time; "
            "send smaller numbers (uint8, converted there) and pin memory."
        )
    if memory_short():
        return "memory", "Short: memory. The machine has next to none left, and swaps or drops what it had read."
    if any(s.service is None for s in steps):
        return "loader", "Short: the loader. What inside of it is slow cannot be seen from outside."
    return _inside([s for s in steps if s.service], workers, host_cores)


def _inside(steps: Sequence[Step], workers: int, host_cores: float) -> tuple[str, str]:
    """The cause within the loader."""
    kept = [(s, s.service) for s in steps if s.service]
    waits = math.fsum(s.wait for s, _ in kept)
    slow = slow_sample(steps)
    if slow:
        name, seconds, share = slow
        return "sample", (
            f"Short: nothing but patience with single samples. {_percent(share)} of the waiting falls on batches with one "
            f"that takes many times the usual; the slowest is sample {name}, {seconds * 1e3:.3g} ms."
        )
    stood = math.fsum(s.wait for s, v in kept if v.worker >= 0 and v.end <= s.asked)
    if stood > waits / 2:
        return "copy", (
            f"Short: the way from the workers. {_percent(stood / waits)} of the waiting is for batches that are made: "
            "they are copied to the training process; send smaller numbers (uint8), or tensors instead of arrays."
        )
    fetch = [math.fsum(v.fetch[i] for _, v in kept) for i in (0, 1)]
    collate = math.fsum(sum(v.collate) for _, v in kept)
    each = (sum(fetch) + collate) / len(kept) * 1e3
    if collate > sum(fetch):
        return "collate", f"Short: the collate function. It takes more than fetching the samples; a batch takes {each:.3g} ms."
    if fetch[1] > fetch[0]:
        return "disk", (
            f"Short: the disk or the network. {_percent(fetch[1] / sum(fetch))} of fetching is waiting for it; "
            f"a batch takes {each:.3g} ms. More workers wait side by side; a cache does not wait."
        )
    lacking = math.fsum(v.queued for _, v in kept) / max(1e-12, math.fsum(v.end - v.start for _, v in kept))
    full = f" They stood in line for a core {_percent(lacking)} of the time: no further worker helps." * (lacking > 0.15)
    return "cpu", (
        f"Short: the processor. A batch takes {each:.3g} ms, {_percent(fetch[0] / sum(fetch))} of fetching on a core; "
        f"{workers or 'no'} workers and the step share {host_cores:g} cores.{full}"
    )


def slow_sample(steps: Sequence[Step]) -> tuple[str, float, float] | None:
    """(name, seconds, share of the waiting) of the slowest sample, if single samples are what is waited for."""
    kept = [(s, s.service) for s in steps if s.service and s.service.samples]
    usual = median([(v.fetched - v.start) / v.samples for _, v in kept]) if kept else 0.0
    odd = [(s, v) for s, v in kept if v.slowest > 8 * usual and v.slowest > 0.5 * (v.fetched - v.start)]
    waits = math.fsum(s.wait for s, _ in kept if not s.first)
    share = math.fsum(s.wait for s, _ in odd if not s.first) / waits if waits else 0.0
    if share < 0.5 or len(odd) > len(kept) / 2:
        return None
    worst, service = max(odd, key=lambda one: one[1].slowest)
    return worst.slowest, service.slowest, share


def memory_short(info: Path = Path("/proc/meminfo")) -> bool:
    """Whether less than a fiftieth of the machine's memory is left."""
    try:
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        left, there = (int(fields[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError, IndexError):
        return False
    return left < there / 50


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-0.0 ", "0.0 ")


def of_run(run: Run, ask: Sequence[int] = (), on_core: float = 1.0) -> Diagnosis | None:
    """A diagnosis of a run from its record, or None where it holds no waits.

    Args:
        run: one whose record holds the series "wait" and "step".
        ask: worker counts to predict.
        on_core: share of making a batch that needs a core; the rest is waiting for a disk.
    """
    steps = steps_of(run, on_core)
    return diagnose(steps, ask=ask) if steps else None


def steps_of(run: Run, on_core: float = 1.0) -> list[Step]:
    """Steps from a run's record. Served in turn, waiting is making; whoever serves ahead is seen from outside only."""
    from halftime.data.service import Service

    waits, wholes = dict(run.series("wait")), dict(run.series("step"))
    ahead = any(type(method).__name__ == "FastLoader" for method in run.recipe.methods)
    found, now = [], 0.0
    for step in sorted(waits.keys() & wholes.keys()):
        wait, whole = waits[step] or 0.0, wholes[step] or 0.0
        cpu = wait * on_core
        made = None if ahead else Service(-1, now, now + wait, now + wait, cpu, cpu, 0, 0, 0, 0, 0)
        rest = max(0.0, whole - wait)
        found.append(Step(now, wait, wait, 0.0, rest, rest, 0.0, 0.0, False, made, ""))
        now += whole
    return found
