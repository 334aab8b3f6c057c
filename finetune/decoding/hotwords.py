"""Hot words as a model's units write them: normalised as its labels are, or refused where they can never match."""

from collections.abc import Callable, Sequence

from preprocessing.cli.notes import note_once
from preprocessing.errors import UsageError
from preprocessing.text.languages import is_unspaced
from preprocessing.units import Vocabulary


def as_labels(
    name: str, hotwords: Sequence[str], vocabulary: Vocabulary, normalise: Callable[[str], str] | None
) -> tuple[str, ...]:
    """The hot words, each once, in the order given, as the labels of the model are written.

    name: of the recogniser, for messages. hotwords: words, several of them separated by commas or spaces. normalise:
    the text profile of the model's labels; None where it is not known, and words are taken as they are.

    >>> as_labels("mine", ["weather,today", "Light"], Vocabulary.of_characters(["A WHETERDOYLIG"]), str.upper)
    ('WEATHER', 'TODAY', 'LIGHT')

    A search favours a hot word as a whole word, from one space to the next; of a script that is written without spaces,
    a note says so. Raises UsageError where there are no words, where a word has no letters left, and where units cannot
    write one.
    """
    given = [word for one in hotwords for word in one.replace(",", " ").split()]
    if hotwords and not given:
        raise UsageError("--hotwords has no words; expected one or more: name them, or leave it out")
    found: dict[str, None] = {}
    for word in given:
        written = word if normalise is None else normalise(word)
        if not written.split():
            raise UsageError(f"--hotwords has {word!r}, of which the labels of {name} keep nothing: leave it out")
        outside = vocabulary.outside([written])
        if outside:
            raise UsageError(
                f"--hotwords has {word!r}, and the units of {name} cannot write {', '.join(map(repr, outside))}; "
                f"expected words that they write: {_remedy(word, vocabulary)}"
            )
        if is_unspaced(written):
            note_once(
                "unspaced hot words",
                f"--hotwords has {word!r}, of a script that is written without spaces: a hot word is favoured only "
                f"where {name} writes it between spaces, not within a longer stretch of characters",
            )
        found |= dict.fromkeys(written.split())
    return tuple(found)


def _remedy(word: str, vocabulary: Vocabulary) -> str:
    for other in (word.upper(), word.lower()):
        if not vocabulary.outside([other]):
            return f"write {other!r}"
    return "write it as the model writes it, or leave it out"
