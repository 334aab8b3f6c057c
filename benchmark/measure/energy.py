"""What a GPU has consumed, by its own counter (NVML), where pynvml is installed and the GPU counts."""

from importlib import import_module
from typing import Any


class EnergyCounter:
    """Joules of the device that torch uses. Counts all that runs on it, not this process alone."""

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        if not device.startswith("cuda"):
            return
        try:
            import torch

            self._nvml: Any = import_module("pynvml")
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties().uuid}")
        except Exception:  # no such package, no such driver or no such counter: all mean that nothing is known
            self._handle = None

    def joules(self) -> float | None:
        """Since the driver was loaded; None where nothing counts."""
        if self._handle is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000.0
        except self._nvml.NVMLError:
            return None
