"""Which floating-point numbers a model computes with: what was asked for, or the fastest that keeps its words.

On a GPU float16 and bfloat16 are equally fast. float16 has 11 bits of mantissa to bfloat16's 8, so that words should
change less (`python -m benchmark.peers.inference` counts them); its range is smaller, and a system refuses what leaves
it. On a CPU the rule is that of training (`finetune.precision`).
"""

from dataclasses import dataclass

import torch

from finetune.precision import bfloat16_pays_on_cpu
from preprocessing.errors import UsageError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    if torch.cuda.get_device_capability() >= (7, 0):
        return Precision(torch.float16, "float16, output layer in float32")
    return Precision(torch.float32, "float32 (this GPU multiplies float16 no faster)")


def _on_cpu() -> Precision:
    if bfloat16_pays_on_cpu():
        return Precision(torch.bfloat16, "bfloat16, output layer in float32")
    return Precision(torch.float32, "float32 (this CPU multiplies bfloat16 no faster)")
