"""Named, versioned text-normalisation profiles: one truth for training labels and for scoring.

A score without its profile's name and version means nothing: published cases move by 0.35 points of WER through one
rule. Raw text is what the project stores; a profile is applied when labels are made and when errors are counted.
"""

import functools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from preprocessing.errors import UsageError

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})


@dataclass(frozen=True)
class Profile:
    """A normalisation that can be called on raw text. `version` rises whenever any output changes."""

    name: str
    version: int
    description: str
    rule: Callable[[str], str]

    def __call__(self, text: str) -> str:
        return self.rule(text)


def librispeech(text: str) -> str:
    """Upper case, letters, digits and inner apostrophes only: the form of LibriSpeech's transcripts.

    >>> librispeech("“Well—it’s the Smiths' no. 9!”")
    "WELL IT'S THE SMITHS' NO 9"
    """
    upper = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).upper()
    kept = "".join(symbol if symbol.isalnum() or symbol == "'" or _joins(symbol) else " " for symbol in upper)
    return " ".join(word for word in kept.split() if word.strip("'"))


def _joins(symbol: str) -> bool:
    """Combining marks belong to the letter before them, in the scripts that need them."""
    return unicodedata.category(symbol).startswith("M")


def whisper_english(text: str) -> str:
    """openai-whisper's EnglishTextNormalizer: lower case, contractions spelled out, numbers as digits, US spelling.

    It also turns "Brown's dog" into "brown is dog"; that is the published rule, kept as it is.
    """
    return _whisper_english()(text)


@functools.cache
def _whisper_english() -> Callable[[str], str]:
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("verbatim", 1, "the text as it is, outer white space removed", str.strip),
        Profile(
            "librispeech", 1, "upper case; letters, digits and apostrophes; other punctuation is a space", librispeech
        ),
        Profile("whisper-english", 1, "openai-whisper's EnglishTextNormalizer", whisper_english),
    )
}


def profile(name: str) -> Profile:
    """The profile of that name. Raises UsageError listing the names there are."""
    if name not in PROFILES:
        raise UsageError(f"unknown text profile {name!r}; expected one of {', '.join(PROFILES)}: choose one of them")
    return PROFILES[name]
