"""Starting a `DataLoader`'s workers where there is little shared memory, or something that cannot be sent to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch.utils.data import IterableDataset

from halftime.data import adapters
from halftime.data.batch import tensors
from halftime.data.feed import random_kept
from halftime.data.room import fitting
from halftime.errors import BadData, shorten

_RESET = [kind for kind in adapters.KINDS if kind.package == "nvidia"]


def fit(loader: Any, free: int | None = None) -> list[str]:
    """Give a loader no more workers than shared memory holds batches for; what was changed, in words.

    Args:
        loader: a `DataLoader` that is ours to change.
        free: bytes of shared memory; looked up if None.
    """
    if not loader.num_workers:
        return []
    able, ahead, note = fitting(lambda: _batch_bytes(loader), loader.num_workers, loader.prefetch_factor or 2, free)
    if not note:
        return []
    loader.__dict__.update(num_workers=able, prefetch_factor=ahead)
    if not able:
        loader.__dict__.update(prefetch_factor=None, persistent_workers=False, timeout=0)
    warnings.warn(note, UserWarning, stacklevel=3)
    return [note]


def _batch_bytes(loader: Any) -> int:
    """Of one batch, from its first sample; 0 where there is no looking without consuming."""
    if isinstance(loader.dataset, IterableDataset):
        return 0
    untimed = getattr(loader.dataset, "_timed_inner", loader.dataset)  # or the clock of the first batch would start
    with random_kept():
        sample = untimed[0]
    return sum(t.numel() * t.element_size() for t in tensors(sample)) * _samples(loader)


def _samples(loader: Any) -> int:
    """In a batch; in the mean, where a sampler of batches says only how many these are."""
    batches = loader.batch_sampler
    if batches is None:
        return 1
    size = getattr(batches, "batch_size", None)
    if isinstance(size, int):
        return size
    return -(-len(loader.dataset) // max(1, len(batches))) if hasattr(batches, "__len__") else 1


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
