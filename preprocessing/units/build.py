"""Building a new vocabulary of any kind from normalised texts. The same texts give the same units in the same order."""

import difflib
from collections.abc import Mapping, Sequence

from preprocessing.errors import UsageError
from preprocessing.units.splitting import SPECIAL, WORD_BOUNDARY, LearningOptions, alphabet_of
from preprocessing.units.vocabulary import SPLITTERS, Vocabulary

KINDS = tuple(SPLITTERS)


def build(
    kind: str,
    texts: Sequence[str],
    *,
    size: int | None = None,
    language: str | None = None,
    syllable_counts: Mapping[str, int] | None = None,
    flag: str = "size",
) -> Vocabulary:
    """A vocabulary of the units of normalised texts.

    kind: one of KINDS. size: units that write text, boundary and characters among them (`Vocabulary.size`), at most;
        None, for all kinds but bpe, is every unit of the texts.
    language: of the hyphenation (syllables). syllable_counts: what `read_cmudict` gives (syllables, English).
    flag: the option that an error about the size names.
    Raises UsageError on a kind that does not exist, texts without a word, or a size below what the kind needs.

    >>> build("words", ["TO BE OR NOT TO BE"]).units[5:]
    (' BE', ' TO', ' NOT', ' OR')
    """
    check_kind(kind)
    splitter_class = SPLITTERS[kind]
    alphabet = alphabet_of(texts)
    if not alphabet:
        raise UsageError(
            f"no text to build {kind} from; expected a word or more: check the corpus and its text profile"
        )
    minimum = 2 if splitter_class.closed else len(alphabet) + 1
    if splitter_class.size_use == "learns" and size is None:
        raise UsageError(f"{flag} is not set; expected how many {kind} units to learn: set it, to 500 for example")
    if size is not None and size < minimum:
        need = "a word and the boundary" if splitter_class.closed else "the characters of the texts and the boundary"
        raise UsageError(f"{flag} is {size}; expected {minimum} or more for {kind}, {need}: raise it")
    splitter, units = splitter_class.learn(texts, alphabet, LearningOptions(size, language, syllable_counts or {}))
    units = list(dict.fromkeys((*SPECIAL, WORD_BOUNDARY, *units)))
    return Vocabulary(tuple(units[: None if size is None else size + len(SPECIAL)]), splitter=splitter)


def check_kind(kind: str) -> None:
    """Raises UsageError, suggesting the nearest, when `kind` is none of KINDS."""
    if kind not in SPLITTERS:
        near = difflib.get_close_matches(kind, SPLITTERS, n=1, cutoff=0.3)
        nearest = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown kind of unit {kind!r}; expected one of {', '.join(SPLITTERS)}{nearest}")
