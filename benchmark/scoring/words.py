"""What went wrong word by word: confused words, repetition loops, words heard where nothing was said."""

from collections import Counter
from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from benchmark.results import Confusion

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
