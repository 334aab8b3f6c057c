"""Normalised lines to count units in, from manifests (with durations) and plain text; a share of them held out."""

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError
from preprocessing.text import Profile

PLAIN = (".txt", ".gz")
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """A normalised text, and how long it takes to say where that is known."""

    text: str
    seconds: float | None = None


def read(references: Iterable[str], profile: Profile) -> list[Line]:
    """Lines of .txt and .gz files, utterances of whatever else `open_corpus` reads; those without words are left out.

    Raises InputError when a reference cannot be read, or has no word.
    """
    lines: list[Line] = []
    for reference in references:
        raw = _plain(Path(reference)) if Path(reference).suffix in PLAIN else _spoken(reference)
        normalised = [Line(profile(line.text), line.seconds) for line in raw]
        found = [line for line in normalised if line.text]
        if not found:
            raise InputError(
                f"{reference}: no text is left of it by profile {profile.name}; expected a word or more: check that it "
                "is the right file"
            )
        lines += found
    return lines


def hold_out(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines to count in and those held out, the last tenth by SHA-256 of the text: equal lines stay together.

    Raises InputError where that leaves nothing on one of the sides.
    """
    kept: list[Line] = []
    held: list[Line] = []
    for line in lines:
        place = int.from_bytes(hashlib.sha256(line.text.encode()).digest()[:8], "big") / 2**64
        (held if place >= 1.0 - HELD_OUT_SHARE else kept).append(line)
    if not kept or not held:
        raise InputError(
            f"{len(lines)} lines are too few to hold a tenth of them out; expected 50 or so: give more text, or "
            "--held-out"
        )
    return kept, held


def _plain(path: Path) -> list[Line]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as lines
        ):
            return [Line(line) for line in lines]
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}; expected a text file, plain or gzip: mend the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; expected UTF-8: convert the file") from None


def _spoken(reference: str) -> list[Line]:
    return [Line(utterance.text, utterance.duration) for utterance in open_corpus(reference).utterances]
