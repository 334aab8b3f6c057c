"""What both commands, of n-grams and of LSTMs, do with a text: its profile, its sentences, and what is said of it."""

import sys
from collections.abc import Sequence

from rich.console import Console

from finetune.language_model.ngram import BOUNDARY
from preprocessing.corpus.lines import RawText, open_raw_text, profile_by_language
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile, profile
from preprocessing.text.languages import is_unspaced

LONGEST_UNSPACED_WORD = 6  # letters; what is longer in Chinese, Japanese or Thai is a clause, or a loanword


def perplexity_sentence(value: float, n_units: int, n_unknown: int, units: str) -> str:
    """The same of n-grams and LSTMs, which compare where as many units are unknown."""
    share = 100.0 * n_unknown / max(n_units, 1)
    return (
        f"perplexity {value:.2f} per {units.removesuffix('s')}, over known {units} and sentence ends; {n_unknown:,} of "
        f"{n_units:,} {units} unknown ({share:.1f} %)"
    )


def note_if_unspaced(reference: str, sentences: Sequence[Sequence[str]], units: str, console: Console) -> None:
    """A note where most "words" are clauses of a script that is written without spaces: hardly any occurs twice."""
    if units != "words":
        return
    longer = [word for sentence in sentences for word in sentence if len(word) > LONGEST_UNSPACED_WORD]
    letters = sum(len(word) for sentence in sentences for word in sentence)
    clauses = [word for word in longer if is_unspaced(word)]
    if 2 * sum(map(len, clauses)) > letters:
        console.print(
            f"[bold yellow]NOTE[/] {reference} is written without spaces between words, so {clauses[0][:20]!r} counts "
            "as one word; use --units characters, or put spaces between the words, if the recogniser's labels have them"
        )


def check_one_profile(profile_name: str | None, model: str | None) -> None:
    """Raises UsageError where both --profile and --model name a text profile."""
    if profile_name is not None and model is not None:
        raise UsageError(
            f"--profile {profile_name} and --model {model}, whose labels have a profile; expected one of the two: "
            "leave the other out"
        )


def open_text(reference: str, profile_name: str | None, console: Console) -> tuple[Profile, RawText]:
    """The text and its profile: that of its language, which is printed, where none is named.

    Raises UserError where the text cannot be read or there is no such profile.
    """
    if profile_name is not None:
        return profile(profile_name), open_raw_text(reference)
    text = open_raw_text(reference)
    name, sentence = profile_by_language([text])
    if sentence:
        console.print(sentence)
    return profile(name), text


def sentences_of(text: RawText, normalise: Profile, units: str) -> list[list[str]]:
    """The words or characters of each line or utterance that has any. Raises InputError where none has."""
    lines = (normalise(line.text).split() for line in text.lines)
    sentences = [[*map(sys.intern, words)] for words in lines if words]  # each word once in memory
    if not sentences:
        raise InputError(f"{text.reference}: no words in it; expected text: name another file, or another --profile")
    return sentences if units == "words" else [list(BOUNDARY.join(words)) for words in sentences]


def sentences_to_evaluate(reference: str | None, normalise: Profile, units: str) -> list[list[str]]:
    """Those of --evaluate, read before the work whose result they measure; none where it is not given.

    Raises UserError where the text cannot be read or has no word in it.
    """
    return [] if reference is None else sentences_of(open_raw_text(reference), normalise, units)
