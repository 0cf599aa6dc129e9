"""Failure: what a training that raised comes to, as a state and a reason for the record."""

from __future__ import annotations

import gc

import torch

from halftime.errors import InputError


def failure(error: Exception) -> tuple[str, str]:
    """(state, reason) of a training that raised; memory is freed."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text
    if memory:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "out of memory", text
    return ("refused", text) if isinstance(error, InputError) else ("crashed", f"{type(error).__name__}: {text}")
