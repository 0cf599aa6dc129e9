"""Which resource a waiting loop is short of: one word, and a sentence that says what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from halftime.data.watch import Step

CALM = 0.02  # share of the time below which waiting is not worth a word


def shortage(steps: Sequence[Step], total: float, workers: int, host_cores: float) -> tuple[str, str]:
    """(the resource that is short in one word, a sentence about it).

    Args:
        steps: as a `Watch` kept them.
        total: seconds of all.
        workers: of the loader.
        host_cores: cores there are.
    """
    paid, copy = math.fsum(s.paid for s in steps), math.fsum(s.copy for s in steps)
    if max(paid, copy) < CALM * total:
        return "nothing", "The loader keeps up: nothing here is worth a change of it."
    first = math.fsum(s.paid for s in steps if s.first)
    if first > paid / 2:
        return "start", (
            f"Short: the start. The first batches of epochs take {percent(first / paid)} of the waiting; "
            "keep the workers between epochs (persistent_workers=True), or make the data set lighter to send."
        )
    if copy > paid:
        return "copy", (
            f"Short: the way to the device. Copying takes {percent(copy / total)} of the time; "
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
            f"Short: nothing but patience with single samples. {percent(share)} of the waiting falls on batches "
            f"with one that takes many times the usual; the slowest is sample {name}, {seconds * 1e3:.3g} ms."
        )
    made = [s for s, v in kept if v.worker >= 0 and v.end <= s.asked]
    stood = math.fsum(s.wait - s.lined for s in made)
    if stood > waits / 2 and math.fsum(min(s.busy, s.wait - s.lined) for s in made) > stood / 2:
        return "copy", (
            f"Short: the way from the workers. {percent(stood / waits)} of the waiting is for batches that are made: "
            "they are copied to the training process; send smaller numbers (uint8), or tensors instead of arrays."
        )
    fetch = [math.fsum(v.fetch[i] for _, v in kept) for i in (0, 1)]
    collate = math.fsum(sum(v.collate) for _, v in kept)
    each = (sum(fetch) + collate) / len(kept) * 1e3
    whole = max(sum(fetch), 1e-12)
    if collate > whole:
        return (
            "collate",
            f"Short: the collate function. It takes more than fetching the samples; a batch takes {each:.3g} ms.",
        )
    if fetch[1] > fetch[0]:
        return "disk", (
            f"Short: the disk or the network. {percent(fetch[1] / whole)} of fetching is waiting for it; "
            f"a batch takes {each:.3g} ms. More workers wait side by side; a cache does not wait."
        )
    late = " Batches that are made wait for a worker's word, who is busy with the next one." * (stood > waits / 2)
    lacking = math.fsum(v.queued for _, v in kept) / max(1e-12, math.fsum(v.end - v.start for _, v in kept))
    full = f" They stood in line for a core {percent(lacking)} of the time: no further worker helps." * (lacking > 0.15)
    return "cpu", (
        f"Short: the processor. A batch takes {each:.3g} ms, {percent(fetch[0] / whole)} of fetching on a core; "
        f"{named(workers)} and the step share {host_cores:g} cores.{late}{full}"
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


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.1f} %".replace("-0.0 ", "0.0 ")


def named(workers: int) -> str:
    """A setting in words.

    >>> named(0), named(1), named(2)
    ('no workers', '1 worker', '2 workers')
    """
    return "1 worker" if workers == 1 else f"{workers or 'no'} workers"
