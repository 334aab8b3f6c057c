"""The command `python -m finetune.language_model build`: from a text to an ARPA file."""

import gzip
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TextIO

from rich.console import Console

from finetune.language_model.kneser_ney import estimate, perplexity
from finetune.language_model.ngram import BOUNDARY, NgramModel, limited_to, write_arpa
from finetune.language_model.text import (
    check_one_profile,
    note_if_unspaced,
    open_text,
    perplexity_sentence,
    sentences_of,
    sentences_to_evaluate,
)
from preprocessing.cli.progress import Steps
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.atomic_write import atomic_file

MAX_ORDER = {"words": 6, "characters": 10}
DEFAULT_ORDER = {"words": 3, "characters": 6}


@dataclass(frozen=True)
class LanguageModelConfig:
    """Options of the command."""

    renamed: ClassVar[Mapping[str, str]] = {"least": "min_count"}

    text: str
    """Text file (.txt or .txt.gz) with one utterance per line, or a corpus, whose texts are used."""

    output: Path
    """ARPA file to write, gzipped where it ends in .gz."""

    order: int | None = None
    """Order of the model: the longest n-grams. Default: 3 words or 6 characters."""

    units: Literal["words", "characters"] = "words"
    """Units of the n-grams. Characters have no unknown words and need far less text; the space is one of them."""

    min_count: int = 1
    """Prune n-grams of three or more units that occur less often than this: 2 halves the file and costs little
    accuracy."""

    profile: str | None = None
    """Text normalisation profile of the lines; it must be that of the recogniser's labels, so that the words match.
    Default: that of --model; else, of a corpus, basic:LANGUAGE of the language that all utterances name, basic of
    several; librispeech of English, of none and of text files."""

    model: str | None = None
    """The recogniser, a run or a Hub id: takes the text profile of its labels, in place of --profile."""

    evaluate: str | None = None
    """Text or corpus to measure perplexity on; not the training text."""

    @property
    def longest(self) -> int:
        """The order, or its default."""
        return DEFAULT_ORDER[self.units] if self.order is None else self.order

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        most = MAX_ORDER[self.units]
        if not 1 <= self.longest <= most:
            raise UsageError(f"--order is {self.order}; expected 1 to {most} of {self.units}: change it")
        if self.min_count < 1:
            raise UsageError(f"--min_count is {self.min_count}; expected 1 or more: change it")
        check_one_profile(self.profile, self.model)
        if self.output.is_dir():
            raise UsageError(f"{self.output} is a folder; expected a file, such as words.arpa: name one")


def build_language_model(config: LanguageModelConfig) -> NgramModel:
    """Estimates a language model, writes it to the configuration's ARPA file, prints its size, and returns it.

    Where the configuration names a text to evaluate on, prints its perplexity, too. Raises UserError where a text
    cannot be read or has no word in it.
    """
    config.check()
    assert config.model is None, "with_profile_of_model of the command puts its profile in its place"
    console = Console(highlight=False, soft_wrap=True)
    with Steps(console, 1).step("estimating n-grams", 0):
        normalise, text = open_text(config.text, config.profile, console)
        sentences = sentences_of(text, normalise, config.units)
        to_evaluate = sentences_to_evaluate(config.evaluate, normalise, config.units)
        also = (BOUNDARY,) if config.units == "characters" else ()  # a text of single words has no space
        try:
            model = estimate(sentences, config.longest, min_count=config.min_count, also=also)
        except ValueError as error:
            raise InputError(
                f"{config.text}: {error}; expected text without them: remove them, or use a --profile that does"
            ) from None
    note_if_unspaced(config.text, sentences, config.units, console)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.output) as temporary, _text_to_write(temporary) as file:
        write_arpa(model, file)
    sizes = ", ".join(f"{len(entries):,} of {n}" for n, entries in enumerate(model.entries, 1))
    console.print(f"{config.output}: n-grams of {config.units}: {sizes}")
    if to_evaluate:
        figures = perplexity(limited_to(model, to_evaluate), to_evaluate)
        console.print(f"{config.evaluate}: {perplexity_sentence(*figures, config.units)}")
    return model


@contextmanager
def _text_to_write(path: Path) -> Iterator[TextIO]:
    """A text file opened for writing as UTF-8, gzipped where its suffix is .gz: the same text gives the same bytes,
    whenever it is written and whatever the file is called.
    """
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    with (
        path.open("wb") as binary,
        gzip.GzipFile(filename="", mode="wb", fileobj=binary, compresslevel=6, mtime=0) as zipped,
        io.TextIOWrapper(zipped, encoding="utf-8") as text,
    ):
        yield text
