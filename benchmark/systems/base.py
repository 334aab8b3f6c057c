"""What a benchmark asks of a recogniser: three stages after decoding, each timed apart, and what it says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.results import SystemFacts
from finetune.decoding.beam import BeamSettings
from finetune.training.precision import bfloat16_pays_on_cpu
from preprocessing.cli.errors import UsageError

WITH_LM = "+lm"  # ends a family that decodes with a language model


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """A system as named on the command line, resolved but not loaded."""

    name: str  # how the report calls it
    family: str  # a key of `systems.FAMILIES`, or package.module:Class
    checkpoint: str
    notice: str | None = None  # set where a demo checkpoint stands in


@dataclass(frozen=True, slots=True)
class LanguageModelOptions:
    """An ARPA file, and how a family ending in +lm weighs it."""

    path: Path
    search: BeamSettings = field(default_factory=BeamSettings)

    def told(self) -> str:
        """For the report."""
        return (
            f"beam of {self.search.beam_width} with {self.path.name}: weight {self.search.alpha:g}, word bonus "
            f"{self.search.beta:g}, unknown words {self.search.unk_score_offset:g}"
        )


@dataclass(frozen=True, slots=True)
class LoadOptions:
    device: str  # "cpu" or "cuda"
    language: str | None  # of the speech; None: the model decides
    denoise: bool = False  # waveforms have been through noise removal before a system is given them
    precision: str = "auto"  # "auto", "float32", "bfloat16" or "float16", where a system can choose
    language_model: LanguageModelOptions | None = None  # for families ending in +lm


class System(ABC):
    """A loaded recogniser. Its constructor takes (SystemSpec, LoadOptions) and loads.

    batched: whether it is given several waveforms at once; otherwise one at a time, in a list of one.
    longest_in_batch_seconds: a longer recording comes alone.
    """

    facts: SystemFacts
    batched: bool = False
    longest_in_batch_seconds: float = 30.0

    @abstractmethod
    def features(self, waveforms: Sequence[Tensor]) -> Any:
        """What the model eats, on its device, from waveforms [samples] under the waveform contract."""

    @abstractmethod
    def forward(self, features: Any) -> Any:
        """The model's raw outcome; whatever remains is cheap text work."""

    @abstractmethod
    def text(self, outcome: Any) -> list[str]:
        """The raw hypotheses, one a waveform, in their order."""


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
