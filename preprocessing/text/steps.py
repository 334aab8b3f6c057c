"""What a text profile is made of: named steps in an order, with a version, and the steps on characters."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing that a profile does. `examples` are texts that show it; the command runs them, so they cannot lie."""

    says: str
    rule: Callable[[str], str]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A normalisation that can be called on raw text. `version` rises whenever any output changes.

    >>> Profile("shout", 1, "upper case", (Step("upper case", str.upper),))("hey")
    'HEY'
    """

    name: str
    version: int
    description: str
    steps: tuple[Step, ...]

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step.rule(text)
        return text


class CharacterTable(dict[int, str]):
    """A table for str.translate that asks `rule` once about each character it meets.

    >>> "a-b".translate(CharacterTable(lambda character: " " if character == "-" else character))
    'a b'
    """

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = self._rule(chr(code))
        return self[code]


# Typed for an apostrophe: quotation marks, modifier letters, lone accents, Greek, Armenian and Hebrew signs.
# Folded before NFKC, which would turn a lone accent into a space with a combining mark.
APOSTROPHES = "’‘‛ʼʻ`´＇\u055a\u05f3\u1fbd\u1fbf\u1fef\u1ffd"
_APOSTROPHES = CharacterTable(
    lambda character: "'" if character in APOSTROPHES else "'n" if character == "ŉ" else character
)
_GRAPHEME_JOINER = "\u034f"
# Where only letters, digits, marks, apostrophes and white space are left, a mark is what is none of the others.
_LONE_MARKS = re.compile(r"(?<![^\s'])[^\w\s']+")
_OUTER_APOSTROPHES = re.compile(r"(?<![^\s'])'|'(?!\w)")


def is_mark(character: str) -> bool:
    """A combining mark: it belongs to the letter before it, in the scripts that need it."""
    return unicodedata.category(character).startswith("M")


def is_letter_or_digit(character: str) -> bool:
    """A part of a word in any script; combining marks are."""
    return character.isalnum() or is_mark(character)


def _is_invisible(character: str) -> bool:
    """Format characters (soft hyphen, zero-width joiners, marks of direction) and selectors of variants."""
    return (
        unicodedata.category(character) == "Cf"
        or "VARIATION SELECTOR" in unicodedata.name(character, "")
        or character == _GRAPHEME_JOINER
    )


_VISIBLE = CharacterTable(lambda character: "" if _is_invisible(character) else character)
_WORDS = CharacterTable(lambda character: character if is_letter_or_digit(character) or character == "'" else " ")
# Turkish and Azerbaijani write two letters i; Python's lower() knows one.
_DOTLESS = str.maketrans({"I": "ı", "İ": "i"})


def visible(text: str) -> str:
    r"""Without invisible characters; what they stood between closes up.

    >>> visible("co\u00adoperate")
    'cooperate'
    """
    return text if text.isascii() else text.translate(_VISIBLE)


def compose(text: str) -> str:
    """One apostrophe for all, and NFKC: one code point where there is one, no ligatures, no full-width forms.

    >>> compose("it’s ﬁne")
    "it's fine"
    """
    if text.isascii():
        return text.replace("`", "'")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).translate(_APOSTROPHES))


def lower(text: str) -> str:
    """Lower case, composed again: ß stays ß, and İ becomes i with a dot above."""
    return unicodedata.normalize("NFKC", text.lower())


def lower_turkic(text: str) -> str:
    """Lower case of Turkish and Azerbaijani: I is ı, İ is i."""
    return lower(text.translate(_DOTLESS))


def upper(text: str) -> str:
    """Upper case, composed again: ß becomes SS."""
    return unicodedata.normalize("NFKC", text.upper())


def words(text: str) -> str:
    """Letters, digits, combining marks on a letter and apostrophes; everything else is a space.

    >>> words("well—it's no. 9!")
    "well it's no  9 "
    """
    return _LONE_MARKS.sub("", text.translate(_WORDS))


def without_outer_apostrophes(text: str) -> str:
    """Apostrophes inside words stay, others are a space.

    >>> without_outer_apostrophes("'tis the smiths' o'clock")
    " tis the smiths  o'clock"
    """
    return _OUTER_APOSTROPHES.sub(" ", text) if "'" in text else text


def close_up(text: str) -> str:
    """One space between words, none outside."""
    return " ".join(text.split())


def close_up_words(text: str) -> str:
    """One space between words, none outside; a word of nothing but apostrophes is none."""
    if "'" not in text:
        return close_up(text)
    return " ".join(word for word in text.split() if word.strip("'"))


VISIBLE = Step(
    "invisible characters removed: soft hyphens, zero-width joiners, emoji selectors", visible, ("co\u00adop",)
)
COMPOSE = Step("all apostrophes one, Unicode NFKC: composed letters, no ligatures", compose, ("it’s Ｅﬃciency²",))
LOWER = Step("lower case", lower, ("Straße ÉTÉ",))
LOWER_TURKIC = Step("lower case, I to ı and İ to i", lower_turkic, ("Iğdır İzmir",))
UPPER = Step("upper case", upper, ("Straße été",))
WORDS = Step("all but letters, digits, combining marks and apostrophes to a space", words, ("“Well—no!” हिन्दी 🎉",))
INNER = Step("apostrophes outside words to a space", without_outer_apostrophes, ("the smiths' o'clock",))
CLOSE_UP = Step("white space closed up", close_up, (" a \t b ",))
CLOSE_UP_WORDS = Step("white space closed up, lone apostrophes dropped", close_up_words, (" a \t ' b ",))
