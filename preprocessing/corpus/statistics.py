"""Statistics of a corpus: hours, speakers, rates, levels, duplicates; and what it shares with another one (leaks)."""

import functools
import math
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus.characters import annotations, count_characters, described_character, mixed_words
from preprocessing.corpus.levels import CLIP_SAMPLES, AudioLevels
from preprocessing.corpus.utterance import Corpus, Utterance
from preprocessing.errors import counted
from preprocessing.frames import frames_in, frames_needed
from preprocessing.text import Profile

OUTLIER_Z = 3.5  # of the modified z-score (Iglewicz and Hoaglin 1993), here of log characters per second
FEWEST_FOR_OUTLIERS = 10
MINIMUM_DEVIATION = 0.05  # median absolute, of log characters per second: less would make outliers of nothing
MINIMUM_DECIBELS = -200.0  # digital silence has -inf, of which no percentile can be interpolated
LONG_SILENCE_SECONDS = 1.0
OVERLAP_SECONDS = 0.1  # of two parts of a file, as neighbours may have that were cut with a margin
LONG_WORDS = 5  # a sentence of so many words is hardly said twice by chance
RARE_TEXTS, RARE_SHARE = 10, 0.05  # a character in fewer texts is hardly learnt; in a small corpus, than this share
UNNAMED = "(not given)"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of a quantity over utterances; NaN where there are none."""

    low: float  # the minimum
    p5: float
    median: float
    p95: float
    high: float  # the maximum


@dataclass(frozen=True, slots=True)
class Finding:
    """An utterance that may be faulty, and why."""

    id: str
    why: str


@dataclass(frozen=True)
class TextStatistics:
    """Statistics of the texts under a profile."""

    profile: str  # name and version, as in librispeech.v4
    empty: int
    distinct: int
    repeated: tuple[tuple[str, int], ...]  # the 10 most frequent texts that occur more than once
    characters_per_second: Percentiles
    unlikely_rates: tuple[Finding, ...]  # most extreme first
    do_not_fit: tuple[Finding, ...]  # CTC needs more frames for the characters than wav2vec 2.0 gives
    annotations: tuple[Finding, ...]  # [laughter], <unk>, (inaudible), %uh in the raw text, words under the profile
    mixed_alphabets: tuple[Finding, ...]  # words of Latin, Greek and Cyrillic letters at once
    characters: dict[str, int]  # the number of texts with each, most first
    rare_characters: tuple[Finding, ...]  # in fewer than `rare_limit` texts, with the first utterance; rarest first


@dataclass(frozen=True)
class AudioStatistics:
    """Statistics of the decoded audio."""

    failed: tuple[Finding, ...]
    rms_dbfs: Percentiles
    peak_dbfs: Percentiles
    full_scale_share: float  # of all samples
    clipped: tuple[Finding, ...]
    leading_silence_seconds: Percentiles
    trailing_silence_seconds: Percentiles
    long_silence: tuple[Finding, ...]
    silent: tuple[str, ...]
    wrong_durations: tuple[Finding, ...]
    duplicates: tuple[tuple[str, ...], ...]  # ids whose audio is the same, sample by sample
    duplicates_of_other_text: int  # of these groups: the same audio with different texts


@dataclass(frozen=True)
class Statistics:
    """All statistics of one corpus. `report` prints them; their names are the keys of the JSON."""

    reference: str
    utterances: int
    hours: float
    set_aside: tuple[Finding, ...]  # the corpus's rejects
    duration_seconds: Percentiles
    minutes_by_speaker: dict[str, float]  # most first
    gini: float  # of minutes by speaker: 0 when all have the same, towards 1 when one has all
    hours_by_sex: dict[str, float]
    hours_by_language: dict[str, float]
    hours_by_domain: dict[str, float]
    text: TextStatistics
    sound: AudioStatistics | None  # None where the audio was not measured


@dataclass(frozen=True)
class Leaks:
    """What `corpus` shares with `other`. Counts are of utterances of `corpus`; the tuples name what is shared."""

    other: str
    other_utterances: int
    utterances_with_shared_text: int
    utterances_with_long_shared_text: int  # of five words or more
    shared_texts: tuple[str, ...]  # longest first
    speakers: tuple[str, ...]
    utterances_of_shared_speakers: int
    ids: tuple[str, ...]
    files: tuple[str, ...]  # ids of utterances of which a part is the same part of the same file in both
    audio: tuple[tuple[str, str], ...] | None  # id here, id there, equal sample by sample; None where not measured


def summarise(corpus: Corpus, profile: Profile, levels: Sequence[AudioLevels | str] | None) -> Statistics:
    """The statistics of a corpus, its texts under `profile`.

    levels: of each utterance in order, as `measure_corpus` gives them; None leaves the audio out.
    """
    utterances = corpus.utterances
    minutes = {name: 60.0 * hours for name, hours in _hours(utterances, lambda u: u.speaker).items()}
    named = [value for name, value in minutes.items() if name != UNNAMED]
    texts = [profile(utterance.text) for utterance in utterances]
    return Statistics(
        reference=corpus.reference,
        utterances=len(utterances),
        hours=corpus.seconds / 3600,
        set_aside=tuple(Finding(reject.where, reject.reason) for reject in corpus.rejects),
        duration_seconds=percentiles(utterance.duration for utterance in utterances),
        minutes_by_speaker=minutes,
        gini=gini(named),
        hours_by_sex=_hours(utterances, lambda u: u.sex),
        hours_by_language=_hours(utterances, lambda u: u.language),
        hours_by_domain=_hours(utterances, lambda u: u.domain),
        text=_text_statistics(utterances, texts, profile),
        sound=None if levels is None else _audio_statistics(utterances, texts, levels),
    )


def find_leaks(
    corpus: Corpus,
    other: Corpus,
    profile: Profile,
    levels: tuple[Sequence[AudioLevels | str], Sequence[AudioLevels | str]] | None = None,
) -> Leaks:
    """What `corpus`, such as a test set, shares with `other`, such as a training set, texts compared under `profile`.

    levels: of both corpora's utterances in their order, as `measure_corpus` gives them; None compares files by path.
    """
    theirs = other.utterances
    texts = {profile(utterance.text) for utterance in theirs} - {""}
    ours = [(utterance, profile(utterance.text)) for utterance in corpus.utterances]
    shared = [text for _, text in ours if text in texts]
    speakers = {u.speaker for u in corpus.utterances} & {u.speaker for u in theirs} - {None}
    ids = {utterance.id for utterance in theirs}
    spoken = _Spoken(theirs)
    return Leaks(
        other=other.reference,
        other_utterances=len(theirs),
        utterances_with_shared_text=len(shared),
        utterances_with_long_shared_text=sum(len(text.split()) >= LONG_WORDS for text in shared),
        shared_texts=tuple(sorted(set(shared), key=lambda text: (-len(text), text))),
        speakers=tuple(sorted(str(speaker) for speaker in speakers)),
        utterances_of_shared_speakers=sum(u.speaker in speakers for u in corpus.utterances),
        ids=tuple(u.id for u in corpus.utterances if u.id in ids),
        files=tuple(u.id for u in corpus.utterances if spoken.overlaps(u)),
        audio=None if levels is None else tuple(_same_audio(corpus.utterances, theirs, *levels)),
    )


def percentiles(values: Iterable[float]) -> Percentiles:
    """Minimum, 5th, 50th and 95th percentile and maximum, interpolated; decibels below -200 count as -200.

    >>> percentiles([3.0, 1.0, 2.0])
    Percentiles(low=1.0, p5=1.1, median=2.0, p95=2.9, high=3.0)
    """
    array = np.fromiter(values, dtype=np.float64)
    if len(array) == 0:
        return Percentiles(*[math.nan] * 5)
    array = np.maximum(array, MINIMUM_DECIBELS)
    return Percentiles(*(round(float(q), 6) for q in np.quantile(array, [0.0, 0.05, 0.5, 0.95, 1.0])))


def gini(values: Sequence[float]) -> float:
    """The Gini coefficient: half the mean absolute difference of all pairs, over the mean; 0 for no values.

    >>> gini([5.0, 5.0]), gini([0.0, 0.0, 0.0, 8.0])
    (0.0, 0.75)
    """
    ordered = np.sort(np.array(values, dtype=np.float64))
    if len(ordered) == 0 or ordered.sum() == 0.0:
        return 0.0
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def group_by(ids: Sequence[str], keys: Sequence[Hashable]) -> list[tuple[str, ...]]:
    """Groups of two or more ids that have the same key, in order; ids whose key is None are in no group."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, key in zip(ids, keys, strict=True):
        if key is not None:
            groups[key].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def find_unlikely_rates(ids: Sequence[str], rates: Sequence[float]) -> list[Finding]:
    """Utterances whose characters per second are far from the corpus's median: their transcript is likely wrong.

    rates: characters per second of each id. An utterance is found when the modified z-score of its log rate,
    0.6745 (x - median) / MAD, is beyond 3.5 (Iglewicz and Hoaglin 1993); the most extreme come first.
    """
    if len(rates) < FEWEST_FOR_OUTLIERS:
        return []
    logs = np.log(np.array(rates))
    median = float(np.median(logs))
    scale = max(float(np.median(np.abs(logs - median))), MINIMUM_DEVIATION)
    scores = 0.6745 * (logs - median) / scale
    far = [index for index in np.argsort(-np.abs(scores), kind="stable") if abs(scores[index]) > OUTLIER_Z]
    return [
        Finding(ids[index], f"{rates[index]:.1f} characters per second; the median is {math.exp(median):.1f}")
        for index in far
    ]


def rare_limit(n_texts: int) -> int:
    """The number of texts below which a character is called rare, in a corpus of `n_texts`.

    >>> rare_limit(6), rare_limit(100), rare_limit(5000)
    (1, 5, 10)
    """
    return min(RARE_TEXTS, math.ceil(RARE_SHARE * n_texts))


def _hours(utterances: Iterable[Utterance], name: Callable[[Utterance], str | None]) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    for utterance in utterances:
        seconds[name(utterance) or UNNAMED] += utterance.duration  # type: ignore[assignment]
    return {key: value / 3600 for key, value in seconds.most_common()}


def _text_statistics(utterances: Sequence[Utterance], texts: Sequence[str], profile: Profile) -> TextStatistics:
    counts, characters = Counter(texts), count_characters(texts)
    spoken = [(u.id, len(text) / u.duration) for u, text in zip(utterances, texts, strict=True) if text]
    ids, rates = [name for name, _ in spoken], [rate for _, rate in spoken]
    too_long = []
    for utterance, text in zip(utterances, texts, strict=True):
        needed, frames = frames_needed(text), frames_in(utterance.duration)
        if needed > frames:
            too_long.append(Finding(utterance.id, f"{needed} characters with repeats in {frames} frames of 20 ms"))
    return TextStatistics(
        profile=f"{profile.name}.v{profile.version}",
        empty=counts[""],
        distinct=len(counts),
        repeated=tuple((text, count) for text, count in counts.most_common(10) if count > 1),
        characters_per_second=percentiles(rates),
        unlikely_rates=tuple(find_unlikely_rates(ids, rates)),
        do_not_fit=tuple(too_long),
        annotations=tuple(
            Finding(u.id, " ".join(marks)) for u in utterances if (marks := annotations(u.text, profile))
        ),
        mixed_alphabets=tuple(
            Finding(u.id, "; ".join(words))
            for u, text in zip(utterances, texts, strict=True)
            if (words := mixed_words(text))
        ),
        characters=dict(characters),
        rare_characters=tuple(_rare_characters(utterances, texts, characters)),
    )


def _rare_characters(
    utterances: Sequence[Utterance], texts: Sequence[str], characters: Counter[str]
) -> Iterable[Finding]:
    first: dict[str, str] = {}
    for utterance, text in zip(utterances, texts, strict=True):
        for character in text:
            first.setdefault(character, utterance.id)
    limit = rare_limit(len(texts))
    for character, count in reversed(characters.items()):
        if count < limit:
            yield Finding(
                first[character], f"{character} in {counted(count, 'text')}: {described_character(character)}"
            )


def _audio_statistics(
    utterances: Sequence[Utterance], texts: Sequence[str], levels: Sequence[AudioLevels | str]
) -> AudioStatistics:
    failed = [Finding(u.id, reason) for u, reason in zip(utterances, levels, strict=True) if isinstance(reason, str)]
    decoded = [
        (u, measured) for u, measured in zip(utterances, levels, strict=True) if isinstance(measured, AudioLevels)
    ]
    text_of = {u.id: text for u, text in zip(utterances, texts, strict=True)}
    duplicates = group_by([u.id for u, _ in decoded], [measured.digest for _, measured in decoded])
    n_samples = sum(round(measured.seconds * SAMPLE_RATE) for _, measured in decoded)
    return AudioStatistics(
        failed=tuple(failed),
        rms_dbfs=percentiles(measured.rms_dbfs for _, measured in decoded),
        peak_dbfs=percentiles(measured.peak_dbfs for _, measured in decoded),
        full_scale_share=sum(measured.full_scale_samples for _, measured in decoded) / max(n_samples, 1),
        clipped=tuple(
            Finding(
                u.id, f"{measured.full_scale_samples} samples at full scale, {measured.longest_clip_samples} in a row"
            )
            for u, measured in sorted(decoded, key=lambda pair: -pair[1].longest_clip_samples)
            if measured.longest_clip_samples >= CLIP_SAMPLES
        ),
        leading_silence_seconds=percentiles(measured.leading_silence_seconds for _, measured in decoded),
        trailing_silence_seconds=percentiles(measured.trailing_silence_seconds for _, measured in decoded),
        long_silence=tuple(
            Finding(
                u.id,
                f"{measured.leading_silence_seconds:.1f} s before, {measured.trailing_silence_seconds:.1f} s after",
            )
            for u, measured in decoded
            if not measured.silent
            and max(measured.leading_silence_seconds, measured.trailing_silence_seconds) > LONG_SILENCE_SECONDS
        ),
        silent=tuple(u.id for u, measured in decoded if measured.silent),
        wrong_durations=tuple(
            Finding(u.id, f"the corpus says {u.duration:.2f} s, the audio holds {measured.seconds:.2f} s")
            for u, measured in decoded
            if not u.has_duration(measured.seconds)
        ),
        duplicates=tuple(duplicates),
        duplicates_of_other_text=sum(len({text_of[name] for name in group}) > 1 for group in duplicates),
    )


class _Spoken:
    """Which stretches of which files, and channels of them, utterances are; audio in memory is left out."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        spans: dict[str, dict[int | None, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        for utterance in utterances:
            if (path := _path(utterance)) is not None:
                spans[path][utterance.channel].append(_span(utterance))
        self._starts: dict[str, dict[int | None, list[float]]] = {}
        self._latest_stops: dict[str, dict[int | None, list[float]]] = {}  # of the spans up to each, by start
        for path, by_channel in spans.items():
            ordered = {channel: sorted(own) for channel, own in by_channel.items()}
            self._starts[path] = {channel: [start for start, _ in own] for channel, own in ordered.items()}
            self._latest_stops[path] = {
                channel: list(accumulate((stop for _, stop in own), max)) for channel, own in ordered.items()
            }

    def overlaps(self, utterance: Utterance) -> bool:
        """Whether more than OVERLAP_SECONDS of the utterance, or half of it, is in one of them, in a common channel."""
        path = _path(utterance)
        if path is None or path not in self._starts:
            return False
        start, stop = _span(utterance)
        overlap = min(OVERLAP_SECONDS, (stop - start) / 2)
        for channel, starts in self._starts[path].items():
            if channel is None or utterance.channel is None or channel == utterance.channel:
                before_end = bisect_left(starts, stop - overlap)
                if before_end and self._latest_stops[path][channel][before_end - 1] > start + overlap:
                    return True
        return False


def _span(utterance: Utterance) -> tuple[float, float]:
    stop = utterance.start + utterance.duration if utterance.stop is None else utterance.stop
    return utterance.start, stop


def _path(utterance: Utterance) -> str | None:
    if isinstance(utterance.audio, bytes):
        return None
    folder, name = os.path.split(os.fspath(utterance.audio))
    return os.path.join(_real_path(folder), name)


@functools.lru_cache(maxsize=100_000)
def _real_path(folder: str) -> str:
    return os.path.realpath(folder)


def _same_audio(
    ours: Sequence[Utterance],
    theirs: Sequence[Utterance],
    our_levels: Sequence[AudioLevels | str],
    their_levels: Sequence[AudioLevels | str],
) -> list[tuple[str, str]]:
    known: dict[bytes, str] = {}
    for utterance, levels in zip(theirs, their_levels, strict=True):
        if isinstance(levels, AudioLevels) and not levels.silent:  # all silences of a length are equal
            known.setdefault(levels.digest, utterance.id)
    return [
        (utterance.id, known[levels.digest])
        for utterance, levels in zip(ours, our_levels, strict=True)
        if isinstance(levels, AudioLevels) and levels.digest in known
    ]
