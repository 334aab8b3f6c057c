"""A language model made of a text, written whole or not at all, and measured on another text where one is given."""

import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from finetune.lm.config import LanguageModelConfig
from finetune.lm.kneser_ney import estimate, perplexity
from finetune.lm.ngram import NgramModel, open_text, write_arpa
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError
from preprocessing.text import Profile, profile

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
