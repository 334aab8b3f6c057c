"""`python -m finetune.transcribe` called in this process, and a system whose texts are known."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.facts import SystemFacts
from finetune.transcribe import main
from preprocessing.audio import SAMPLE_RATE
from tests.conftest import DEMO

ECHO = f"{__name__}:Echo"
AUDIO = DEMO / "corpus" / "audio"
NAMES = ("test-0000", "test-0001", "test-0002")
WAV2VEC2 = str(DEMO / "wav2vec2")


class Echo(System):
    """Says how many samples it was given, and fails on a quarter of a second exactly."""

    batched = True
    longest_piece_seconds = 2.0
    batches: "list[list[int]]" = []  # noqa: RUF012  (of all instances)

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, parameters=0)

    def features(self, waveforms: Sequence[Tensor]) -> list[int]:
        lengths = [len(waveform) for waveform in waveforms]
        self.batches.append(lengths)
        if SAMPLE_RATE // 4 in lengths:
            raise RuntimeError("a quarter of a second")
        return lengths

    def forward(self, features: list[int]) -> list[int]:
        return features

    def text(self, outcome: list[int]) -> list[str]:
        return [f"samples {n}" for n in outcome]


def run(*words: object) -> None:
    main([str(word) for word in words])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
