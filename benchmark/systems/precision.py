"""Which floating-point numbers a model computes with: what was asked for, or the fastest that keeps its words.

bfloat16 has float32's range and 8 bits of mantissa; the words of a model in it are to be checked against float32's
(`python -m benchmark.peers.inference` does). CPUs know bfloat16 products as AMX or AVX512_BF16, and some of those that
list the latter are slower with it than with float32: a short trial decides, not the list.
"""

import time
from dataclasses import dataclass

import torch

from preprocessing.errors import UsageError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WORTH_IT = 1.2  # times float32's speed in the trial: below it rounding buys nothing
TRIAL_ROWS, TRIAL_IN, TRIAL_OUT = 300, 768, 3072  # wav2vec2-base's largest products over 6 s


@dataclass(frozen=True, slots=True)
class Precision:
    """dtype: of weights and activations below the output layer; told: it and the reason, for the report."""

    dtype: torch.dtype
    told: str


def choose(asked: str, device: str) -> Precision:
    """asked: "auto" or a key of PRECISIONS; device: "cpu" or "cuda". Raises UsageError on any other, and on float16 on
    a CPU, where half of transformers' operations lack it.
    """
    if asked == "auto":
        return _on_gpu() if device == "cuda" else _on_cpu()
    if asked not in PRECISIONS:
        raise UsageError(f"precision is {asked!r}; expected auto, {', '.join(PRECISIONS)}: choose one of them")
    if asked == "float16" and device == "cpu":
        raise UsageError("precision is float16 on a CPU; expected float32 or bfloat16 there: choose one of them")
    return Precision(PRECISIONS[asked], asked)


def _on_gpu() -> Precision:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision(torch.bfloat16, "bfloat16, output layer in float32")
    return Precision(torch.float32, "float32 (this GPU has no bfloat16)")


def _on_cpu() -> Precision:
    if not cpu_lists_bfloat16():
        return Precision(torch.float32, "float32 (this CPU has no bfloat16 products)")
    speed_up = bfloat16_speed_up()
    told = f"bfloat16 has {speed_up:.1f} times float32's speed on this CPU"
    if speed_up < WORTH_IT:
        return Precision(torch.float32, f"float32 ({told})")
    return Precision(torch.bfloat16, f"bfloat16, output layer in float32 ({told})")


def cpu_lists_bfloat16() -> bool:
    """Whether torch finds AMX or AVX512_BF16."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


@torch.inference_mode()
def bfloat16_speed_up() -> float:
    """Float32's time for a matrix product over bfloat16's, each the fastest of some; takes some tens of ms."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(TRIAL_ROWS, TRIAL_IN, generator=generator)
    weights = torch.randn(TRIAL_OUT, TRIAL_IN, generator=generator)
    fastest = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, columns = frames.to(dtype), weights.to(dtype)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            torch.nn.functional.linear(rows, columns)
            times.append(time.perf_counter() - began)
        fastest[dtype] = min(times)
    return fastest[torch.float32] / fastest[torch.bfloat16]
