"""The steps that fit text to a CTC vocabulary: its case, its apostrophe, its punctuation, its digits.

A letter is never dropped in silence. One without a place in the vocabulary stays in the text, for training to report
(`Vocabulary.outside`), unless `transliterate` is asked for and gives it plain letters that the vocabulary has.
"""

import unicodedata

from preprocessing.text.steps import CharacterTable, is_letter_or_digit, is_mark

_BOUNDARIES = frozenset("|▁")
_PLAIN = str.maketrans(dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‐‑‒–—―", "-"))
_PLAIN_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_GERMAN_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue"}


def characters_of(units: tuple[str, ...]) -> frozenset[str]:
    """Characters that a vocabulary can write: of all units but special ones (<pad>, [UNK]) and word boundaries.

    >>> sorted(characters_of(("<pad>", "|", "A", "ING")))
    ['A', 'G', 'I', 'N']
    """
    written = [unit for unit in units if len(unit) == 1 or unit[0] + unit[-1] not in ("<>", "[]")]
    return frozenset(character for unit in written for character in unit) - _BOUNDARIES - {" "}


def case_of(characters: frozenset[str]) -> str:
    """`upper`, `lower`, or `both`, which leaves text as it is (also a script without case). ß has no capital here."""
    upper = any(character.isupper() for character in characters)
    lower = any(character.islower() and len(character.upper()) == 1 for character in characters)
    return "upper" if upper and not lower else "lower" if lower and not upper else "both"


class Fit:
    """Rule of the last step: each character itself where the vocabulary has it, else its nearest way to be written."""

    def __init__(self, characters: frozenset[str], *, language: str | None, transliterate: bool) -> None:
        self._characters = characters
        self._case = case_of(characters)
        self._letters = _PLAIN_LETTERS | (_GERMAN_LETTERS if (language or "")[:2] == "de" else {})
        self._transliterate = transliterate
        self._table = CharacterTable(self._one)

    def __call__(self, text: str) -> str:
        return text.translate(self._table)

    def case(self, text: str) -> str:
        """Text in the vocabulary's case; a ß that it has stays."""
        if self._case == "both":
            return text
        if self._case == "lower":
            return unicodedata.normalize("NFKC", text.lower())
        if "ß" in self._characters:
            return "ß".join(unicodedata.normalize("NFKC", part.upper()) for part in text.split("ß"))
        return unicodedata.normalize("NFKC", text.upper())

    def _one(self, character: str) -> str:
        if character in self._characters or character.isspace():
            return character
        if character == "'":
            return "’" if "’" in self._characters else ""
        for other in (unicodedata.normalize("NFD", character), character.swapcase(), character.translate(_PLAIN)):
            if self._holds(other):
                return other
        if (decimal := unicodedata.decimal(character, None)) is not None and str(decimal) in self._characters:
            return str(decimal)
        if not is_letter_or_digit(character):
            return " "
        return self._plain(character) if self._transliterate else character

    def _plain(self, character: str) -> str:
        """é as e, ß as ss; a mark that is no letter of its own is left out, any other letter stays to be reported."""
        if is_mark(character):
            return ""
        small = character.lower()
        bare = "".join(part for part in unicodedata.normalize("NFKD", small) if not is_mark(part))
        plain = self._letters.get(small, bare)
        for other in (plain.upper(), plain) if character.isupper() else (plain, plain.upper()):
            if self._holds(other):
                return other
        return character

    def _holds(self, text: str) -> bool:
        return bool(text) and all(character in self._characters for character in text)
