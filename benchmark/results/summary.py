"""The summary of a run as frozen dataclasses, made of its records (`benchmark.results.records`) alone.

What has a 95 % interval is a `finetune.metrics.Rate`: value, low, high. How it reaches the disk:
`benchmark.results.store`.
"""

from dataclasses import dataclass, field
from typing import Literal

from benchmark.results.records import CLEAN, SCHEMA, ConditionUsed, StageSeconds
from finetune.metrics import Rate
from finetune.metrics.calibration import ReliabilityBin
from finetune.metrics.error_rates import Metric
from finetune.systems.facts import SystemFacts

Family = Literal["all", "baseline", "other"]
FEWEST_TIMED = 10  # utterances of which the slowest say anything about percentiles


@dataclass(frozen=True, slots=True)
class ProfileUsed:
    """A text-normalisation profile that scores were counted under.

    signature: every choice behind the scores in one string, as sacrebleu's (`benchmark.scoring.signature`).
    """

    name: str
    version: int
    description: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of one system under one condition and one profile, counted over all utterances together.

    words: of the references: hits + substitutions + deletions. mer: errors over hits and errors. wil: one minus the
    product of the shares of words that were kept on both sides (Morris et al. 2004). ser: the share of utterances with
    an error. Where the metric is the CER of a script without spaces, all these are of characters in place of words.
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
    ser: Rate | None = None

    def rate(self, metric: Metric) -> Rate:
        """The WER or the CER."""
        return self.cer if metric == "cer" else self.wer


@dataclass(frozen=True, slots=True)
class Slice:
    """WER of the clean utterances that share a property, such as by="sex", value="F".

    words: of the references; characters where the summary's metric is the CER. cer: where it is.
    """

    by: str
    value: str
    utterances: int
    words: int
    wer: Rate
    cer: Rate | None = None

    def rate(self, metric: Metric) -> Rate:
        """The WER, or the CER where there is one."""
        return self.cer if metric == "cer" and self.cer is not None else self.wer


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """What one clean utterance does to a system's rate, which is the summary's metric.

    rate_without: of all other utterances (leave one out). change: the rate minus that; above 0, the utterance raises
    it. decisive: whether it weighs far more than its share (`benchmark.scoring.influence`).
    loop, loop_times: the words that its hypothesis repeats, and how often in a row; "" and 0 where it does not loop, or
    only its compression_ratio, as openai-whisper's, tells that it does.
    """

    id: str
    errors: int
    length: int  # of the reference, in words or characters
    rate_without: float
    change: float
    decisive: bool = False
    looped: bool = False
    loop: str = ""
    loop_times: int = 0
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Confusion:
    """A reference word and the word recognised in its place; "" for the one that a deletion or an insertion lacks."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds: their median, the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one call costs, one utterance at a time: seconds = per_call + per_audio_second * duration.

    per_call, per_audio_second: in seconds; None where no such line can be fitted, for the `reason`. Fitted over
    `utterances` of `shortest` to `longest` seconds (`benchmark.scoring.speed`).
    """

    per_call: Rate | None
    per_audio_second: Rate | None
    utterances: int
    shortest: float
    longest: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one warm system, in seconds; RTFx is seconds of audio done in one second.

    p50, p95, p99: percentiles of an utterance's latency in the median round. rtfx, stages: one utterance at a time;
    stages are means over utterances. throughput: RTFx with batches of `batch_seconds`. call_cost: of utterances of up
    to 30 s. timed: how many utterances; None in a summary of an earlier version.
    """

    load: float
    first_call: float
    p50: float
    p95: float
    p99: float
    rtfx: float
    stages: StageSeconds
    p50_spread: Spread | None = None
    p95_spread: Spread | None = None
    p99_spread: Spread | None = None
    rtfx_spread: Spread | None = None
    throughput: Spread | None = None
    batch_seconds: float | None = None
    joules_per_audio_second: float | None = None
    call_cost: CallCost | None = None
    timed: int | None = None

    @property
    def batch_size(self) -> str:
        """The batches of the throughput in words: "20 s", or "one at a time"; "" where there is no throughput."""
        if self.throughput is None:
            return ""
        return f"{self.batch_seconds:g} s" if self.batch_seconds else "one at a time"

    @property
    def has_percentiles(self) -> bool:
        """Whether p95 and p99 are of FEWEST_TIMED utterances or more."""
        return self.timed is None or self.timed >= FEWEST_TIMED


@dataclass(frozen=True, slots=True)
class KeywordCount:
    """A keyword: how often it is spoken, how many of these are recognised (`hits`), and how often it is written where
    it is not spoken.
    """

    keyword: str
    spoken: int
    hits: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class KeywordScores:
    """Of the keywords' occurrences in clean speech, under `Summary.word_profile`: the share that is recognised
    (recall), the share of the recognised ones that are spoken (precision), and their harmonic mean
    (`benchmark.scoring.keywords`).

    recall: None where no keyword is spoken. precision: None where none is recognised.
    """

    recall: Rate | None
    precision: Rate | None
    f1: float | None
    counts: list[KeywordCount]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTimes:
    """How far the times of correctly recognised words are from the true ones, in seconds, absolute.

    words: how many are compared. within_50_ms, within_200_ms: shares of starts and ends together.
    """

    words: int
    start_median: Rate
    start_p95: float
    end_median: Rate
    end_p95: float
    within_50_ms: Rate
    within_200_ms: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class WordScores:
    """How well a system's confidences say which of its words are right, on clean speech under
    `Summary.word_profile`, and how exact its word times are (`benchmark.scoring.words`).

    words: with a confidence; `wrong` of them are substitutions or insertions. ece, nce: None where no word has a
    confidence. auroc, nce: None also where no word is wrong, or none right. times: None where the corpus has no true
    ones, or no word that has is recognised.
    rewritten: utterances in which the second pass wrote other words. failed: utterances in which it failed.
    reason: why there are no figures at all.
    """

    words: int = 0
    wrong: int = 0
    ece: Rate | None = None
    auroc: Rate | None = None
    nce: float | None = None
    reliability: list[ReliabilityBin] = field(default_factory=list)
    times: WordTimes | None = None
    rewritten: int = 0
    failed: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SilentRecordings:
    """Recordings without speech, and those in which the system returned text; `share` of them, with its interval."""

    recordings: int
    with_text: int
    share: Rate


@dataclass(frozen=True, slots=True)
class SystemSummary:
    """The results of one system; with a `failure`, which says why it has no samples, there are none.

    scores: of clean speech, by profile; none where no reference has a word. conditions: by condition, then by profile.
    clean_of_conditions: of the clean utterances that conditions have, under the first profile; None if these are all.
    hallucinated_words_per_minute: by condition, of empty references and of conditions without speech. silent: the
    recordings that these are of; none in a summary of an earlier version.
    slices, confusions: of clean speech under the first profile. loops: ids of the clean utterances in which the
    hypothesis repeats words that the reference does not repeat; condition_loops: of others, by condition.
    segments: of long recordings, counted segment by segment.
    influences: the clean utterances that change the rate most and those that loop, most influential first.
    without_loops, without_decisive: the rate of the clean utterances that do not loop, or are not decisive; None where
    none does, or is.
    words: None where --word_timestamps was not asked for. keywords: None without --keywords.
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
    segments: Scores | None = None
    influences: list[Influence] = field(default_factory=list)
    without_loops: Rate | None = None
    without_decisive: Rate | None = None
    words: WordScores | None = None
    condition_loops: dict[str, list[str]] = field(default_factory=dict)
    clean_of_conditions: Scores | None = None
    keywords: KeywordScores | None = None
    memory_before_loading_bytes: int | None = None
    silent: dict[str, SilentRecordings] = field(default_factory=dict)

    def by_condition(self) -> dict[str, dict[str, Scores]]:
        """The scores of clean speech and of each other condition, by profile."""
        return {CLEAN: self.scores, **self.conditions}

    def loops_by_condition(self) -> dict[str, list[str]]:
        """Ids of the utterances that loop, by condition, of those that have some."""
        return ({CLEAN: self.loops} if self.loops else {}) | self.condition_loops


@dataclass(frozen=True, slots=True)
class Comparison:
    """WER, or the summary's metric, of `first` minus that of `second` under the first profile, paired by utterance:
    below 0, `first` is better.

    p_value: of the matched-pairs test (`finetune.metrics.matched_pairs`). adjusted_p: corrected for all comparisons
    of its `family` (Holm 1979): "all" of the summary, or, where a baseline system is named, those on clean speech with
    the "baseline" system, or the "other" ones. different: the verdict after the correction, which `sentence` says; None
    where so few utterances settle nothing.
    left_out: ids of the few utterances that decide either rate, or the verdict. without: the difference over the
    others, with p_value_without and different_without.
    """

    first: str
    second: str
    difference: Rate
    sentence: str
    condition: str = CLEAN
    p_value: float | None = None
    adjusted_p: float | None = None
    different: bool | None = None
    left_out: list[str] = field(default_factory=list)
    without: Rate | None = None
    p_value_without: float | None = None
    different_without: bool | None = None
    family: Family = "all"


@dataclass(frozen=True, slots=True)
class DetectableDifference:
    """The minimum detectable difference of two systems on clean speech, at 80 % power, corrected for `comparisons`.

    without: the same without the utterances `left_out`, which ruin it; None where none does.
    """

    first: str
    second: str
    value: float
    comparisons: int = 1
    without: float | None = None
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEffect:
    """A comparison on clean speech that a text profile changes.

    difference: under `profile`, the first one. fair_difference: under `fair`, the fair one for the reason given.
    """

    first: str
    second: str
    profile: str
    difference: Rate
    fair: str
    fair_difference: Rate
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """A figure beside that of an earlier result; `significant` where chance does not explain the difference, which
    was `tested` where there were enough utterances.
    """

    system: str
    figure: str
    before: float
    now: float
    kind: Literal["better", "worse", "same"]
    sentence: str
    significant: bool
    tested: bool = True


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """The corpus as it was referred to, and its size.

    resampling_unit: what the bootstrap draws: "speaker", "utterance" or, of long recordings, "segment". compared: how
    many utterances, or segments, have reference words; None in a summary that was written before they were counted.
    whole: how many utterances it has, where --limit leaves some of them out; None where none is, or it is not known.
    """

    reference: str
    utterances: int
    hours: float
    speakers: int
    resampling_unit: str
    compared: int | None = None
    whole: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The content of summary.json: all of a run but its samples and timings.

    metric: what decides verdicts: the WER, or the CER of a language that is written without spaces between words.
    detectable_differences: in that metric, of every pair of systems where it can be estimated, or of the only system
    (`benchmark.scoring.comparisons`).
    word_profile: the text profile of keywords, word confidences and their rejection, where it is not the first.
    baseline_system: whose comparisons on clean speech are a family of their own; None where all are one.
    code: the git commit that measured, where it is known.
    """

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
    changes: list[Change] = field(default_factory=list)
    schema: int = SCHEMA
    metric: Metric = "wer"
    profile_effects: list[ProfileEffect] = field(default_factory=list)
    detectable_differences: list[DetectableDifference] = field(default_factory=list)
    baseline_system: str | None = None
    word_profile: str | None = None
    code: str | None = None

    @property
    def error_unit(self) -> Literal["word", "character"]:
        """What errors are counted in, which the metric decides."""
        return "character" if self.metric == "cer" else "word"

    @property
    def largest_detectable(self) -> DetectableDifference | None:
        """The minimum detectable difference of the pair that needs most; None where none can be estimated."""
        return max(self.detectable_differences, key=lambda difference: difference.value, default=None)
