"""Conditions of the audio: here only speech as the corpus has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmark.results import ConditionUsed
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError


@dataclass(frozen=True)
class Condition:
    used: ConditionUsed

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        return list(corpus)

    def apply(self, waveform: Tensor, id: str) -> Tensor:
        return waveform


def parse_conditions(text: str, *, seed: int, noise: Path | None, rooms: Path | None) -> list[Condition]:
    if text not in ("clean", "default", "all"):
        raise UsageError(f"--conditions: {text!r} is no condition; expected clean: choose it")
    return [Condition(ConditionUsed("clean", "as the corpus has it"))]
