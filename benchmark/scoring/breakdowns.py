"""Where the errors are: WER by speaker, duration and other properties, confused words, words in silence."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from benchmark.results import Confusion, Metric, Sample, Slice
from benchmark.scoring.counts import Column, UtteranceCounts
from finetune.metrics import rate, resample

MAX_VALUES = 50  # of a property, such as speakers, with a slice of their own: those with most words, or characters
DURATION_BOUNDS = (5.0, 10.0, 20.0, 30.0)  # seconds
DURATIONS = ("0-5 s", "5-10 s", "10-20 s", "20-30 s", "over 30 s")
MAX_CONFUSIONS = 50  # of each kind: substituted, deleted, inserted


def slices(samples: Sequence[Sample], counts: UtteranceCounts, seed: int, metric: Metric = "wer") -> list[Slice]:
    """WER by domain, speaker, sex, language, duration, speaking rate and the columns of --slices.

    A property with fewer than two values has no slices, and a sample without a value is in none. Each slice draws its
    own speakers where it has enough of them, its utterances elsewhere, so always where it is one speaker. With
    the metric CER, each slice has its CER too.
    """
    found = []
    for by, values, order in _properties(samples, counts, metric):
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if value is not None:
                rows.setdefault(value, []).append(row)
        if len(rows) < 2:
            continue
        if by == "speaker" or len(rows) > MAX_VALUES:
            lengths = {value: int(counts.of(metric)[1][chosen].sum()) for value, chosen in rows.items()}
            order = sorted(rows, key=lambda value: (-lengths[value], value))[:MAX_VALUES]
        for value in order if order is not None else sorted(rows):
            if value in rows:
                found.append(_slice(by, value, samples, counts, rows[value], seed, metric))
    return found


def confusions(pairs: Iterable[tuple[str, str]]) -> list[Confusion]:
    """The most frequent substitutions, deletions and insertions, up to MAX_CONFUSIONS of each, most frequent first.

    pairs: normalised reference and hypothesis of each utterance.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for reference_text, hypothesis_text in pairs:
        reference, hypothesis = reference_text.split(), hypothesis_text.split()
        if reference == hypothesis:
            continue
        for edit in Levenshtein.editops(reference, hypothesis):
            replaced = "" if edit.tag == "insert" else reference[edit.src_pos]
            counts[replaced, "" if edit.tag == "delete" else hypothesis[edit.dest_pos]] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found: list[Confusion] = []
    left = Counter(dict.fromkeys(("substituted", "deleted", "inserted"), MAX_CONFUSIONS))
    for (replaced, recognised), times in ordered:
        kind = "inserted" if not replaced else "deleted" if not recognised else "substituted"
        if left[kind]:
            left[kind] -= 1
            found.append(Confusion(replaced, recognised, times))
    return found


def words_per_minute(n_words: int, seconds: float) -> float:
    """Words a minute; 0 of no audio."""
    return 60.0 * n_words / seconds if seconds else 0.0


def _slice(
    by: str,
    value: str,
    samples: Sequence[Sample],
    counts: UtteranceCounts,
    rows: Sequence[int],
    seed: int,
    metric: Metric,
) -> Slice:
    own = counts.select(rows)
    resampling = resample([samples[row].speaker for row in rows], seed=seed)
    wer = rate(own.errors.tolist(), own.reference_words.tolist(), resampling)
    cer = rate(own.character_errors.tolist(), own.characters.tolist(), resampling) if metric == "cer" else None
    return Slice(by=by, value=value, utterances=len(rows), words=int(own.of(metric)[1].sum()), wer=wer, cer=cer)


def _properties(
    samples: Sequence[Sample], counts: UtteranceCounts, metric: Metric
) -> Iterator[tuple[str, Sequence[str | None], Sequence[str] | None]]:
    """Name, value of each sample, and the order of values where it is not the alphabet's."""
    yield "domain", [sample.domain for sample in samples], None
    yield "speaker", [sample.speaker for sample in samples], None
    yield "sex", [sample.sex for sample in samples], None
    yield "language", [sample.language for sample in samples], None
    seconds = np.array([sample.audio_seconds for sample in samples])
    bins = np.searchsorted(DURATION_BOUNDS, seconds, side="right")
    yield "duration", [DURATIONS[index] for index in bins], DURATIONS
    yield "speaking rate", *_speaking_rates(seconds, counts.of(metric)[1], "characters" if metric == "cer" else "words")
    for name in dict.fromkeys(name for sample in samples for name in sample.columns):
        yield name, [sample.columns.get(name) for sample in samples], None


def _speaking_rates(seconds: NDArray[np.float64], words: Column, unit: str) -> tuple[list[str | None], list[str]]:
    """The tercile of words (or characters) a second of each utterance, named by its bounds, and the terciles in order.

    Utterances without words or length are in none.
    """
    spoken = (words > 0) & (seconds > 0)
    if not spoken.any():
        return [None] * len(words), []
    rates = words / np.where(spoken, seconds, 1.0)
    low, high = np.quantile(rates[spoken], [1 / 3, 2 / 3])
    names = [f"under {low:.2f} {unit}/s", f"{low:.2f}-{high:.2f} {unit}/s", f"over {high:.2f} {unit}/s"]
    thirds = np.searchsorted([low, high], rates, side="right")
    return [names[third] if has_words else None for third, has_words in zip(thirds, spoken, strict=True)], names
