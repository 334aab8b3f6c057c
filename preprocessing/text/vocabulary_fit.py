"""Steps that fit text to a CTC vocabulary: its case, its apostrophe, its punctuation, its digits.

No letter is dropped. One that the vocabulary lacks stays in the text, for training to report (`Vocabulary.outside`),
unless `transliterate` is set and finds plain letters for it that the vocabulary has.
"""

import re
import unicodedata

from preprocessing.text.language_letters import (
    base_language,
    inner_sign_pattern,
    is_turkic,
    letter_variants,
    lower_turkic,
    swapcase,
    upper_turkic,
)
from preprocessing.text.steps import CharacterTable, is_letter_or_digit, is_mark, lower, part_numbers, upper

_BOUNDARIES = frozenset("|▁")
_PLAIN_PUNCTUATION = str.maketrans(dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‐‑‒–—―", "-"))
_PLAIN_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_GERMAN_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue"}


def characters_of(units: tuple[str, ...]) -> frozenset[str]:
    """The characters of all units but special ones (<pad>, [UNK]) and word boundaries.

    >>> sorted(characters_of(("<pad>", "|", "A", "ING")))
    ['A', 'G', 'I', 'N']
    """
    textual = [unit for unit in units if len(unit) == 1 or unit[0] + unit[-1] not in ("<>", "[]")]
    return frozenset(character for unit in textual for character in unit) - _BOUNDARIES - {" "}


def case_of(characters: frozenset[str]) -> str:
    """`upper` or `lower` where the letters are of one case, else `both` (also without case). ß counts as caseless."""
    upper = any(character.isupper() for character in characters)
    lower = any(character.islower() and len(character.upper()) == 1 for character in characters)
    return "upper" if upper and not lower else "lower" if lower and not upper else "both"


def _both_ways(variants: dict[str, str]) -> dict[str, str]:
    """The letters among the variants, and for each of them the first that it stands for."""
    letters = {variant: letter for variant, letter in variants.items() if letter}
    return {letter: variant for variant, letter in reversed(letters.items())} | letters


class VocabularyFit:
    """Replaces each character that the vocabulary lacks by the nearest that it has.

    characters: of the vocabulary; one that Unicode's composed forms take apart, as they do most Indic letters with a
    nukta (ड़, U+095C), stands for its parts unless the vocabulary has all of these. language: whose case it is (ı and I
    in tr), whose signs inside words (l·l in ca) and letters of two code points (ی and ي in fa); de transliterates ä as
    ae.
    transliterate: é as e, where é is missing.
    Called on a text, it returns the text without punctuation and symbols outside the vocabulary; letters outside stay.
    """

    def __init__(self, characters: frozenset[str], *, language: str | None, transliterate: bool) -> None:
        self._characters = characters
        self._case = case_of(characters)
        self._language = language
        self._lower, self._upper = (lower_turkic, upper_turkic) if is_turkic(language) else (lower, upper)
        self._variants = _both_ways(letter_variants(language))
        self._inner_sign = inner_sign_pattern(language)
        self._plain_letters = _PLAIN_LETTERS | (_GERMAN_LETTERS if base_language(language) == "de" else {})
        self._transliterate = transliterate
        self._table = CharacterTable(self._replacement)
        composed = {unicodedata.normalize("NFC", character): character for character in sorted(characters)}
        self._excluded = {
            whole: character
            for whole, character in composed.items()
            if len(whole) > 1 and not all(part in characters for part in whole)
        }
        self._exclusions = re.compile("|".join(map(re.escape, self._excluded)) or "(?!)")

    def __call__(self, text: str) -> str:
        text = part_numbers(text)
        if self._excluded:
            text = self._exclusions.sub(lambda match: self._excluded[match[0]], text)
        if self._inner_sign is not None:
            text = self._inner_sign.sub(self._sign_inside, text)
        return text.translate(self._table)

    def _sign_inside(self, match: re.Match[str]) -> str:
        """The sign, or a near one that the vocabulary has, or nothing: its word stays one."""
        near = [match[0], *('"' if base_language(self._language) == "he" else "")]
        return next((sign for sign in near if sign in self._characters), "")

    def case(self, text: str) -> str:
        """The text in the vocabulary's case; ß stays where the vocabulary has it."""
        if self._case == "both":
            return text
        if self._case == "lower":
            return self._lower(text)
        if "ß" in self._characters:
            return "ß".join(self._upper(part) for part in text.split("ß"))
        return self._upper(text)

    def _replacement(self, character: str) -> str:
        if character in self._characters or character.isspace():
            return character
        if character == "'":
            return "’" if "’" in self._characters else ""
        for candidate in (
            unicodedata.normalize("NFKD", character),
            swapcase(character, self._language),
            self._variants.get(character, ""),
            character.translate(_PLAIN_PUNCTUATION),
        ):
            if self._has_all(candidate):
                return candidate
        if (decimal := unicodedata.decimal(character, None)) is not None and str(decimal) in self._characters:
            return str(decimal)
        if not is_letter_or_digit(character):
            return " "
        return self._transliterated(character) if self._transliterate else character

    def _transliterated(self, character: str) -> str:
        """é as e, ß as ss; a combining mark is left out, and any other letter stays."""
        if is_mark(character):
            return ""
        lower = character.lower()
        bare = "".join(part for part in unicodedata.normalize("NFKD", lower) if not is_mark(part))
        plain = self._plain_letters.get(lower, bare)
        for candidate in (plain.upper(), plain) if character.isupper() else (plain, plain.upper()):
            if self._has_all(candidate):
                return candidate
        return character

    def _has_all(self, text: str) -> bool:
        return bool(text) and all(character in self._characters for character in text)
