"""What a script asks of scoring: characters before words where words have no spaces between them, and a text profile
that leaves combining marks in their words.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from benchmark.results import Metric
from preprocessing.text import Profile
from preprocessing.text.languages import is_unspaced, language_code

# Written without spaces between words, so that a "word" is a phrase, and WER depends on where a system sets spaces.
# Codes as `language_code` gives them, and of Chinese languages that it does not know.
UNSPACED_LANGUAGES = {"zh", "yue", "ja", "th", "lo", "my", "km", "wuu", "nan", "hak"}

TEARING_PROFILES = ("whisper-basic", "whisper-english")  # turn combining marks into spaces
BETTER_PROFILE = "basic"
TORN_SHARE = 0.01  # of the references' words, from which on torn words are warned of


def spaced_characters(text: str) -> str:
    """The text's characters with a space between all of them and no other white space: what CER compares there.

    >>> spaced_characters("今天 天气")
    '今 天 天 气'
    """
    return " ".join("".join(text.split()))


def tokens(profile: Callable[[str], str], metric: Metric) -> Callable[[str], str]:
    """Normalises a text into what errors are counted in: words or, where the metric is the CER, characters, which
    spaces then stand between.
    """
    return (lambda text: spaced_characters(profile(text))) if metric == "cer" else profile


def primary_metric(language: str | None, references: Sequence[str]) -> Metric:
    """The metric that decides verdicts: CER of a language that is written without spaces, WER of all others.

    language: a code such as "th" or "zh-CN", or a name, "Japanese"; where it is None or no known language, the script
    of the references decides.
    """
    code = None if language is None else language_code(language) or re.split("[-_]", language.lower())[0]
    if code is not None and (code in UNSPACED_LANGUAGES or language_code(code) is not None):
        return "cer" if code in UNSPACED_LANGUAGES else "wer"
    unspaced = sum(map(is_unspaced, references))
    return "cer" if 2 * unspaced > sum(bool(text.strip()) for text in references) else "wer"


def common_language(setting: str | None, profile_names: Iterable[str], languages: Iterable[str | None]) -> str | None:
    """The language of a corpus: the one that the run was given, that its profiles name, or that all utterances have;
    None where it is unknown or there are several.

    >>> common_language(None, ["librispeech", "basic:de"], [None])
    'de'
    """
    if setting is not None:
        return language_code(setting) or setting
    named = {name.partition(":")[2] for name in profile_names if name.startswith("basic:")}
    codes = {None if one is None else language_code(one) or one for one in set(languages)}
    for found in (named, codes):
        if len(found) == 1 and None not in found:
            return found.pop()
    return None


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
