"""Results as plain data: samples and timings, written first, and the summary that is made from them alone."""

from dataclasses import dataclass, field
from typing import Literal

from finetune.metrics import Rate
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


SCHEMA = 2  # raised whenever a field changes its meaning


@dataclass(frozen=True, slots=True)
class ProfileUsed:
    """A text-normalisation profile that scores were counted under."""

    name: str
    version: int
    description: str


@dataclass(frozen=True, slots=True)
class ConditionUsed:
    """What was done to the audio. `snr_db` is set where noise was added, `speech` false where nothing was said."""

    name: str
    description: str
    snr_db: float | None = None
    speech: bool = True


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of one system under one condition and one profile, counted over all utterances together.

    `words` is the number of reference words: hits + substitutions + deletions. MER is errors over hits and errors, WIL
    one minus the product of the shares of words that were kept on both sides (Morris et al. 2004).
    """

    wer: Rate
    cer: Rate
    words: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    mer: Rate | None = None
    wil: Rate | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """WER of the clean utterances that share a property, such as by="sex", value="F"."""

    by: str
    value: str
    utterances: int
    words: int
    wer: Rate


@dataclass(frozen=True, slots=True)
class Confusion:
    """A word and what was heard in its place; "" where it was deleted, or where nothing had been said."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure that was measured several times: the median of rounds, the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of one warm system, in seconds; rtfx is seconds of audio done in one second.

    p50, p95, p99, rtfx, stages: one utterance at a time. throughput: RTFx with batches of `batch_seconds`.
    """

    load: float
    first_call: float
    p50: float
    p95: float
    p99: float
    rtfx: float
    stages: StageSeconds  # means over utterances
    p50_spread: Spread | None = None
    p95_spread: Spread | None = None
    p99_spread: Spread | None = None
    rtfx_spread: Spread | None = None
    throughput: Spread | None = None
    batch_seconds: float | None = None
    joules_per_audio_second: float | None = None


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """What a system says of itself once loaded."""

    name: str
    family: str
    checkpoint: str
    parameters: int
    settings: dict[str, str] = field(default_factory=dict)
    notice: str | None = None  # set for a demo stand-in: what its figures do not say


@dataclass(frozen=True, slots=True)
class SystemSummary:
    """One system. `failure` says why it gave no samples at all.

    scores: of clean speech, by profile. conditions: by condition, then by profile; empty references and conditions
    without speech are in `hallucinated_words_per_minute` instead, by condition. loops: ids of utterances in which the
    system repeated itself and the speaker did not.
    """

    facts: SystemFacts
    scores: dict[str, Scores]
    speed: Speed | None
    peak_memory_bytes: int | None
    peak_device_memory_bytes: int | None
    failed_utterances: int
    failure: str | None = None
    conditions: dict[str, dict[str, Scores]] = field(default_factory=dict)
    hallucinated_words_per_minute: dict[str, float] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    segments: Scores | None = None  # of long recordings, counted segment by segment


@dataclass(frozen=True, slots=True)
class Comparison:
    """WER of `first` minus WER of `second` under the first profile, paired by utterance; below 0, `first` is better.

    p_value: matched-pair sentence-segment test (Gillick & Cox 1989); adjusted_p: corrected for all comparisons that
    the summary holds (Holm 1979). `different` is the verdict after the correction.
    """

    first: str
    second: str
    difference: Rate
    sentence: str
    condition: str = "clean"
    p_value: float | None = None
    adjusted_p: float | None = None
    different: bool | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A figure beside that of an earlier result; `significant` where chance does not explain the difference."""

    system: str
    figure: str
    before: float
    now: float
    kind: Literal["better", "worse", "same"]
    sentence: str
    significant: bool


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    reference: str
    utterances: int
    hours: float
    speakers: int
    resampling_unit: str  # what the bootstrap draws: "speaker", "utterance" or, of long recordings, "segment"


@dataclass(frozen=True, slots=True)
class Summary:
    """All of a run but its samples and timings."""

    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    corpus: CorpusFacts
    profiles: list[ProfileUsed]
    systems: list[SystemSummary]
    comparisons: list[Comparison]
    notices: list[str]
    settings: dict[str, str]
    conditions: list[ConditionUsed] = field(default_factory=list)
    minimum_detectable_difference: float | None = None  # in WER, between two systems, at 80 % power
    changes: list[Change] = field(default_factory=list)
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class SystemRun:
    """What one system's process told of itself; seconds and bytes. `failure` says why it gave up as a whole."""

    facts: SystemFacts
    load_seconds: float = 0.0
    first_call_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was measured, under which settings, on which machine. `seed` is the bootstrap's too."""

    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    corpus: str  # as it was referred to
    conditions: list[ConditionUsed]
    profiles: list[str]  # names; the first one decides
    seed: int
    notices: list[str]
    settings: dict[str, str]
    systems: list[SystemRun]
    schema: int = SCHEMA
