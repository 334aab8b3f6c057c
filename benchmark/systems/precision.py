"""Which floating-point numbers a model computes with: what was asked for, or the fastest that keeps its words.

bfloat16 has float32's range and 8 bits of mantissa; the words of a model in it are to be checked against float32's
(`python -m benchmark.peers.inference` does). On a CPU the rule is that of training (`finetune.precision`).
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
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision(torch.bfloat16, "bfloat16, output layer in float32")
    return Precision(torch.float32, "float32 (this GPU has no bfloat16)")


def _on_cpu() -> Precision:
    if bfloat16_pays_on_cpu():
        return Precision(torch.bfloat16, "bfloat16, output layer in float32")
    return Precision(torch.float32, "float32 (this CPU multiplies bfloat16 no faster)")
