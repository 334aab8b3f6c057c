"""Where the errors are: WER by speaker, duration and other properties, confused words, repetition loops, words in silence."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmark.results import Confusion, Sample, Slice
from benchmark.scoring.counts import Column, Counted
from finetune.metrics import rate, resample

MOST_SPEAKERS = 50  # slices by speaker: those with most words
DURATION_BOUNDS = (5.0, 10.0, 20.0, 30.0)  # seconds
DURATIONS = ("0-5 s", "5-10 s", "10-20 s", "20-30 s", "over 30 s")


def slices(samples: Sequence[Sample], counted: Counted, seed: int) -> list[Slice]:
    """WER by domain, speaker, sex, language, duration and speaking rate.

    A property that has fewer than two values is left out, and so are samples without it. Each slice draws its own
    speakers where it has enough of them, its utterances elsewhere (so always where it is one speaker).
    """
    found = []
    for by, values, order in _properties(samples, counted):
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if value is not None:
                rows.setdefault(value, []).append(row)
        if len(rows) < 2:
            continue
        if by == "speaker":
            words = {value: int(counted.words[chosen].sum()) for value, chosen in rows.items()}
            order = sorted(rows, key=lambda value: (-words[value], value))[:MOST_SPEAKERS]
        for value in order if order is not None else sorted(rows):
            if value in rows:
                found.append(_slice(by, value, samples, counted, rows[value], seed))
    return found


def _slice(by: str, value: str, samples: Sequence[Sample], counted: Counted, rows: Sequence[int], seed: int) -> Slice:
    own = counted.of(rows)
    drawn = resample([samples[row].speaker for row in rows], seed=seed)
    wer = rate(own.errors.tolist(), own.words.tolist(), drawn)
    return Slice(by, value, len(rows), int(own.words.sum()), wer)


def _properties(
    samples: Sequence[Sample], counted: Counted
) -> Iterator[tuple[str, Sequence[str | None], Sequence[str] | None]]:
    """Name, value of each sample, and the values' order where it is not the alphabet's."""
    yield "domain", [sample.domain for sample in samples], None
    yield "speaker", [sample.speaker for sample in samples], None
    yield "sex", [sample.sex for sample in samples], None
    yield "language", [sample.language for sample in samples], None
    seconds = np.array([sample.audio_seconds for sample in samples])
    bins = np.searchsorted(DURATION_BOUNDS, seconds, side="right")
    yield "duration", [DURATIONS[index] for index in bins], DURATIONS
    yield "speaking rate", *_speaking_rates(seconds, counted.words)


def _speaking_rates(seconds: "np.typing.NDArray[np.float64]", words: Column) -> tuple[list[str | None], list[str]]:
    """Terciles of words a second, named by their bounds; utterances without words or length are in none."""
    spoken = (words > 0) & (seconds > 0)
    if not spoken.any():
        return [None] * len(words), []
    rates = words / np.where(spoken, seconds, 1.0)
    low, high = np.quantile(rates[spoken], [1 / 3, 2 / 3])
    names = [f"under {low:.2f} words/s", f"{low:.2f}-{high:.2f} words/s", f"over {high:.2f} words/s"]
    thirds = np.searchsorted([low, high], rates, side="right")
    return [names[third] if said else None for third, said in zip(thirds, spoken, strict=True)], names


MOST_CONFUSED = 50  # of each kind: substituted, deleted, inserted
LOOP_WORDS = 4  # longest n-gram that is looked for
LOOP_TIMES = 4  # in a row


def confusions(pairs: Iterable[tuple[str, str]]) -> list[Confusion]:
    """The most frequent substitutions, deletions and insertions, up to 50 of each, most frequent first.

    pairs: normalised reference and hypothesis of each utterance.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for reference_text, hypothesis_text in pairs:
        reference, hypothesis = reference_text.split(), hypothesis_text.split()
        if reference == hypothesis:
            continue
        for edit in Levenshtein.editops(reference, hypothesis):
            said = "" if edit.tag == "insert" else reference[edit.src_pos]
            counts[said, "" if edit.tag == "delete" else hypothesis[edit.dest_pos]] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found: list[Confusion] = []
    left = Counter(dict.fromkeys(("substituted", "deleted", "inserted"), MOST_CONFUSED))
    for (said, heard), times in ordered:
        kind = "inserted" if not said else "deleted" if not heard else "substituted"
        if left[kind]:
            left[kind] -= 1
            found.append(Confusion(said, heard, times))
    return found


def loops(reference: str, hypothesis: str) -> bool:
    """Whether one to four words come four times in a row, or more, in the hypothesis and not in the reference.

    Raunak et al. 2021 ("The curious case of hallucinations in neural machine translation") call repeated n-grams that
    the source does not have oscillatory hallucinations; that they follow each other, and how often, is ours.

    >>> loops("thank you", "thank you thank you thank you thank you")
    True
    >>> loops("no no no no", "no no no no no")
    False
    """
    heard = hypothesis.split()
    if len(heard) < LOOP_TIMES:
        return False
    return bool(_repeated(heard) - _repeated(reference.split()))


def _repeated(words: list[str]) -> set[tuple[str, ...]]:
    """Every n-gram that follows itself often enough; one that starts at each of its words counts as one."""
    found = set()
    for n_words in range(1, LOOP_WORDS + 1):
        same = 0  # how many words in a row equal the word n_words before
        for index in range(n_words, len(words)):
            same = same + 1 if words[index] == words[index - n_words] else 0
            if same >= n_words * (LOOP_TIMES - 1):
                gram = words[index - n_words + 1 : index + 1]
                found.add(min(tuple(gram[turn:] + gram[:turn]) for turn in range(n_words)))
    return found


def words_per_minute(heard: int, seconds: float) -> float:
    return 60.0 * heard / seconds if seconds else 0.0
