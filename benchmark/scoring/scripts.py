"""What a script asks of scoring: characters before words where words have no spaces between them, and a text profile
that leaves combining marks in their words.
"""

import unicodedata
from collections.abc import Callable, Iterable

from finetune.metrics.error_rates import Metric
from preprocessing.text import Profile
from preprocessing.text.languages import around_unspaced, spaced_characters

TEARING_PROFILES = ("whisper-basic", "whisper-english")  # turn combining marks into spaces
BETTER_PROFILE = "basic"
TORN_SHARE = 0.01  # of the references' words, from which on torn words are warned of


def tokens(profile: Callable[[str], str], metric: Metric) -> Callable[[str], str]:
    """Normalises a text into what errors are counted in: words or, where the metric is the CER, characters, which
    spaces then stand between.
    """
    return (lambda text: spaced_characters(profile(text))) if metric == "cer" else profile


def words_and_characters(text: str) -> str:
    """The text with a space around each character of a script that is written without spaces; other words stay whole.

    >>> words_and_characters("我用app打开ok")
    '我 用 app 打 开 ok'
    """
    return " ".join(around_unspaced(text).split())


def keyword_tokens(profile: Callable[[str], str], metric: Metric) -> Callable[[str], str]:
    """Normalises a text into what keywords are looked for in: `tokens`, but a Latin word among Chinese is one token."""
    return (lambda text: words_and_characters(profile(text))) if metric == "cer" else profile


def torn_words(profiles: Iterable[Profile], references: Iterable[str]) -> list[str]:
    """A sentence for each profile of openai-whisper that tears the references' words apart at their vowel signs.

    Its normalisers turn combining marks into spaces, which are the vowels of Hindi, Bengali, Tamil, Thai, Khmer and
    other scripts. Manohar, Pillai & Sherly 2024, "What is lost in Normalization?" (arXiv 2409.02449), find that rates
    then look better than they are.
    """
    tearing = [one for one in profiles if one.name in TEARING_PROFILES]
    if not tearing:
        return []
    n_words, marked = 0, []
    for reference in references:
        words = reference.split()
        n_words += len(words)
        if not reference.isascii():
            marked += [word for word in words if _has_marks(word)]
    if len(marked) < TORN_SHARE * max(n_words, 1) or not marked:
        return []
    found = []
    for one in tearing:
        example = next((word for word in marked if len(one(word).split()) > 1), marked[0])
        found.append(
            f"The profile {one.name} replaces combining marks by spaces and splits {len(marked) / n_words:.0%} of the "
            f"reference words apart ({example} becomes {one(example).strip()!r}): its error rates are over word "
            f"fragments and look too low (Manohar et al. 2024). Score with {BETTER_PROFILE}, which keeps them: "
            f"--profiles {BETTER_PROFILE}."
        )
    return found


def _has_marks(word: str) -> bool:
    """Whether combining marks are left after composing, as openai-whisper's normalisers compose (NFKC)."""
    return any(unicodedata.category(character)[0] == "M" for character in unicodedata.normalize("NFKC", word))
