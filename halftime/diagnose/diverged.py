"""Symptom: the loss is no longer a number. Says at which step, at which learning rate, and why it is likely."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from halftime.data.batch import tensors
from halftime.run import series


def explain(step: int, folder: Path, batch: Any, low_precision: bool) -> str:
    """One line on a loss that became NaN or infinite.

    Args:
        step: the first step whose loss is not finite, from 1.
        folder: of the run, whose record holds the losses and the learning rates.
        batch: what that step was fed.
        low_precision: whether the network ran in 16 bits.
    """
    lr = dict(series(folder, "lr"))[step] or 0.0
    losses = [value for s, value in series(folder, "loss") if s < step and value is not None]
    where = f"the loss is not a number since step {step} (learning rate {lr:.3g})"
    if not all(bool(t.isfinite().all()) for t in tensors(batch) if t.is_floating_point()):
        return f"{where}: the batch itself holds NaN or infinity; clean the data or guard the transform"
    earlier = sorted(losses[:-5])
    usual = earlier[len(earlier) // 2] if earlier else math.inf
    if losses and losses[-1] > 3 * usual:
        grown = f"it had grown from {usual:.3g} to {losses[-1]:.3g}"
        return f"{where}: {grown}: the learning rate is likely too high, try {lr / 3:.2g}"
    if low_precision:
        return f"{where}: likely an overflow in 16 bits; try MixedPrecision(dtype='bf16'), or leave it out"
    if step <= 5:
        return f"{where}: from the start: likely too high a rate (try {lr / 10:.2g}) or a bad initialisation"
    return (
        f"{where}: likely a log, a division or a square root of zero in the loss, or too high a rate (try {lr / 3:.2g})"
    )
