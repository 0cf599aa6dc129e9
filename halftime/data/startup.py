"""Starting a `DataLoader`'s workers where there is little shared memory, or something that cannot be sent to them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset

from halftime.data import adapters
from halftime.data.batch import tensors
from halftime.data.feed import random_kept
from halftime.errors import BadData, shorten

SHARED = Path("/dev/shm")
_RESET = [kind for kind in adapters.KINDS if kind.package == "nvidia"]
PLENTY = 2**30  # bytes; with so much free nobody is asked


def fit(loader: Any, folder: Path = SHARED) -> list[str]:
    """Give a loader no more workers than shared memory holds batches for; what was changed, in words.

    Args:
        loader: a `DataLoader` that is ours to change.
        folder: where shared memory is mounted.
    """
    wanted = loader.num_workers
    if not wanted or not Path("/proc").is_dir():
        return []
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if free >= PLENTY:
        return []
    each = _batch_bytes(loader) * (loader.prefetch_factor or 2)
    able = min(wanted, free // max(each, 1)) if folder.is_dir() else 0
    if able == wanted:
        return []
    loader.__dict__["num_workers"] = able
    if not able:
        loader.__dict__.update(prefetch_factor=None, persistent_workers=False, timeout=0)
    has = f"shared memory ({folder}) has {free / 2**20:.0f} MiB free" if folder.is_dir() else f"there is no {folder}"
    note = (
        f"{has}, and {wanted} workers need about {each * wanted / 2**20:.0f}: going on with {able}; "
        "raise it with `docker run --shm-size=2g` or `--ipc=host`"
    )
    warnings.warn(note, UserWarning, stacklevel=3)
    return [note]


def _batch_bytes(loader: Any) -> int:
    """Of one batch, from its first sample; 0 where there is no looking without consuming."""
    if isinstance(loader.dataset, IterableDataset):
        return 0
    with random_kept():
        sample = loader.dataset[0]
    return sum(t.numel() * t.element_size() for t in tensors(sample)) * (loader.batch_size or 1)


def begin(source: Any, loader: Any = None) -> Iterator[Any]:
    """`iter`, with one clear line for what cannot be sent to a worker.

    Args:
        source: what is iterated.
        loader: what it is the timed copy of.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got pickle error")  # said in one line of our own below
            if loader is not None and loader is not source and adapters.stateful(loader):
                return adapters.started(source, loader)
            return adapters.batches(source) if adapters.kind_of(source) in _RESET else iter(source)
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        if "pickle" not in f"{type(error).__name__} {error}".lower() or not getattr(source, "num_workers", 0):
            raise
        raise _unsendable(source, error) from error
    except Exception as error:  # the pickler's own error, whose module is not to be imported here
        if type(error).__name__ != "PicklingError":
            raise
        raise _unsendable(source, error) from error


def _unsendable(loader: Any, error: Exception) -> BadData:
    """Names the part of a loader that cannot be pickled."""
    dataset = getattr(loader.dataset, "_timed_inner", loader.dataset)
    collate = getattr(loader.collate_fn, "inner", loader.collate_fn)
    parts = {f"{type(dataset).__name__}.{name}": value for name, value in getattr(dataset, "__dict__", {}).items()}
    parts |= {"collate_fn": collate, "worker_init_fn": loader.worker_init_fn, type(dataset).__name__: dataset}
    for name, value in parts.items():
        try:
            ForkingPickler.dumps(value)
        except Exception:
            what = getattr(value, "__qualname__", "") or shorten(value)
            return BadData(
                f"{name} ({what}) cannot be sent to the DataLoader's workers: define it at the top of a module "
                "(no lambda, no function inside a function), or use num_workers=0"
            )
    return BadData(f"the DataLoader's workers cannot be started: {error}")
