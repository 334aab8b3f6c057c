"""What `python -m finetune.language_model` can be told: one doc a field."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from finetune.language_model.kneser_ney import estimate, perplexity
from finetune.language_model.ngram import NgramModel, open_text, write_arpa
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus import open_corpus
from preprocessing.text import Profile, profile

LONGEST = 6  # words


@dataclass(frozen=True)
class LanguageModelConfig:
    """From a text to an ARPA file."""

    text: str
    """A text file, a line an utterance, perhaps gzipped; or a corpus, whose texts are taken."""

    output: Path
    """The ARPA file."""

    order: int = 3
    """Words of the longest n-grams."""

    least: int = 1
    """n-grams of three words and more that occur less often are left out: 2 halves the file and costs little."""

    profile: str = "librispeech"
    """Text profile that the lines are normalised by: that of the recogniser's labels, so that its words are found."""

    evaluate: str | None = None
    """A text or corpus to measure the model's perplexity on; never the one that it is made of."""

    def check(self) -> None:
        """Raises UsageError on values that cannot be."""
        if not 1 <= self.order <= LONGEST:
            raise UsageError(f"--order is {self.order}; expected 1 to {LONGEST}: mend it")
        if self.least < 1:
            raise UsageError(f"--least is {self.least}; expected 1 or more: mend it")
        if self.output.is_dir():
            raise UsageError(f"--output {self.output} is a folder; expected a file, such as words.arpa: name one")


TEXTS = (".txt", ".txt.gz")


def make(config: LanguageModelConfig) -> NgramModel:
    """Raises UserError where a text cannot be read or holds no word."""
    config.check()
    normalise = profile(config.profile)
    console = Console(highlight=False, soft_wrap=True)
    with console.status("counting"):
        model = estimate(_some(config.text, normalise), config.order, least=config.least)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    beside = config.output.with_name(config.output.name + ".partial")
    with beside.open("w", encoding="utf-8") as file:
        write_arpa(model, file)
    os.replace(beside, config.output)
    sizes = ", ".join(f"{len(entries):,} of {n}" for n, entries in enumerate(model.entries, 1))
    console.print(f"{config.output}: n-grams of words: {sizes}")
    if config.evaluate is not None:
        found, words, unknown = perplexity(model, _some(config.evaluate, normalise))
        share = 100.0 * unknown / max(words, 1)
        console.print(
            f"{config.evaluate}: perplexity {found:.1f}; {unknown:,} of {words:,} words unknown ({share:.1f} %)"
        )
    return model


def _some(reference: str, normalise: Profile) -> list[list[str]]:
    """The words of each line or utterance. Raises InputError where there is none."""
    sentences = [words for line in _lines(reference) if (words := normalise(line).split())]
    if not sentences:
        raise InputError(f"{reference}: no word in it; expected text: name another file, or another --profile")
    return sentences


def _lines(reference: str) -> Iterator[str]:
    if not reference.endswith(TEXTS):
        yield from (utterance.text for utterance in open_corpus(reference).utterances)
        return
    try:
        with open_text(Path(reference)) as file:
            yield from file
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{reference}: cannot be read ({error}); expected UTF-8 text, or that gzipped") from error
