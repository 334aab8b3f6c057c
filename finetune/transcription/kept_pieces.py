"""The finished pieces of a recording that is transcribed piece by piece, in a file from which the next run goes on.

JSON Lines: what they are made of, then for each piece the seconds at which it ends and its transcript, unrounded.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.systems.transcript import Segment, Transcript, Word
from preprocessing.errors import UsageError


class KeptPieces:
    """The pieces in a file, which is made with the first one.

    found: those that are in it already: the seconds at which each ends, from 0 on, and its transcript with its times in
    the recording; none where the file is made of something else, or damaged.
    """

    def __init__(self, path: Path, made_of: str) -> None:
        """made_of: the recording, its model and its options, in one string. Raises OSError as reading does."""
        self._path, self._made_of = path, made_of
        self.found: list[tuple[float, Transcript]] = []
        self._n_bytes = 0  # of whole lines: what a kill cut short is written over
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for number, line in enumerate(lines):
            try:
                values = json.loads(line)
                if number:
                    self.found.append((float(values["end"]), _transcript(values["transcript"])))
                elif values["made_of"] != made_of:
                    return
            except (ValueError, KeyError, TypeError):
                return
            self._n_bytes += len(line) + 1

    def add(self, end: float, transcript: Transcript) -> None:
        """Keep a piece that ends at `end` seconds. Raises UsageError where it cannot be written."""
        values: list[dict[str, Any]] = [] if self._n_bytes else [{"made_of": self._made_of}]
        values.append({"end": end, "transcript": asdict(transcript)})
        written = "".join(f"{json.dumps(one)}\n" for one in values).encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("r+b" if self._path.exists() else "xb") as file:
                file.truncate(self._n_bytes)
                file.seek(self._n_bytes)
                file.write(written)
        except OSError as error:
            raise UsageError(
                f"{self._path}: {error.strerror}; expected a writable folder with free space: fix it and run the same "
                "command again to resume"
            ) from None
        self._n_bytes += len(written)

    def remove(self) -> None:
        """Remove the file, where there is one. Raises OSError as that does."""
        self._path.unlink(missing_ok=True)


def _transcript(values: dict[str, Any]) -> Transcript:
    """The transcript whose `dataclasses.asdict` the values are."""
    segments = []
    for one in values["segments"]:
        words = None if one["words"] is None else tuple(Word(**word) for word in one["words"])
        segments.append(Segment(**{**one, "words": words}))
    return Transcript(values["text"], tuple(segments), values["language"])
