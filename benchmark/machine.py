"""The machine that figures were measured on, in words."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil


def describe_machine(device: str) -> dict[str, str]:
    import torch

    facts = {
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "transformers": version("transformers"),
        "openai-whisper": version("openai-whisper"),
    }
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
