"""The normalisers that openai-whisper publishes, unchanged: what its authors' scores were counted under.

Source: Radford et al. 2022, appendix C; whisper.normalizers. The English one is not idempotent: "oh one" becomes "01",
and that "one".
"""

import functools
from collections.abc import Callable


def whisper_english(text: str) -> str:
    """openai-whisper's EnglishTextNormalizer: lower case, contractions spelled out, numbers as digits, US spelling.

    It also turns "Brown's dog" into "brown is dog"; that is the published rule, kept as it is.
    """
    return _english()(text)


def whisper_basic(text: str) -> str:
    """openai-whisper's BasicTextNormalizer as it comes, diacritics kept.

    Combining marks become spaces, which cuts Hindi and other scripts apart at their vowels, and outer spaces stay.
    """
    return _basic()(text)


@functools.cache
def _english() -> Callable[[str], str]:
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]


@functools.cache
def _basic() -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer

    return BasicTextNormalizer()  # type: ignore[no-any-return]
