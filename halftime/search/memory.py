"""Memory: whether a recipe still fits when it needs most: large samples, evaluation and optimizer step all tried."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from halftime.data.batch import split, tensors
from halftime.data.feed import random_kept
from halftime.data.kinds import columns_of
from halftime.errors import StorageError
from halftime.measure.device import pick
from halftime.recipe import Recipe
from halftime.search.failure import failure
from halftime.train import train
from halftime.workload import Workload

STEPS = 8  # the second step already has the optimizer's buffers; the last are those of the largest size of a schedule
LOOKED = 20_000  # samples whose sizes are looked at
SPARE = 0.05  # of the machine's memory that must stay free


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether a recipe fits, why not, the peak in bytes, and what was tried."""

    fits: bool
    why: str
    peak: int
    tried: str


def fits(workload: Workload, recipe: Recipe, device: str | None = None) -> Fit:
    """Train a few steps on the largest samples that were looked at, then judge such validation samples.

    Args:
        workload: what is trained.
        recipe: with its batch size.
        device: as in `train`.

    Returns:
        Whether nothing failed and some memory stayed free.
    """
    where = pick(device)
    large, size = largest(workload.train, recipe.batch_size)
    judged, _ = largest(workload.valid, 256)
    worst = dataclasses.replace(workload, train=large, valid=judged, evaluations=1)
    seen = "" if _rows(workload.train) or len(workload.train) <= LOOKED else f" (the largest of the first {LOOKED})"
    tried = f"{STEPS} steps of batch {recipe.batch_size} with samples of up to {size} numbers{seen}, then evaluation"
    _reset(where)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = train(worst, recipe.replace(steps=STEPS), ledger=folder, device=device, quiet=True)
        except StorageError:
            raise
        except Exception as error:
            state, reason = failure(error)
            return Fit(False, f"{state}: {reason}", _peak(where), tried)
    if run.state != "finished":
        return Fit(False, f"{run.state}: {run.reason}", _peak(where), tried)
    spare, whole = _free(where)
    if whole and spare < SPARE * whole:
        return Fit(False, f"only {spare / whole:.1%} of the memory stayed free", _peak(where), tried)
    return Fit(True, "", _peak(where), tried)


def largest(dataset: Any, batch: int) -> tuple[Any, int]:
    """(a data set of the samples with the most numbers, enough for a batch; the numbers of the largest).

    Of a large data set the first samples alone are looked at, as each may be a file that has to be decoded. Where
    samples are rows of tensors they are all of one size, and the data set itself is returned.
    """
    if _rows(dataset):
        with random_kept():
            return dataset, _size(dataset[0])
    with random_kept():
        sizes = [(_size(dataset[i]), i) for i in range(min(len(dataset), LOOKED))]
    if len({size for size, _ in sizes}) == 1:
        return dataset, sizes[0][0]
    most = heapq.nlargest(batch, sizes)
    chosen = [i for _, i in most]
    return Subset(dataset, (chosen * (batch // len(chosen) + 1))[: max(batch, len(chosen))]), most[0][0]


def _rows(dataset: Any) -> bool:
    """Whether samples are rows of tensors."""
    return columns_of(dataset) is not None


def _size(sample: Any) -> int:
    inputs, _ = split(sample)
    return sum(t.numel() for t in tensors(inputs)) or 1


def _reset(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(where)
    with contextlib.suppress(OSError):  # Linux forgets the peak of this process
        Path("/proc/self/clear_refs").write_text("5")


def _peak(where: torch.device) -> int:
    """Bytes at the peak: on the device, or of this process."""
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated(where)
    return _field("/proc/self/status", "VmHWM:")


def _free(where: torch.device) -> tuple[int, int]:
    """(bytes that stayed free at the peak, bytes in all); zeros where nothing is known."""
    if where.type == "cuda":
        whole = torch.cuda.get_device_properties(where).total_memory
        return whole - torch.cuda.max_memory_reserved(where), whole
    free, whole = (_field("/proc/meminfo", name) for name in ("MemAvailable:", "MemTotal:"))
    return free - max(0, _field("/proc/self/status", "VmHWM:") - _field("/proc/self/status", "VmRSS:")), whole


def _field(path: str, name: str) -> int:
    """A line such as "VmHWM: 123 kB" of a file of Linux, in bytes; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next((line for line in Path(path).read_text().splitlines() if line.startswith(name)), "")
        return int(line.split()[1]) * 1024
    return 0
