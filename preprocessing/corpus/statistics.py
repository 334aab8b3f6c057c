"""Statistics of a corpus: hours, speakers, rates, levels, duplicates; and what it shares with another one (leaks)."""

import functools
import hashlib
import math
import os
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus.characters import annotations, characters_in, described_character, mixed_words
from preprocessing.corpus.levels import CLIP_SAMPLES, AudioLevels
from preprocessing.corpus.utterance import Corpus, Reject, Utterance
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
    running = RunningStatistics(profile, audio=levels is not None)
    measured = [None] * len(corpus.utterances) if levels is None else levels
    for utterance, own in zip(corpus.utterances, measured, strict=True):
        running.add(utterance, own)
    return running.statistics(corpus.reference, corpus.rejects)


class RunningStatistics:
    """Statistics of utterances that are given one after another, of which neither they nor their levels are kept."""

    def __init__(self, profile: Profile, *, audio: bool) -> None:
        """profile: of the texts. audio: whether levels are given."""
        self._profile = profile
        self._ids: list[str] = []
        self._durations = array("d")
        self._seconds: dict[str, Counter[str]] = {name: Counter() for name in ("speaker", "sex", "language", "domain")}
        self._texts = _RunningTexts(profile)
        self._audio = _RunningAudio() if audio else None

    def add(self, utterance: Utterance, levels: AudioLevels | str | None) -> None:
        """Count an utterance. levels: of its audio, or the reason why it cannot be decoded; None without audio."""
        text = self._profile(utterance.text)
        self._durations.append(utterance.duration)
        for name, seconds in self._seconds.items():
            seconds[getattr(utterance, name) or UNNAMED] += utterance.duration  # type: ignore[assignment]
        self._texts.add(len(self._ids), utterance, text)
        if self._audio is not None:
            assert levels is not None
            self._audio.add(utterance, text, levels)
        self._ids.append(utterance.id)

    def statistics(self, reference: str, rejects: Iterable[Reject]) -> Statistics:
        """Those of all utterances so far. rejects: of the corpus, which `reference` names."""
        hours = {
            name: {key: value / 3600 for key, value in seconds.most_common()} for name, seconds in self._seconds.items()
        }
        minutes = {name: 60.0 * value for name, value in hours["speaker"].items()}
        return Statistics(
            reference=reference,
            utterances=len(self._ids),
            hours=sum(self._durations) / 3600,
            set_aside=tuple(Finding(reject.where, reject.reason) for reject in rejects),
            duration_seconds=percentiles(self._durations),
            minutes_by_speaker=minutes,
            gini=gini([value for name, value in minutes.items() if name != UNNAMED]),
            hours_by_sex=hours["sex"],
            hours_by_language=hours["language"],
            hours_by_domain=hours["domain"],
            text=self._texts.statistics(self._ids),
            sound=None if self._audio is None else self._audio.statistics(self._ids),
        )


class _RunningTexts:
    """Of a `RunningStatistics`, those of the texts."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._counts: Counter[str] = Counter()
        self._spoken = array("q")  # numbers of the utterances whose text is not empty
        self._rates = array("d")  # of these, in characters per second
        self._characters: Counter[str] = Counter()
        self._first: dict[str, str] = {}  # by character, the id of the utterance that has it first
        self._do_not_fit: list[Finding] = []
        self._annotations: list[Finding] = []
        self._mixed_alphabets: list[Finding] = []

    def add(self, number: int, utterance: Utterance, text: str) -> None:
        self._counts[text] += 1
        if text:
            self._spoken.append(number)
            self._rates.append(len(text) / utterance.duration)
        needed, frames = frames_needed(text), frames_in(utterance.duration)
        if needed > frames:
            why = f"{needed} characters with repeats in {frames} frames of 20 ms"
            self._do_not_fit.append(Finding(utterance.id, why))
        if marks := annotations(utterance.text, self._profile):
            self._annotations.append(Finding(utterance.id, " ".join(marks)))
        if words := mixed_words(text):
            self._mixed_alphabets.append(Finding(utterance.id, "; ".join(words)))
        for character in characters_in(text):
            self._characters[character] += 1
            self._first.setdefault(character, utterance.id)

    def statistics(self, ids: Sequence[str]) -> TextStatistics:
        """ids: of the utterances, in order."""
        characters = dict(sorted(self._characters.items(), key=lambda item: (-item[1], item[0])))
        return TextStatistics(
            profile=f"{self._profile.name}.v{self._profile.version}",
            empty=self._counts[""],
            distinct=len(self._counts),
            repeated=tuple((text, count) for text, count in self._counts.most_common(10) if count > 1),
            characters_per_second=percentiles(self._rates),
            unlikely_rates=tuple(find_unlikely_rates([ids[number] for number in self._spoken], self._rates)),
            do_not_fit=tuple(self._do_not_fit),
            annotations=tuple(self._annotations),
            mixed_alphabets=tuple(self._mixed_alphabets),
            characters=characters,
            rare_characters=tuple(
                Finding(
                    self._first[character],
                    f"{character} in {counted(count, 'text')}: {described_character(character)}",
                )
                for character, count in reversed(characters.items())
                if count < rare_limit(len(ids))
            ),
        )


class _RunningAudio:
    """Of a `RunningStatistics`, those of the audio."""

    def __init__(self) -> None:
        self._failed: list[Finding] = []
        self._rms, self._peak, self._leading, self._trailing = array("d"), array("d"), array("d"), array("d")
        self._n_samples = self._n_full_scale = 0
        self._clipped: list[tuple[int, Finding]] = []  # with the longest clip
        self._long_silence: list[Finding] = []
        self._silent: list[str] = []
        self._wrong_durations: list[Finding] = []
        self._digests: list[bytes | None] = []  # None where it cannot be decoded
        self._text_digests: list[bytes] = []

    def add(self, utterance: Utterance, text: str, levels: AudioLevels | str) -> None:
        self._text_digests.append(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if isinstance(levels, str):
            self._digests.append(None)
            self._failed.append(Finding(utterance.id, levels))
            return
        self._digests.append(levels.digest)
        self._rms.append(levels.rms_dbfs)
        self._peak.append(levels.peak_dbfs)
        self._leading.append(levels.leading_silence_seconds)
        self._trailing.append(levels.trailing_silence_seconds)
        self._n_samples += round(levels.seconds * SAMPLE_RATE)
        self._n_full_scale += levels.full_scale_samples
        if (run := levels.longest_clip_samples) >= CLIP_SAMPLES:
            why = f"{levels.full_scale_samples} samples at full scale, {run} in a row"
            self._clipped.append((run, Finding(utterance.id, why)))
        before, after = levels.leading_silence_seconds, levels.trailing_silence_seconds
        if levels.silent:
            self._silent.append(utterance.id)
        elif max(before, after) > LONG_SILENCE_SECONDS:
            self._long_silence.append(Finding(utterance.id, f"{before:.1f} s before, {after:.1f} s after"))
        if not utterance.has_duration(levels.seconds):
            why = f"the corpus says {utterance.duration:.2f} s, the audio holds {levels.seconds:.2f} s"
            self._wrong_durations.append(Finding(utterance.id, why))

    def statistics(self, ids: Sequence[str]) -> AudioStatistics:
        """ids: of the utterances, in order."""
        hashes = np.fromiter(map(hash, self._digests), np.int64, len(ids))
        _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        repeated = np.flatnonzero(counts[places] > 1).tolist()  # a table of all digests would be much memory
        duplicates = group_by([ids[number] for number in repeated], [self._digests[number] for number in repeated])
        text_of = {ids[number]: self._text_digests[number] for number in repeated}
        return AudioStatistics(
            failed=tuple(self._failed),
            rms_dbfs=percentiles(self._rms),
            peak_dbfs=percentiles(self._peak),
            full_scale_share=self._n_full_scale / max(self._n_samples, 1),
            clipped=tuple(finding for _, finding in sorted(self._clipped, key=lambda pair: -pair[0])),
            leading_silence_seconds=percentiles(self._leading),
            trailing_silence_seconds=percentiles(self._trailing),
            long_silence=tuple(self._long_silence),
            silent=tuple(self._silent),
            wrong_durations=tuple(self._wrong_durations),
            duplicates=tuple(duplicates),
            duplicates_of_other_text=sum(len({text_of[name] for name in group}) > 1 for group in duplicates),
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


class _Spoken:
    """Which stretches of which files, and channels of them, utterances are; audio in memory is left out."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        spans: dict[str, dict[int | None, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        for utterance in utterances:
            if (path := _path(utterance)) is not None:
                spans[path][utterance.channel].append(_span(utterance))
        self._spans = {
            path: {channel: _in_order(own) for channel, own in by_channel.items()} for path, by_channel in spans.items()
        }

    def overlaps(self, utterance: Utterance) -> bool:
        """Whether more than OVERLAP_SECONDS of the utterance, or half of it, is in one of them, in a common channel."""
        path = _path(utterance)
        by_channel = {} if path is None else self._spans.get(path, {})
        start, stop = _span(utterance)
        overlap = min(OVERLAP_SECONDS, (stop - start) / 2)
        for channel, (starts, latest_stops) in by_channel.items():
            if channel is None or utterance.channel is None or channel == utterance.channel:
                before_end = bisect_left(starts, stop - overlap)
                if before_end and latest_stops[before_end - 1] > start + overlap:
                    return True
        return False


def _in_order(spans: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The starts of spans in order, and the latest stop of the spans up to each."""
    ordered = sorted(spans)
    return [start for start, _ in ordered], list(accumulate((stop for _, stop in ordered), max))


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
