"""What is written in a corpus's texts that a model would learn to write: annotations, look-alikes, rare characters."""

import unicodedata
from collections import Counter
from collections.abc import Callable

from preprocessing.text.steps import ANNOTATION

_LOOK_ALIKE = frozenset(("LATIN", "GREEK", "CYRILLIC"))  # alphabets whose letters are taken for one another


def annotations(text: str, profile: Callable[[str], str]) -> list[str]:
    """The annotations of a raw text, of which words stay under the profile.

    >>> annotations("[laughter] the <unk> (inaudible) 5 %uh", str.upper)
    ['[laughter]', '<unk>', '(inaudible)', '%uh']
    """
    return [found for found in ANNOTATION.findall(text) if profile(found)]


def mixed_words(text: str) -> list[str]:
    """Words with letters of two alphabets of Latin, Greek and Cyrillic, of which some look alike; each with its letters
    of the alphabet that has fewer in it.

    >>> mixed_words("mate m\\u0430te")
    ["'m\\u0430te': \\u0430 is U+0430 CYRILLIC SMALL LETTER A"]
    """
    if text.isascii():
        return []
    found = []
    for word in text.split():
        alphabets = Counter(alphabet for letter in word if (alphabet := _alphabet(letter)) in _LOOK_ALIKE)
        if len(alphabets) > 1:
            usual = max(alphabets, key=lambda name: (alphabets[name], name == "LATIN"))
            others = dict.fromkeys(letter for letter in word if _alphabet(letter) in alphabets.keys() - {usual})
            found.append(f"{word!r}: " + ", ".join(f"{letter} is {described_character(letter)}" for letter in others))
    return found


def characters_in(text: str) -> set[str]:
    """The different characters of a text, white space left out."""
    return {character for character in set(text) if not character.isspace()}


def described_character(character: str) -> str:
    """A character's code and name in Unicode.

    >>> described_character("ɛ")
    'U+025B LATIN SMALL LETTER OPEN E'
    """
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


def _alphabet(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
