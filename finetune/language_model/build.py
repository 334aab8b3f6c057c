"""The command `python -m finetune.language_model`: its options, and the way from a text to an ARPA file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from finetune.language_model.kneser_ney import estimate, perplexity
from finetune.language_model.ngram import NgramModel, open_text, write_arpa
from preprocessing.cli.atomic_write import atomic_file
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.text import Profile, profile

MAX_ORDER = 6
TEXT_SUFFIXES = (".txt", ".txt.gz")  # of a text file; every other reference is a corpus


@dataclass(frozen=True)
class LanguageModelConfig:
    """Options of the command."""

    renamed: ClassVar[Mapping[str, str]] = {"least": "min_count"}

    text: str
    """A text file (.txt or .txt.gz) with an utterance in each line, or a corpus, whose texts are taken."""

    output: Path
    """The ARPA file to write."""

    order: int = 3
    """Words of the longest n-grams."""

    min_count: int = 1
    """Occurrences in the text below which n-grams of three words and more are left out: 2 halves the file and costs
    little."""

    profile: str = "librispeech"
    """Text profile that the lines are normalised by: that of the recogniser's labels, so that its words are found."""

    evaluate: str | None = None
    """A text or corpus to measure the model's perplexity on; not the one that it is estimated from."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        if not 1 <= self.order <= MAX_ORDER:
            raise UsageError(f"--order is {self.order}; expected 1 to {MAX_ORDER}: change it")
        if self.min_count < 1:
            raise UsageError(f"--min_count is {self.min_count}; expected 1 or more: change it")
        if self.output.is_dir():
            raise UsageError(f"--output {self.output} is a folder; expected a file, such as words.arpa: name one")


def build_language_model(config: LanguageModelConfig) -> NgramModel:
    """Estimates a language model, writes it to the configuration's ARPA file, prints its size, and returns it.

    Where the configuration names a text to evaluate on, prints its perplexity, too. Raises UserError where a text
    cannot be read or has no word in it.
    """
    config.check()
    normalise = profile(config.profile)
    console = Console(highlight=False, soft_wrap=True)
    with console.status("counting"):
        model = estimate(_sentences(config.text, normalise), config.order, min_count=config.min_count)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.output) as temporary, temporary.open("w", encoding="utf-8") as file:
        write_arpa(model, file)
    sizes = ", ".join(f"{len(entries):,} of {n}" for n, entries in enumerate(model.entries, 1))
    console.print(f"{config.output}: n-grams of words: {sizes}")
    if config.evaluate is not None:
        value, n_words, n_unknown = perplexity(model, _sentences(config.evaluate, normalise))
        share = 100.0 * n_unknown / max(n_words, 1)
        console.print(
            f"{config.evaluate}: perplexity {value:.1f}; {n_unknown:,} of {n_words:,} words unknown ({share:.1f} %)"
        )
    return model


def _sentences(reference: str, normalise: Profile) -> list[list[str]]:
    """The words of each line or utterance that has any. Raises InputError where none has."""
    sentences = [words for line in _lines(reference) if (words := normalise(line).split())]
    if not sentences:
        raise InputError(f"{reference}: no words in it; expected text: name another file, or another --profile")
    return sentences


def _lines(reference: str) -> Iterator[str]:
    """The lines of a text file, or the texts of a corpus."""
    if not reference.endswith(TEXT_SUFFIXES):
        from preprocessing.corpus import open_corpus  # imports torch

        yield from (utterance.text for utterance in open_corpus(reference).utterances)
        return
    try:
        with open_text(Path(reference)) as file:
            yield from file
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{reference}: cannot be read ({error}); expected UTF-8 text, or that gzipped") from error
