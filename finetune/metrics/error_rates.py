"""Error counts of one utterance by words and by characters.

Two libraries count, both by the Levenshtein distance, and the tests hold one against the other. jiwer counts in
`finetune.metrics.evaluate_metric`, the metric of training's validation. rapidfuzz, on which jiwer is built, counts
single utterances here: a benchmark counts each utterance of each system under each text profile, and jiwer's checks and
copies take 4 to 10 times as long (20,000 pairs of 5 to 35 words, one core: words 0.53 s, jiwer 2.1 s in one call and
3.7 s in a call a pair; characters 0.43 s, jiwer 4.5 s).

`primary_metric` says which of the two rates decides. Texts come normalised (`preprocessing.text`). An empty reference
is legal: all of its hypothesis are insertions.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

from preprocessing.text.languages import is_unspaced, language_code

Metric = Literal["wer", "cer"]

# Written without spaces between words, so that a "word" is a phrase, and WER depends on where a system sets spaces.
# Codes as `language_code` gives them, and of Chinese languages that it does not know.
UNSPACED_LANGUAGES = {"zh", "yue", "ja", "th", "lo", "my", "km", "wuu", "nan", "hak"}


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Edit counts of a hypothesis against a reference, over words or over characters; counts of utterances add up.

    >>> ErrorCounts(hits=2, substitutions=1, deletions=0, insertions=1).rate
    0.6666666666666666
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Words, or characters, of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors divided by the reference's length, a fraction. Of an empty reference 0.0 without errors, else inf."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


class Distance(NamedTuple):
    """Errors of a hypothesis, whose kinds are not known, and the length of its reference."""

    errors: int
    reference_length: int


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Counts over the words of two normalised texts, split at white space.

    >>> word_errors("turn the lamp on", "turn lamp on now")
    ErrorCounts(hits=3, substitutions=0, deletions=1, insertions=1)
    """
    return _counted(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str, *, spaces: bool = True) -> ErrorCounts:
    """Counts over the characters of two normalised texts, single spaces between words included, as in jiwer's CER.

    spaces: whether they count; False in a language that is written without them.
    """
    space = " " if spaces else ""
    return _counted(space.join(reference.split()), space.join(hypothesis.split()))


def character_distance(reference: str, hypothesis: str) -> Distance:
    """`errors` and `reference_length` of `character_errors`, faster, as the kinds of errors are not distinguished."""
    reference = " ".join(reference.split())
    return Distance(Levenshtein.distance(reference, " ".join(hypothesis.split())), len(reference))


def utterance_errors(
    references: Iterable[str],
    hypotheses: Iterable[str],
    metric: Metric = "wer",
    *,
    normalise: Callable[[str], str] = str,
) -> list[ErrorCounts]:
    """Counts of each utterance over words or, where the metric is the CER, over characters without white space, which
    is what decides in a script without spaces between words.

    normalise: applied to every text. Raises ValueError where there are not as many hypotheses as references.

    >>> [one.errors for one in utterance_errors(["Turn it on", "Stop"], ["turn on", "stop"], normalise=str.lower)]
    [1, 0]
    >>> [one.errors for one in utterance_errors(["今天 天气很好", "今天"], ["今天天气很坏", "今 天"], "cer")]
    [1, 0]
    """
    pairs = [(normalise(one), normalise(other)) for one, other in zip(references, hypotheses, strict=True)]
    if metric == "cer":
        return [character_errors(*pair, spaces=False) for pair in pairs]
    return [word_errors(*pair) for pair in pairs]


def _counted(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    if reference == hypothesis:
        return ErrorCounts(hits=len(reference))
    kinds = [operation.tag for operation in Levenshtein.editops(reference, hypothesis)]
    substitutions, deletions, insertions = (kinds.count(kind) for kind in ("replace", "delete", "insert"))
    return ErrorCounts(len(reference) - substitutions - deletions, substitutions, deletions, insertions)


def primary_metric(language: str | None, references: Iterable[str]) -> Metric:
    """The metric that decides verdicts and which weights are the best: CER of a language that is written without
    spaces, WER of all others.

    language: a code such as "th" or "zh-CN", or a name, "Japanese"; where it is None or no known language, the script
    of the references decides.
    """
    code = None if language is None else language_code(language) or re.split("[-_]", language.lower())[0]
    if code is not None and (code in UNSPACED_LANGUAGES or language_code(code) is not None):
        return "cer" if code in UNSPACED_LANGUAGES else "wer"
    unspaced = sum(map(is_unspaced, references))
    return "cer" if 2 * unspaced > sum(bool(text.strip()) for text in references) else "wer"
