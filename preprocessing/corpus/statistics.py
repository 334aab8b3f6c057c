"""Statistics of a corpus from its texts, durations, names and levels, and what it shares with another corpus."""

import functools
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus.levels import CLIP_SAMPLES, Sound
from preprocessing.corpus.utterance import Corpus, Utterance
from preprocessing.frames import frames_in, frames_needed
from preprocessing.text import Profile

OUTLIER_Z = 3.5  # of the modified z-score (Iglewicz and Hoaglin 1993), here of log characters per second
FEWEST_FOR_OUTLIERS = 10
NARROWEST_SPREAD = 0.05  # of log characters per second: what varies less would make outliers of nothing
LONG_SILENCE_SECONDS = 1.0
UNNAMED = "(not given)"


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a quantity over utterances; NaN where there are none."""

    low: float  # the least
    p5: float
    median: float
    p95: float
    high: float  # the most


@dataclass(frozen=True, slots=True)
class Finding:
    """An utterance to look at, and why."""

    id: str
    why: str


@dataclass(frozen=True)
class TextFacts:
    """Of the texts under the profile."""

    profile: str
    empty: int
    distinct: int
    repeated: tuple[tuple[str, int], ...]  # the most frequent texts that occur more than once
    characters_per_second: Spread
    unlikely_rates: tuple[Finding, ...]  # most extreme first
    do_not_fit: tuple[Finding, ...]  # CTC: characters and repeats outnumber the frames


@dataclass(frozen=True)
class SoundFacts:
    """Of the decoded audio."""

    failed: tuple[Finding, ...]
    rms_dbfs: Spread
    peak_dbfs: Spread
    full_scale_share: float  # of all samples
    clipped: tuple[Finding, ...]
    leading_silence_seconds: Spread
    trailing_silence_seconds: Spread
    long_silence: tuple[Finding, ...]
    silent: tuple[str, ...]
    wrong_durations: tuple[Finding, ...]
    duplicates: tuple[tuple[str, ...], ...]  # ids whose audio is the same, sample by sample
    duplicates_of_other_text: int  # of these groups: the same audio with different texts


@dataclass(frozen=True)
class Statistics:
    """Everything the command says of one corpus."""

    reference: str
    utterances: int
    hours: float
    set_aside: tuple[Finding, ...]
    duration_seconds: Spread
    minutes_by_speaker: dict[str, float]  # most first
    gini: float  # of minutes by speaker: 0 all alike, towards 1 one says all
    hours_by_sex: dict[str, float]
    hours_by_language: dict[str, float]
    hours_by_domain: dict[str, float]
    text: TextFacts
    sound: SoundFacts | None


def summarise(corpus: Corpus, profile: Profile, sounds: Sequence[Sound | str] | None) -> Statistics:
    """sounds: of each utterance in order, as `measure_all` gives them; None leaves the sound out."""
    utterances = corpus.utterances
    minutes = {name: 60.0 * hours for name, hours in _hours(utterances, lambda u: u.speaker).items()}
    named = [value for name, value in minutes.items() if name != UNNAMED]
    texts = [profile(utterance.text) for utterance in utterances]
    return Statistics(
        reference=corpus.reference,
        utterances=len(utterances),
        hours=corpus.seconds / 3600,
        set_aside=tuple(Finding(reject.where, reject.reason) for reject in corpus.rejects),
        duration_seconds=spread(utterance.duration for utterance in utterances),
        minutes_by_speaker=minutes,
        gini=gini(named),
        hours_by_sex=_hours(utterances, lambda u: u.sex),
        hours_by_language=_hours(utterances, lambda u: u.language),
        hours_by_domain=_hours(utterances, lambda u: u.domain),
        text=_text_facts(utterances, texts, profile),
        sound=None if sounds is None else _sound_facts(utterances, texts, sounds),
    )


def spread(values: Iterable[float]) -> Spread:
    """
    >>> spread([3.0, 1.0, 2.0])
    Spread(low=1.0, p5=1.1, median=2.0, p95=2.9, high=3.0)
    """
    found = np.fromiter(values, dtype=np.float64)
    if len(found) == 0:
        return Spread(*[math.nan] * 5)
    found = np.maximum(found, -200.0)  # of decibels: what is silent has -inf, which no percentile survives
    return Spread(*(round(float(q), 6) for q in np.quantile(found, [0.0, 0.05, 0.5, 0.95, 1.0])))


def gini(values: Sequence[float]) -> float:
    """Gini coefficient: half the mean absolute difference of all pairs, over the mean.

    >>> gini([5.0, 5.0]), gini([0.0, 0.0, 0.0, 8.0])
    (0.0, 0.75)
    """
    ordered = np.sort(np.array(values, dtype=np.float64))
    if len(ordered) == 0 or ordered.sum() == 0.0:
        return 0.0
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def group_by(ids: Sequence[str], keys: Sequence[Hashable]) -> list[tuple[str, ...]]:
    """Ids that share a key with another, in order; a key of None is nobody's."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, key in zip(ids, keys, strict=True):
        if key is not None:
            groups[key].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def unlikely_rates(ids: Sequence[str], rates: Sequence[float]) -> list[Finding]:
    """Utterances far from the corpus's own median of characters per second: their transcript is likely not theirs.

    The modified z-score 0.6745 (x - median) / MAD of log rates, beyond 3.5; most extreme first.
    """
    if len(rates) < FEWEST_FOR_OUTLIERS:
        return []
    logs = np.log(np.array(rates))
    median = float(np.median(logs))
    scale = max(float(np.median(np.abs(logs - median))), NARROWEST_SPREAD)
    scores = 0.6745 * (logs - median) / scale
    far = [index for index in np.argsort(-np.abs(scores), kind="stable") if abs(scores[index]) > OUTLIER_Z]
    return [
        Finding(ids[index], f"{rates[index]:.1f} characters a second, the median has {math.exp(median):.1f}")
        for index in far
    ]


def _hours(utterances: Iterable[Utterance], name: Callable[[Utterance], str | None]) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    for utterance in utterances:
        seconds[name(utterance) or UNNAMED] += utterance.duration  # type: ignore[assignment]
    return {key: value / 3600 for key, value in seconds.most_common()}


def _text_facts(utterances: Sequence[Utterance], texts: Sequence[str], profile: Profile) -> TextFacts:
    counts = Counter(texts)
    spoken = [(u.id, len(text) / u.duration) for u, text in zip(utterances, texts, strict=True) if text]
    ids, rates = [name for name, _ in spoken], [rate for _, rate in spoken]
    too_long = []
    for utterance, text in zip(utterances, texts, strict=True):
        needed, frames = frames_needed(text), frames_in(utterance.duration)
        if needed > frames:
            too_long.append(Finding(utterance.id, f"{needed} characters with repeats in {frames} frames of 20 ms"))
    return TextFacts(
        profile=f"{profile.name} {profile.version}",
        empty=counts[""],
        distinct=len(counts),
        repeated=tuple((text, count) for text, count in counts.most_common(10) if count > 1),
        characters_per_second=spread(rates),
        unlikely_rates=tuple(unlikely_rates(ids, rates)),
        do_not_fit=tuple(too_long),
    )


def _sound_facts(utterances: Sequence[Utterance], texts: Sequence[str], sounds: Sequence[Sound | str]) -> SoundFacts:
    failed = [Finding(u.id, sound) for u, sound in zip(utterances, sounds, strict=True) if isinstance(sound, str)]
    heard = [(u, t, s) for u, t, s in zip(utterances, texts, sounds, strict=True) if isinstance(s, Sound)]
    text_of = {u.id: text for u, text, _ in heard}
    duplicates = group_by([u.id for u, _, _ in heard], [sound.digest for _, _, sound in heard])
    return SoundFacts(
        failed=tuple(failed),
        rms_dbfs=spread(sound.rms_dbfs for _, _, sound in heard),
        peak_dbfs=spread(sound.peak_dbfs for _, _, sound in heard),
        full_scale_share=sum(sound.full_scale_samples for _, _, sound in heard)
        / max(sum(round(sound.seconds * SAMPLE_RATE) for _, _, sound in heard), 1),
        clipped=tuple(
            Finding(u.id, f"{sound.full_scale_samples} samples at full scale, {sound.longest_clip_samples} in a row")
            for u, _, sound in sorted(heard, key=lambda one: -one[2].longest_clip_samples)
            if sound.longest_clip_samples >= CLIP_SAMPLES
        ),
        leading_silence_seconds=spread(sound.leading_silence_seconds for _, _, sound in heard),
        trailing_silence_seconds=spread(sound.trailing_silence_seconds for _, _, sound in heard),
        long_silence=tuple(
            Finding(u.id, f"{sound.leading_silence_seconds:.1f} s before, {sound.trailing_silence_seconds:.1f} s after")
            for u, _, sound in heard
            if not sound.silent
            and max(sound.leading_silence_seconds, sound.trailing_silence_seconds) > LONG_SILENCE_SECONDS
        ),
        silent=tuple(u.id for u, _, sound in heard if sound.silent),
        wrong_durations=tuple(
            Finding(u.id, f"the corpus says {u.duration:.2f} s, the audio holds {sound.seconds:.2f} s")
            for u, _, sound in heard
            if not u.lasts(sound.seconds)
        ),
        duplicates=tuple(duplicates),
        duplicates_of_other_text=sum(len({text_of[name] for name in group}) > 1 for group in duplicates),
    )


LONG_WORDS = 5  # a sentence of so many words is hardly said twice by chance


@dataclass(frozen=True)
class Leaks:
    """Of `corpus` beside `other`. Counts are of utterances of `corpus`; the tuples name what is shared."""

    other: str
    other_utterances: int
    utterances_with_shared_text: int
    utterances_with_long_shared_text: int  # of five words or more
    shared_texts: tuple[str, ...]  # longest first
    speakers: tuple[str, ...]
    utterances_of_shared_speakers: int
    ids: tuple[str, ...]
    files: tuple[str, ...]  # the same part of the same file
    audio: tuple[tuple[str, str], ...] | None  # id here, id there, equal sample by sample; None where not measured


def find_leaks(
    corpus: Corpus,
    other: Corpus,
    profile: Profile,
    sounds: tuple[Sequence[Sound | str], Sequence[Sound | str]] | None = None,
) -> Leaks:
    """sounds: of both corpora's utterances in their order; None compares files by their paths alone."""
    theirs = other.utterances
    texts = {profile(utterance.text) for utterance in theirs} - {""}
    ours = [(utterance, profile(utterance.text)) for utterance in corpus.utterances]
    shared = [text for _, text in ours if text in texts]
    speakers = {u.speaker for u in corpus.utterances} & {u.speaker for u in theirs} - {None}
    ids = {utterance.id for utterance in theirs}
    files = {_file(utterance) for utterance in theirs} - {None}
    return Leaks(
        other=other.reference,
        other_utterances=len(theirs),
        utterances_with_shared_text=len(shared),
        utterances_with_long_shared_text=sum(len(text.split()) >= LONG_WORDS for text in shared),
        shared_texts=tuple(sorted(set(shared), key=lambda text: (-len(text), text))),
        speakers=tuple(sorted(str(speaker) for speaker in speakers)),
        utterances_of_shared_speakers=sum(u.speaker in speakers for u in corpus.utterances),
        ids=tuple(u.id for u in corpus.utterances if u.id in ids),
        files=tuple(u.id for u in corpus.utterances if _file(u) in files),
        audio=None if sounds is None else tuple(_same_audio(corpus.utterances, theirs, *sounds)),
    )


def _file(utterance: Utterance) -> tuple[str, float, float | None] | None:
    if isinstance(utterance.audio, bytes):
        return None
    folder, name = os.path.split(os.fspath(utterance.audio))
    return os.path.join(_real(folder), name), utterance.start, utterance.stop


@functools.lru_cache(maxsize=100_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _same_audio(
    ours: Sequence[Utterance], theirs: Sequence[Utterance], our: Sequence[Sound | str], their: Sequence[Sound | str]
) -> list[tuple[str, str]]:
    known: dict[bytes, str] = {}
    for utterance, sound in zip(theirs, their, strict=True):
        if isinstance(sound, Sound) and not sound.silent:  # all silences of a length are alike
            known.setdefault(sound.digest, utterance.id)
    return [
        (utterance.id, known[sound.digest])
        for utterance, sound in zip(ours, our, strict=True)
        if isinstance(sound, Sound) and sound.digest in known
    ]
