"""Systems that a benchmark must survive, and plain ones that say what a test wants to know; `--models` names them."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.results import SystemFacts
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.transcript import Transcript, Word
from preprocessing import audio
from tests.conftest import write_manifest

RATE = 16_000
GUILTY = 24_000  # samples of the utterance that some systems cannot bear


def corpus(folder: Path, count: int) -> Path:
    """A manifest of so many noises, 1.0 s, 1.1 s, ... long; the sixth is the guilty one."""
    rows = []
    for place in range(count):
        path = folder / f"{place}.wav"
        n_samples = RATE + place * RATE // 10
        audio.save(path, 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(place)))
        rows.append({"id": f"u{place}", "audio": str(path), "text": f"the words {place}", "duration": n_samples / RATE})
    return write_manifest(folder / "corpus.jsonl", rows)


class Length(System):
    """Says how many samples it was given; in batches."""

    batched = True

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, 0)

    def features(self, waveforms: Sequence[Tensor]) -> Any:
        return [len(waveform) for waveform in waveforms]

    def forward(self, features: Any) -> Any:
        return features

    def text(self, outcome: Any) -> list[str]:
        return [str(length) for length in outcome]


class One(Length):
    batched = False


def energy(waveform: Tensor) -> str:
    """The mean square of a waveform's samples, which noise removal lowers."""
    return f"{waveform.double().square().mean():.6g}"


class Energy(One):
    """Says how loud what it was given is."""

    def features(self, waveforms: Sequence[Tensor]) -> Any:
        return [energy(waveform) for waveform in waveforms]


class NoRoom(Length):
    """Needs more memory than there is."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        raise MemoryError


class NeedsFile(Length):
    """Cannot be loaded before the file $NEEDED is there."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        if not os.path.exists(os.environ["NEEDED"]):
            raise MemoryError
        super().__init__(spec, options)


class Hungry(Length):
    """Takes 300 MB for several utterances at once, and is then no faster; `HungryAlone` is the same, one at a time."""

    def forward(self, features: Any) -> Any:
        if len(features) > 1:
            time.sleep(0.1 * len(features))
            torch.ones(75_000_000)
        return features


class HungryAlone(Hungry):
    batched = False


class Calls(Length):
    """Says how often it was called, this time too."""

    called = 0

    def text(self, outcome: Any) -> list[str]:
        self.called += 1
        return [str(self.called) for _ in outcome]


class Remembers(Length):
    """Says how many samples it was given so far, call after call; more than 1.25 s are always alone in a batch."""

    longest_in_batch_seconds = 1.25

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        super().__init__(spec, options)
        self._given: list[int] = []

    def text(self, outcome: Any) -> list[str]:
        self._given += outcome
        return [" ".join(map(str, self._given)) for _ in outcome]


class Alone(Length):
    """Cannot be loaded where another one is."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        super().__init__(spec, options)
        self._held = open(os.environ["ALONE"], "w")  # noqa: SIM115 - held as long as the process lives
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)


class AloneToo(Alone):
    pass


class Raises(Length):
    def forward(self, features: Any) -> Any:
        if GUILTY in features:
            raise MemoryError("no room")
        return features


class Hangs(Length):
    def forward(self, features: Any) -> Any:
        if GUILTY in features:
            time.sleep(1e6)
        return features


class Dies(Length):
    def forward(self, features: Any) -> Any:
        if GUILTY in features:
            os._exit(7)
        return features


class TooFew(Length):
    """One text, whatever it is given."""

    def text(self, outcome: Any) -> list[str]:
        return [str(outcome[0])]


class Talks(Length):
    """Writes to the terminal past Python, as libraries in C do."""

    def forward(self, features: Any) -> Any:
        os.write(1, b"UNWANTED on stdout\n")
        print("UNWANTED on stderr", file=sys.stderr)
        return features


class Recites(Length):
    """The same words, whatever it is given."""

    def text(self, outcome: Any) -> list[str]:
        return ["ONE THREE FOUR" for _ in outcome]


class Spells(Length):
    """Recites with times: "the words N", N of the length, each a third of the waveform, less and less certain."""

    has_word_times = True

    def text(self, outcome: Any) -> list[str]:
        return [f"the words {(length - RATE) * 10 // RATE}" for length in outcome]

    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Callable[[float], None] | None = None
    ) -> list[Transcript]:
        found = []
        for length, text in zip(map(len, waveforms), self.text(map(len, waveforms)), strict=True):
            third = length / RATE / 3
            spelled = [Word(f" {word}", n * third, (n + 1) * third, 1 / (n + 1)) for n, word in enumerate(text.split())]
            found.append(Transcript.of_words(text, spelled))
        return found


class FailsToSpell(Spells):
    """Raises at words where the guilty one is in the batch."""

    def transcribe(self, waveforms: Sequence[Tensor], **more: Any) -> list[Transcript]:
        if GUILTY in map(len, waveforms):
            raise MemoryError("no room")
        return super().transcribe(waveforms, **more)


class DiesSpelling(Spells):
    """Takes 200 MB for words, and dies of the guilty one's."""

    def transcribe(self, waveforms: Sequence[Tensor], **more: Any) -> list[Transcript]:
        self._ballast = torch.ones(50_000_000)
        if GUILTY in map(len, waveforms):
            os._exit(7)
        return super().transcribe(waveforms, **more)


class Slow(One):
    """Says which process it is, and takes its time."""

    def forward(self, features: Any) -> Any:
        time.sleep(0.3)
        return [os.getpid() for _ in features]


class Busy(One):
    """Computes for 20 ms, more where others take the processor meanwhile, and says how long it was."""

    def features(self, waveforms: Sequence[Tensor]) -> Any:
        self._began = time.perf_counter()
        return waveforms

    def forward(self, features: Any) -> Any:
        while time.perf_counter() < self._began + 0.020:
            pass
        return features

    def text(self, outcome: Any) -> list[str]:
        return [repr(time.perf_counter() - self._began)]
