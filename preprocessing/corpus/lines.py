"""Texts for counts and language models: the lines of a text file, plain or gzipped, or the texts of a corpus."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from preprocessing.errors import InputError, first_line
from preprocessing.text import Profile
from preprocessing.units.counts import Line

TEXT_SUFFIXES = (".txt", ".gz")  # of a text file; every other reference is a corpus


def raw_lines(reference: str) -> Iterator[Line]:
    """The lines of a .txt or .gz file, each with its line end, or the texts of any other corpus with their durations.

    Raises InputError where the reference cannot be read.
    """
    path = Path(reference)
    if path.suffix not in TEXT_SUFFIXES:
        from preprocessing.corpus import open_corpus  # imports torch

        yield from (Line(utterance.text, utterance.duration) for utterance in open_corpus(reference).utterances)
        return
    try:
        zipped = path.suffix == ".gz"
        with gzip.open(path, "rt", encoding="utf-8-sig") if zipped else path.open(encoding="utf-8-sig") as lines:
            yield from map(Line, lines)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; expected UTF-8: convert the file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"{path}: {reason}; expected a text file, plain or gzip: correct the path") from None


def read_lines(references: Iterable[str], profile: Profile) -> list[Line]:
    """The normalised `raw_lines` of all references, without those that have no word.

    Raises InputError when a reference cannot be read, or has no word.
    """
    lines: list[Line] = []
    for reference in references:
        normalised = [Line(profile(line.text), line.seconds) for line in raw_lines(reference)]
        with_words = [line for line in normalised if line.text]
        if not with_words:
            raise InputError(
                f"{reference}: no text is left after normalisation with profile {profile.name}; expected a word or "
                "more: check that it is the right file"
            )
        lines += with_words
    return lines
