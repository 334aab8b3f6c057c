"""Which arithmetic `mixed_precision: auto` means: the fastest that loses nothing, by what the device can do.

On a GPU bfloat16 where it has it, else float16 with a scaler. On a CPU bfloat16 where its matrix units are twice as
fast at it: Intel's AMX tiles, and AMD's since Zen 4. Intel's AVX-512 alone knows bfloat16 too, but multiplies it no
faster than float32 (half as fast as measured, 2026-11-23), so that float32 is taken there. LSTM and Whisper stay at
float32 on every CPU. The choice is made from what the processor says of itself, not from a trial, so that it is the
same in every process and at every resume; a run that was begun keeps its own, whatever machine it goes on on.
"""

from pathlib import Path
from typing import Literal

import torch
import yaml

from finetune.config import TrainConfig

Precision = Literal["no", "bf16", "fp16"]


def resolve(config: TrainConfig, begun: bool) -> Precision:
    """The arithmetic of a run; begun: its output folder holds one to resume."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    earlier = _earlier(config.output_dir) if begun else None
    if earlier is not None:
        return earlier
    if torch.accelerator.is_available():
        return "bf16" if not torch.cuda.is_available() or torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if config.model.family == "wav2vec2" and bfloat16_pays_on_cpu() else "no"


def bfloat16_pays_on_cpu(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies matrices of bfloat16 faster than of float32; False where it does not tell."""
    try:
        content = cpu_info.read_text(encoding="utf-8")
    except OSError:
        return False
    told: dict[str, str] = {}
    for line in content.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        told[key.strip()] = value.strip()
    flags = told.get("flags", "").split()
    return "amx_bf16" in flags or (told.get("vendor_id") == "AuthenticAMD" and "avx512_bf16" in flags)


def _earlier(folder: Path) -> Precision | None:
    try:
        told = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["mixed_precision"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return told if told in ("no", "bf16", "fp16") else None
