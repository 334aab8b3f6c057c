"""What a run records while it goes on, as frozen dataclasses: its settings, samples and timings, all raw.

The summary made of them is `benchmark.results.summary`; how they reach the disk: `benchmark.results.store`.
"""

from dataclasses import dataclass, field

from finetune.systems.facts import SystemFacts
from finetune.systems.transcript import Word
from preprocessing.corpus.utterance import Segment

SCHEMA = 2  # of run.json and summary.json; raised whenever a field changes its meaning
CLEAN = "clean"  # the condition that leaves the audio as it is; every run has it


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall-clock seconds spent in each stage, the device synchronised at every boundary."""

    decode: float
    features: float
    forward: float
    text: float

    @property
    def total(self) -> float:
        """Seconds of all four stages."""
        return self.decode + self.features + self.forward + self.text

    def __add__(self, other: "StageSeconds") -> "StageSeconds":
        """
        >>> StageSeconds(1, 2, 3, 4) + StageSeconds(1, 0, 0, 0)
        StageSeconds(decode=2, features=2, forward=3, text=4)
        """
        return StageSeconds(
            self.decode + other.decode,
            self.features + other.features,
            self.forward + other.forward,
            self.text + other.text,
        )

    def scaled(self, factor: float) -> "StageSeconds":
        """Every stage times `factor`, as the share of one utterance in a batch."""
        return StageSeconds(factor * self.decode, factor * self.features, factor * self.forward, factor * self.text)


NO_SECONDS = StageSeconds(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance through one system under one condition: a line of samples.jsonl.

    reference, hypothesis: raw texts, as the corpus holds them and as the system wrote them.
    seconds: the utterance's share, by duration, of the batch that it was transcribed in; speed comes from timings.
    audio, start, stop, channel: where the corpus has the audio, in seconds (None: in memory, or out of a stream).
    error: why the system failed; the hypothesis is then empty, so that every reference word counts as deleted.
    words: of the untimed second pass of --word_timestamps, with times in seconds from `start` on; None where there was
    none, or it failed for the reason `words_error`.
    reference_words: with their true times, in seconds into `audio`, where the corpus knows them.
    columns: of the corpus, of --slices, with the utterance's values.
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
    condition: str = CLEAN
    audio: str | None = None
    start: float = 0.0
    stop: float | None = None
    segments: tuple[Segment, ...] = ()
    error: str | None = None
    reference_words: tuple[Segment, ...] = ()
    words: tuple[Word, ...] | None = None
    words_error: str | None = None
    channel: int | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """One utterance by itself (batch size 1) through a warm system, in round 0, 1, ...: a line of timings.jsonl."""

    system: str
    id: str
    round: int
    audio_seconds: float
    seconds: StageSeconds


@dataclass(frozen=True, slots=True)
class Throughput:
    """A round of batches through a warm system, a line of throughput.jsonl: `audio_seconds` done in `wall_seconds`.

    batch_seconds: cap on a batch's audio, padding included; None: one utterance at a time.
    seconds: of all stages; together more than `wall_seconds` where decoding overlaps the forward pass.
    joules: drawn by the GPU meanwhile, where it counts them.
    """

    system: str
    round: int
    batch_seconds: float | None
    audio_seconds: float
    wall_seconds: float
    seconds: StageSeconds
    joules: float | None = None


@dataclass(frozen=True, slots=True)
class SystemRun:
    """What was measured of one system's process; `failure` says why the system failed as a whole.

    has_word_times: whether the system gives words with times; None where it was never loaded.
    memory_before_loading_bytes: of the peak, what the process had before the system was loaded.
    """

    facts: SystemFacts
    load_seconds: float = 0.0
    first_call_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None
    failure: str | None = None
    has_word_times: bool | None = None
    memory_before_loading_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ConditionUsed:
    """What was done to the audio. snr_db: set where noise was added. speech: false where nothing is said."""

    name: str
    description: str
    snr_db: float | None = None
    speech: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """The content of run.json: what was measured, under which settings, on which machine.

    corpus: as it was referred to. profiles: names of text profiles; the first one decides. seed: of the bootstrap too.
    keywords: as --keywords has them. baseline_system: of --baseline_system. compare: the folder of --compare.
    whole_corpus: how many utterances the corpus has, where --limit leaves some of them out. code: the git commit of
    this project, with "modified" where files differ from it; None where it is no checkout.
    """

    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    corpus: str
    conditions: list[ConditionUsed]
    profiles: list[str]
    seed: int
    notices: list[str]
    settings: dict[str, str]
    systems: list[SystemRun]
    schema: int = SCHEMA
    keywords: list[str] = field(default_factory=list)
    baseline_system: str | None = None
    compare: str | None = None
    whole_corpus: int | None = None
    code: str | None = None
