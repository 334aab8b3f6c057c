"""The most memory that this process ever held: of the machine, and of its device."""

import resource
import sys
from pathlib import Path


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
