"""Texts for counts and language models: the lines of a text file, plain or gzipped, or the texts of a corpus; and the
profile that they are normalised under where none is named.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.errors import InputError, first_line
from preprocessing.text import Profile, corpus_profile
from preprocessing.text.profiles import SIMPLIFIED
from preprocessing.units.counts import Line

MANIFEST_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv")
TEXT_SUFFIXES = (".txt", ".gz")  # of a text file; every other reference is a corpus
SEVERAL = "basic"  # the profile of texts in several languages


@dataclass(frozen=True)
class RawText:
    """The texts of a file or corpus, not normalised.

    lines: those of a text file with their line ends, read while they are iterated, once; those of a corpus with their
    durations. languages: what the utterances of a corpus name, None of one that names none; nothing of a text file.
    """

    reference: str
    lines: Iterable[Line]
    languages: frozenset[str | None] = frozenset()

    def normalised(self, profile: Profile) -> list[Line]:
        """The lines under a profile, without those that have no word.

        Raises InputError when the text cannot be read, or has no word.
        """
        normalised = [Line(profile(line.text), line.seconds) for line in self.lines]
        with_words = [line for line in normalised if line.text]
        if not with_words:
            raise InputError(
                f"{self.reference}: no text is left after normalisation with profile {profile.name}; expected a word "
                "or more: check that it is the right file"
            )
        return with_words


def open_raw_text(reference: str) -> RawText:
    """The lines of a .txt or .gz file, or the texts of any other corpus.

    Raises InputError where a corpus cannot be read, as a gzipped manifest; of a text file, its lines do when they are
    iterated.
    """
    path = Path(reference)
    is_zipped_manifest = path.suffix == ".gz" and path.with_suffix("").suffix in MANIFEST_SUFFIXES
    if path.suffix in TEXT_SUFFIXES and not is_zipped_manifest:
        return RawText(reference, _lines_of_file(path))
    from preprocessing.corpus import open_corpus  # imports torch

    utterances = open_corpus(reference).utterances
    lines = [Line(utterance.text, utterance.duration) for utterance in utterances]
    return RawText(reference, lines, frozenset(utterance.language for utterance in utterances))


def read_lines(references: Iterable[str], profile: Profile) -> list[Line]:
    """The lines of all references under a profile. Raises InputError as `RawText.normalised`."""
    return [line for reference in references for line in open_raw_text(reference).normalised(profile)]


def profile_by_language(texts: Sequence[RawText]) -> tuple[str, str]:
    """The name of the profile of texts where none is named, and a sentence about it, empty where no text names a
    language.

    It is `corpus_profile` of the languages that corpora among the texts name, but leaves Chinese characters as they
    are, as labels have them; librispeech of text files alone.

    >>> profile_by_language([RawText("train.jsonl", [], frozenset(["de"])), RawText("more.txt", [])])
    ('basic:de', "text profile: basic:de, of the corpus's language")
    """
    languages = frozenset[str | None]().union(*(text.languages for text in texts))
    name = corpus_profile(languages).removesuffix(f":{SIMPLIFIED}")
    if not languages - {None}:
        return name, ""
    differs = name == SEVERAL and len(languages) > 1
    why = "as not all utterances name the same language" if differs else "of the corpus's language"
    return name, f"text profile: {name}, {why}"


def _lines_of_file(path: Path) -> Iterator[Line]:
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape") as lines:
            for line in lines:
                number += 1
                line.encode()  # a byte that is not UTF-8 is half a surrogate pair
                yield Line(line)
    except UnicodeEncodeError as error:
        where = f"{path}:{number}: not UTF-8 at character {error.start + 1}"
        raise InputError(f"{where}; expected UTF-8: convert the file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"{path}: {reason}; expected a text file, plain or gzip: correct the path") from None
