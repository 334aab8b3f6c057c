"""A new vocabulary of any kind from normalised texts, the most frequent units first where a size cuts it.

Nothing is drawn at random: the same texts give the same units in the same order.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from preprocessing.cli.errors import UsageError
from preprocessing.units import splitting as bpe
from preprocessing.units import syllables
from preprocessing.units.splitting import WORD_BOUNDARY, Characters, Splitter, Words
from preprocessing.units.vocabulary import SPECIAL, Vocabulary, alphabet

KINDS = ("characters", "syllables", "bpe", "words")


def build(
    kind: str,
    texts: Sequence[str],
    *,
    size: int | None = None,
    language: str | None = None,
    syllable_counts: Mapping[str, int] | None = None,
    flag: str = "size",
) -> Vocabulary:
    """The units of normalised texts.

    size: units that write text, boundary and characters among them (`Vocabulary.size`), at the most; None, for all but
        bpe, is every unit of the texts.
    language: of the hyphenation (syllables). syllable_counts: what `syllables.read_cmudict` gives, for English.
    flag: what an error about the size calls it.
    Raises UsageError on a kind that does not exist, texts without a word, or a size below what the kind needs.

    >>> build("words", ["TO BE OR NOT TO BE"]).units[5:]
    (' BE', ' TO', ' NOT', ' OR')
    """
    check_kind(kind)
    letters = alphabet(texts)
    if not letters:
        raise UsageError(f"no text to make {kind} of; expected a word or more: check the corpus and its text profile")
    smallest = 2 if kind == Words.kind else len(letters) + 1
    if kind == bpe.BytePairs.kind and size is None:
        raise UsageError(f"{flag} is not set; expected how many bpe units to learn: set it, to 500 for example")
    if size is not None and size < smallest:
        need = "a word and the boundary" if kind == Words.kind else "the characters of the texts and the boundary"
        raise UsageError(f"{flag} is {size}; expected {smallest} or more for {kind}, {need}: raise it")
    splitter, pieces = _units(kind, texts, letters, size, language, syllable_counts or {})
    units = dict.fromkeys((*SPECIAL, WORD_BOUNDARY, *pieces))
    return Vocabulary(tuple(units)[: None if size is None else size + len(SPECIAL)], splitter=splitter)


def check_kind(kind: str) -> None:
    """Raises UsageError naming the nearest kind there is."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.3)
        nearest = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown kind of unit {kind!r}; expected one of {', '.join(KINDS)}{nearest}")


def by_frequency(counts: Mapping[str, int]) -> list[str]:
    """The most frequent first, in code-point order where equally frequent."""
    return sorted(counts, key=lambda unit: (-counts[unit], unit))


def _units(
    kind: str,
    texts: Sequence[str],
    letters: Sequence[str],
    size: int | None,
    language: str | None,
    syllable_counts: Mapping[str, int],
) -> tuple[Splitter, Sequence[str]]:
    """How the kind splits, and its units, those to keep first."""
    if kind == Characters.kind:
        return Characters(), letters
    words = Counter(word for text in texts for word in text.split())
    if kind == Words.kind:
        return Words(), by_frequency({f" {word}": n for word, n in words.items() if WORD_BOUNDARY not in word})
    if kind == bpe.BytePairs.kind:
        assert size is not None
        pairs = bpe.learn(texts, letters, size, reserved=(*SPECIAL, WORD_BOUNDARY))
        return pairs, [*letters, *(first + second for first, second in pairs.merges)]
    if language is None:
        raise UsageError("syllables need the language of the hyphenation; expected one such as en_US or de_DE: name it")
    splitter = syllables.learn(words, language, syllable_counts)
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for piece in splitter.pieces(word):
            counts[piece] += n
    for reserved in (*SPECIAL, *letters):
        counts.pop(reserved, None)
    return splitter, [*letters, *(piece for piece in by_frequency(counts) if WORD_BOUNDARY not in piece)]
