"""Written syllables: words split by pyphen's hyphenation, for English into as many parts as CMUdict counts syllables.

Hyphenation (Liang 1983, the patterns of LibreOffice) works on letters in many languages, but leaves out points that
print badly: A-BOUT. CMUdict says how many syllables are spoken, not where the letters part. So for a word in CMUdict:
  too many points: those are removed first whose two parts are shortest together;
  too few: points are added where English could begin a syllable, the longest such onset to the right (BO-DY, not
  BOD-Y), then between two vowels (PO-EM); in the part with the most vowel groups first, leftmost on a tie.
No vowels are parted for a syllable that has no vowel letter of its own (COULDN'T, TOU-RISM, MCLEAN: one part less).
A part without a vowel letter always joins its neighbour. The parts, joined, are the word.
"""

import difflib
import gzip
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

from preprocessing.errors import InputError, UsageError
from preprocessing.units.splitting import SPECIAL, WORD_BOUNDARY, LearningOptions, Splitter, by_frequency

ONSETS = frozenset((
    "b", "bl", "br", "c", "ch", "chr", "cl", "cr", "d", "dr", "dw", "f", "fl", "fr", "g", "gh", "gl", "gn", "gr",
    "h", "j", "k", "kn", "l", "m", "n", "p", "ph", "pl", "pr", "qu", "r", "s", "sc", "sch", "scr", "sh", "shr",
    "sk", "sl", "sm", "sn", "sp", "spl", "spr", "squ", "st", "str", "sw", "t", "th", "thr", "tr", "tw", "v", "w",
    "wh", "wr", "x", "y", "z",
))  # fmt: skip
_USUAL_PATTERNS = {"en": "en_US", "no": "nb_NO"}  # of a language without a region; of others named like de_DE
VOWELS = frozenset("aeiouy")
# Syllables without a vowel letter: n't and 'll after a consonant, 's after a sibilant, the m of -ism and -thm, Mc-.
_UNWRITTEN = re.compile(
    r"(?<![aeiouy])n't|(?<![aeiouy])'ll\b|(?:s|x|z|sh|ch)'s\b|(?:[aiy]s|th)ms?\b|^mc(?![aeiouy])", re.IGNORECASE
)


@dataclass(frozen=True)
class Syllables(Splitter):
    """Splits a word as `splits` says, any other by hyphenation."""

    kind: ClassVar[str] = "syllables"
    language: str
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Words that a pronouncing dictionary splits otherwise, kept so that a saved vocabulary needs no dictionary."""

    @cached_property
    def _hyphenation(self) -> Any:
        return hyphenation(self.language)

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        return dict(self.splits)

    def pieces(self, word: str) -> Sequence[str]:
        if word not in self._known:
            self._known[word] = parts(word, points(word, self._hyphenation))
        return self._known[word]

    @classmethod
    def learn(cls, texts: Sequence[str], alphabet: Sequence[str], options: LearningOptions) -> tuple[Self, list[str]]:
        """As `Splitter.learn`. Raises UsageError without a language, or on one that pyphen lacks."""
        if options.language is None:
            raise UsageError(
                "syllables need the language of the hyphenation; expected one such as en_US or de_DE: name it"
            )
        words = Counter(word for text in texts for word in text.split())
        splitter = cls.fitted_to(words, options.language, options.syllable_counts)
        pieces: Counter[str] = Counter()
        for word, n in words.items():
            for piece in splitter.pieces(word):
                pieces[piece] += n
        for reserved in (*SPECIAL, *alphabet):
            pieces.pop(reserved, None)
        return splitter, [*alphabet, *(piece for piece in by_frequency(pieces) if WORD_BOUNDARY not in piece)]

    @classmethod
    def fitted_to(cls, words: Iterable[str], language: str, counts: Mapping[str, int]) -> Self:
        """A splitter that splits each of the words into as many parts as `counts` has for it in lower case, if any."""
        by_hyphenation = cls(language)
        splits = {}
        for word in sorted(set(words)):
            count = counts.get(word.lower())
            if count is not None:
                split = parts(word, fitted(word, points(word, by_hyphenation._hyphenation), count))
                if split != by_hyphenation.pieces(word):
                    splits[word] = split
        return cls(language, splits)

    def settings(self) -> dict[str, Any]:
        return {"language": self.language, "splits": {word: " ".join(split) for word, split in self.splits.items()}}

    @classmethod
    def from_settings(cls, settings: dict[str, Any], units: set[str]) -> Self:
        splits = {word: tuple(split.split(" ")) for word, split in settings["splits"].items()}
        return cls(settings["language"], splits)


def read_cmudict(path: Path) -> dict[str, int]:
    """The number of syllables of each word in lower case: its vowels, which alone have a stress digit.

    Of several pronunciations the first counts. Raises InputError when the file is missing or is no such dictionary.
    """
    counts: dict[str, int] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                word, *phones = line.split("#")[0].split()
                if not word.endswith(")"):  # a(2) is another pronunciation of a
                    counts[word.lower()] = sum(phone[-1].isdigit() for phone in phones)
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: cannot be read ({reason}); expected CMUdict, a word and its phones on each line: correct the path"
        ) from None
    if not any(counts.values()):
        raise InputError(f"{path}: no phones with stress digits; expected CMUdict, as in `body B AA1 D IY0`")
    return counts


def hyphenation(language: str) -> Any:
    """pyphen's patterns of a language, such as en_US or de. Raises UsageError naming the nearest language."""
    import pyphen

    found = pyphen.language_fallback(language)
    if found is None:
        near = difflib.get_close_matches(language, pyphen.LANGUAGES, n=3, cutoff=0.4) or ["en_US", "de_DE"]
        raise UsageError(
            f"no hyphenation for language {language!r}; expected one that pyphen has, such as {', '.join(near)}: "
            "choose one of them"
        )
    return pyphen.Pyphen(lang=found, left=1, right=1)


def hyphenation_of(code: str) -> str | None:
    """pyphen's name of the hyphenation of a language, of its region where pyphen has that; None where it has neither.

    code: Whisper's, as of `preprocessing.text.languages.regional_code`.

    >>> [hyphenation_of(code) for code in ("de", "de-CH", "en", "en-GB", "en-IN", "no", "sv", "zh")]
    ['de_DE', 'de_CH', 'en_US', 'en_GB', 'en_US', 'nb_NO', 'sv', None]
    """
    import pyphen

    language, _, region = code.partition("-")
    usual = _USUAL_PATTERNS.get(language, f"{language}_{language.upper()}")
    return next((name for name in (f"{language}_{region}", usual, language) if name in pyphen.LANGUAGES), None)


def points(word: str, patterns: Any) -> list[int]:
    """The points, as indices into the word, at which hyphenation splits it; none that leaves a part without a vowel."""
    if len(word.lower()) != len(word):  # pyphen looks at lower case: its points would be those of another word
        return []
    found = sorted({int(point) for point in patterns.positions(word) if 0 < point < len(word)})
    return _voiced(word, found) if _has_vowel(word) else found


def parts(word: str, at: Sequence[int]) -> tuple[str, ...]:
    """The parts of a word split at points.

    >>> parts("CHAPTER", [4])
    ('CHAP', 'TER')
    """
    return tuple(word[start:stop] for start, stop in pairwise((0, *at, len(word))))


def fitted(word: str, at: Sequence[int], count: int) -> list[int]:
    """Points that split an English word into `count` syllables, or as near as its letters allow, from the points `at`.

    >>> parts("COMFORTABLY", fitted("COMFORTABLY", [3, 7], 4))
    ('COM', 'FORT', 'A', 'BLY')
    """
    chosen = list(at)
    while len(chosen) >= max(count, 1):
        edges = (0, *chosen, len(word))
        chosen.remove(min(chosen, key=lambda point: edges[edges.index(point) + 1] - edges[edges.index(point) - 1]))
    groups = vowel_groups(word)
    onsets = [_onset(word, first[1], second[0]) for first, second in pairwise(groups)]
    hiatuses = [point for start, stop in groups for point in range(start + 1, stop)]
    written = count - len(_UNWRITTEN.findall(word))
    for candidates, wanted in ((onsets, count), (hiatuses, written)):
        while len(chosen) + 1 < wanted:
            longer = {point: sorted([*chosen, point]) for point in candidates if point not in chosen}
            crowding = {
                point: _vowel_groups_around(groups, chosen, point)
                for point, at in longer.items()
                if _voiced(word, at) == at
            }
            if not crowding:
                break
            chosen = longer[min(crowding, key=lambda point: (-crowding[point], point))]
    return chosen


def vowel_groups(word: str) -> list[tuple[int, int]]:
    """Runs of vowel letters as (start, stop). A y before a vowel (BEYOND) and the u of qu count as consonants.

    >>> vowel_groups("QUESTION")
    [(2, 3), (5, 7)]
    """
    letters = "".join(_plain(letter) for letter in word)
    letters = re.sub(r"(^|[aeiou])y(?=[aeiou])", r"\1j", letters)
    letters = letters.replace("qu", "qw")
    return [found.span() for found in re.finditer("[aeiouy]+", letters)]


def _onset(word: str, stop: int, start: int) -> int:
    """The start of the longest English onset that ends where the second of two vowel groups starts."""
    return next((point for point in range(stop, start) if word[point:start].lower() in ONSETS), max(start - 1, stop))


def _vowel_groups_around(groups: Collection[tuple[int, int]], at: Sequence[int], point: int) -> int:
    start = max((other for other in at if other < point), default=0)
    stop = min((other for other in at if other > point), default=10**6)
    return sum(start <= group[0] < stop for group in groups)


def _voiced(word: str, at: Sequence[int]) -> list[int]:
    """The points without those that leave a part without a vowel letter: such a part joins the one before it."""
    kept: list[int] = []
    start = 0
    for point in at:
        if _has_vowel(word[start:point]):
            kept.append(point)
            start = point
    if kept and not _has_vowel(word[kept[-1] :]):
        kept.pop()
    return kept


def _has_vowel(part: str) -> bool:
    return any(_plain(letter) in VOWELS for letter in part)


def _plain(letter: str) -> str:
    """One lower-case letter without its diacritics, or the letter itself."""
    plain = unicodedata.normalize("NFD", letter)[0].lower()
    return plain if len(plain) == 1 else letter
