"""The arithmetic of `mixed_precision: auto`: the fastest of the device that loses no accuracy.

On a GPU: bfloat16 if it has it, else float16 with a gradient scaler. On a CPU: bfloat16 if its matrix units are twice
as fast at it (Intel's AMX tiles; AMD since Zen 4), else float32: Intel's AVX-512 has bfloat16 too, but multiplies it
no faster than float32 (half as fast as measured, 2026-11-23). LSTM uses float32 on every CPU. The choice depends on the
processor's description, not on a trial, so that it is the same in every process; a resumed run keeps its own.
"""

from pathlib import Path
from typing import Literal

import torch
import yaml

from finetune.config import TrainConfig

Precision = Literal["no", "bf16", "fp16"]


def resolve(config: TrainConfig, begun: bool) -> Precision:
    """The arithmetic of a run. begun: its output_dir holds a run to resume, whose arithmetic is kept."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    resumed = _of_run(config.output_dir) if begun else None
    if resumed is not None:
        return resumed
    if torch.accelerator.is_available():
        return "bf16" if not torch.cuda.is_available() or torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if not config.model.traits.is_recurrent and bfloat16_pays_on_cpu() else "no"


def bfloat16_pays_on_cpu(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 matrices faster than float32 ones; False if `cpu_info` is unclear."""
    try:
        content = cpu_info.read_text(encoding="utf-8")
    except OSError:
        return False
    properties: dict[str, str] = {}  # of the first core
    for line in content.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        properties[key.strip()] = value.strip()
    flags = properties.get("flags", "").split()
    return "amx_bf16" in flags or (properties.get("vendor_id") == "AuthenticAMD" and "avx512_bf16" in flags)


def lstm_computes_bfloat16_on_cpu() -> bool:
    """Whether oneDNN's LSTM takes bfloat16 on this processor: with AVX-512 and later, not with AVX2 alone."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _of_run(folder: Path) -> Precision | None:
    """The arithmetic in the config.yaml of a run; None if it names none."""
    try:
        precision = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["mixed_precision"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return precision if precision in ("no", "bf16", "fp16") else None
