"""What a benchmark asks of a recogniser: three stages after decoding, each timed apart, and what it says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.results import SystemFacts
from finetune.ctc.beam import BeamSettings

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
            f"beam of {self.search.width} with {self.path.name}: weight {self.search.weight:g}, word bonus "
            f"{self.search.bonus:g}, unknown words {self.search.unknown:g}"
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
