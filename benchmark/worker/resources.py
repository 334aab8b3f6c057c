"""What a process has used: the most memory it held, on the machine and on its device, and the energy of a GPU."""

import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def peak_memory_bytes() -> int:
    """Highest resident memory of this process. On Linux the kernel's VmHWM, which a parent's memory is not part of."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_memory_bytes(device: str) -> int | None:
    """Of the device, as torch allocated it; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated()


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
