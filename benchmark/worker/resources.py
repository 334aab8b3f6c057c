"""What a process has used: peak memory on the machine and on its GPU, and the energy that the GPU has drawn."""

import resource
import sys
from pathlib import Path
from typing import Any


def peak_memory_bytes() -> int:
    """The highest resident memory of this process so far.

    On Linux this is the kernel's VmHWM; getrusage's figure, taken elsewhere, would include that of the parent there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_memory_bytes(device: str) -> int | None:
    """The highest memory that torch has allocated on the GPU; None on a CPU, and where another library computes."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated() or None


class EnergyCounter:
    """The energy counter of the GPU that torch uses: all that runs on it counts, not this process alone.

    It needs pynvml (the extra `gpu`) and a GPU that counts (NVIDIA's since Volta).
    """

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        if not device.startswith("cuda"):
            return
        try:
            import pynvml
            import torch

            self._nvml: Any = pynvml
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties().uuid}")
        except Exception:  # no package, no driver or no such GPU: in each case no energy is reported
            self._handle = None

    def joules(self) -> float | None:
        """Joules since the driver was loaded; None where nothing counts them."""
        if self._handle is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000.0
        except self._nvml.NVMLError:
            return None
