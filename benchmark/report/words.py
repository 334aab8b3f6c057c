"""Words by their confidence: levels that page and script shade by, and sentences on what words a run has and lacks.

The figures themselves are rows of the table (quantities.py) and diagrams (figures/words.py).
"""

from itertools import pairwise

from benchmark.results import Summary, WordScores
from preprocessing.errors import counted

LEVELS = (50, 70, 85, 95)  # percent: confidences below each are shaded alike, the lowest most
WRITTEN_BELOW = 70  # percent: the confidence is written beside the word, too


def percent_of(probability: float) -> int:
    """A probability in whole percent; 100 only where it is 1, so that no doubt is rounded away.

    >>> percent_of(0.996), percent_of(1.0)
    (99, 100)
    """
    return min(round(100 * probability), 99) if probability < 1.0 else 100


def level(percent: int) -> int:
    """The number of the shade, 0 for the least certain words to 4 for those that are not shaded.

    >>> level(49), level(50), level(95)
    (0, 1, 4)
    """
    return sum(percent >= bound for bound in LEVELS)


def level_names() -> list[str]:
    """What the legend calls each level."""
    middle = [f"{low} to {high - 1}\u00a0%" for low, high in pairwise(LEVELS)]
    return [f"below {LEVELS[0]}\u00a0%", *middle, f"{LEVELS[-1]}\u00a0% or more"]


def word_sentences(summary: Summary) -> list[str]:
    """What a reader must know of the words' figures; nothing where --word_timestamps was not asked for."""
    scored = [(one.facts.name, one.words) for one in summary.systems if one.words is not None]
    found = [sentence for name, scores in scored for sentence in _sentences(name, scores)]
    if any(scores.reason is None for _, scores in scored) and not any(scores.times for _, scores in scored):
        found.append(
            "Word times are not evaluated: the corpus has no reference times (a column “words” in its manifest)."
        )
    return found


def word_profile_sentence(summary: Summary) -> str:
    """Under which text profile single words are judged, where it is not the first; "" where none are."""
    judged = any(one.keywords is not None or (one.words and one.words.words) for one in summary.systems)
    if summary.word_profile is None or not judged:
        return ""
    return (
        f"Keywords, confidences and rejection are counted under the text profile {summary.word_profile}, not "
        f"{summary.profiles[0].name}: it spells numbers out, which some systems write differently from the references."
    )


def _sentences(name: str, scores: WordScores) -> list[str]:
    if scores.reason is not None:
        return [f"{name} {scores.reason}."]
    found = []
    if scores.failed:
        found.append(
            f"{name}: the second pass, which computes word times, failed in {counted(scores.failed, 'utterance')}."
        )
    if scores.rewritten:
        found.append(
            f"{name}: in {counted(scores.rewritten, 'utterance')} the words of the second pass, which computes word "
            "times, differ from those of the first; confidence and times are those of the second."
        )
    if not scores.words:
        found.append(f"{name} returns no word confidences.")
    elif not scores.wrong:
        found.append(f"{name}: no word is wrong, so AUROC and NCE are undefined.")
    elif scores.wrong == scores.words:
        found.append(f"{name}: no word is correct, so AUROC and NCE are undefined.")
    return found
