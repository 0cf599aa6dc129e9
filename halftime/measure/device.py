"""The device a run computes on."""

from __future__ import annotations

import torch

from halftime.errors import BadValue, shorten


def pick(name: str | None = None) -> torch.device:
    """The device of that name, or the fastest there is.

    Args:
        name: "cpu", "cuda", "cuda:1", "mps", or None.

    Raises:
        BadValue: no such device here.
    """
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *here]
    if name is not None and name not in here:
        raise BadValue(f"there is no device {shorten(name)} here; there is: {', '.join(here)}")
    return torch.device(name or here[0])


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
