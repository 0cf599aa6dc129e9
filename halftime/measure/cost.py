"""What a run costs: seconds for which devices are held, and energy where the device counts it."""

from __future__ import annotations

import contextlib

import torch


class Energy:
    """Joules that a CUDA device used since this was made, by its own counter; elsewhere nothing is known.

    Args:
        device: the one that trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._handle = None
        if device.type == "cuda":
            import pynvml

            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                uuid = str(torch.cuda.get_device_properties(device).uuid)
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
                self._start = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    @property
    def joules(self) -> float | None:
        """Joules so far, or None where no counter was found."""
        if self._handle is None:
            return None
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):
            now = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)  # millijoules
            return float(now - self._start) / 1000.0
        return None
