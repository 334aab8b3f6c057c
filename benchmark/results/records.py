"""What is written while a benchmark runs, a line each: what systems said, and how long they took.

Texts are raw. What a report says of quality comes from samples, what it says of speed from timings.
"""

from dataclasses import dataclass

from preprocessing.corpus.utterance import Segment


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall-clock seconds spent in each stage, the device synchronised at every boundary."""

    decode: float
    features: float
    forward: float
    text: float

    @property
    def total(self) -> float:
        return self.decode + self.features + self.forward + self.text


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance through one system under one condition. Texts are raw: as the corpus holds them and as the system
    wrote them.

    seconds: its share of the batch that it was transcribed in, by length; figures of speed come from timings.
    audio, start, stop: where the corpus has it (None: in memory, or out of a stream).
    error: the reason when the system failed; the hypothesis is then empty, so that every reference word counts as
    deleted.
    """

    system: str
    id: str
    reference: str
    hypothesis: str
    audio_seconds: float
    seconds: StageSeconds
    speaker: str | None = None
    sex: str | None = None
    domain: str | None = None
    language: str | None = None
    condition: str = "clean"
    audio: str | None = None
    start: float = 0.0
    stop: float | None = None
    segments: tuple[Segment, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """One utterance by itself (batch size 1) through a warm system, in one of the rounds (0, 1, ...)."""

    system: str
    id: str
    round: int
    audio_seconds: float
    seconds: StageSeconds


@dataclass(frozen=True, slots=True)
class Throughput:
    """A round of batches through a warm system: all of `audio_seconds` in `wall_seconds`.

    batch_seconds: cap on a batch's audio, padding included; None: one utterance at a time.
    seconds: what the stages took; together more than `wall_seconds` where decoding overlaps the forward pass.
    """

    system: str
    round: int
    batch_seconds: float | None
    audio_seconds: float
    wall_seconds: float
    seconds: StageSeconds
    joules: float | None = None  # of the device, where it counts them
