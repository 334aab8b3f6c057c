"""Where transcripts go: an output folder that an interrupted run goes on in, or standard output.

The folder's transcribed.jsonl has a line before a recording's first file is written and one after its last. A recording
is done when its last line says so, of the same audio by the same model and options, and its files are there. A file
that no line tells of is somebody else's and is not replaced.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from finetune.systems.transcript import Transcript
from finetune.transcription.recordings import Recording, check_names
from finetune.transcription.writers import SUFFIXES, Subtitles, rendered
from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import UsageError, printable

LOG = "transcribed.jsonl"


class Results(Protocol):
    """Where transcripts are written, and which recordings still need one."""

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Those of the recordings that are not done yet. Raises UsageError where their results have no place."""

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """Write the results of a recording. place: among those pending. transcript: None where it failed."""


class ResultsFolder:
    """A folder with a file of each format for each recording, complete or not there at all."""

    def __init__(
        self, folder: Path, formats: Sequence[str], made_with: str, *, overwrite: bool, subtitles: Subtitles
    ) -> None:
        """made_with: the model and the options that decide the text, in one string.

        Raises UsageError where the folder cannot be made, or written to.
        """
        self._folder, self._formats, self._made_with, self._overwrite = folder, tuple(formats), made_with, overwrite
        self._subtitles = subtitles
        self._log = folder / LOG
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._logged = self._read()
            with self._log.open("ab") as file:
                if file.tell() and not self._log.read_bytes().endswith(b"\n"):
                    file.write(b"\n")  # after a line that a kill cut short
        except OSError as error:
            raise self._unwritable(error) from None

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """See `Results.pending`."""
        check_names(recordings)
        remaining, foreign = [], []
        for recording in recordings:
            logged = self._logged.get(recording.name)
            paths = self._paths(recording)
            there = [path for path in paths if path.exists()]
            same = logged is not None and logged["made_of"] == self._origin(recording) is not None
            if same and logged is not None and logged["done"] and len(there) == len(paths) and not self._overwrite:
                continue
            remaining.append(recording)
            if not same:
                foreign += there
        if foreign and not self._overwrite:
            others = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
            raise UsageError(
                f"{foreign[0]}{others}: made from another recording or by another model or options; "
                "expected a folder without them: choose another --output_dir, or --overwrite true to replace them"
            )
        return remaining

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """See `Results.write`. Raises UsageError where the disk is full or the folder cannot be written to."""
        if transcript is None:
            return
        try:
            self._append(recording, done=False)
            for path, name in zip(self._paths(recording), self._formats, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text_atomically(path, rendered(transcript, name, seconds, self._subtitles))
            self._append(recording, done=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def _paths(self, recording: Recording) -> list[Path]:
        return [self._folder / f"{recording.name}{SUFFIXES[name]}" for name in self._formats]

    def _origin(self, recording: Recording) -> str | None:
        identity = recording.identity
        return None if identity is None else f"{identity}|{self._made_with}"

    def _append(self, recording: Recording, *, done: bool) -> None:
        line = {"name": recording.name, "made_of": self._origin(recording), "done": done}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self) -> dict[str, dict[str, object]]:
        """The last line of each name; a line that a kill cut short is left out."""
        found: dict[str, dict[str, object]] = {}
        if not self._log.exists():
            return found
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                found[str(values["name"])] = {"made_of": values["made_of"], "done": bool(values["done"])}
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"--output_dir {self._folder}: {error.strerror}; expected a writable folder with free space: fix it and "
            "run the same command again to resume, or choose another"
        )


class StandardOutput:
    """Transcripts in the order of the recordings: one as its file would be; of several, txt is a line for each, after
    its name, and json is JSON Lines with the name as `audio`.
    """

    def __init__(self, format_name: str, subtitles: Subtitles, file: IO[str] | None = None) -> None:
        self._format, self._subtitles = format_name, subtitles
        self._file = sys.stdout if file is None else file
        self._count = 0
        self._next = 0
        self._waiting: dict[int, str] = {}

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """See `Results.pending`: all of them."""
        self._count = len(recordings)
        if self._count > 1 and self._format not in ("txt", "json"):
            raise UsageError(
                f"--format {self._format} of {self._count:,} recordings cannot share standard output; expected txt or "
                "json there: name a folder with --output_dir"
            )
        return list(recordings)

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """Print what is next in order. Ends the process quietly where nobody reads any more, as of `| head`."""
        self._waiting[place] = "" if transcript is None else self._rendered(recording, transcript, seconds)
        try:
            while self._next in self._waiting:
                self._file.write(self._waiting.pop(self._next))
                self._next += 1
            self._file.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at its end
            sys.exit(0)
        except OSError as error:
            raise UsageError(f"standard output: {error.strerror}; expected free disk space: free some") from None

    def _rendered(self, recording: Recording, transcript: Transcript, seconds: float) -> str:
        if self._count == 1:
            return rendered(transcript, self._format, seconds, self._subtitles)
        named = recording.shown.encode("utf-8", "backslashreplace").decode()  # a name that is not UTF-8
        if self._format == "txt":
            on_one_line = printable(named).replace("\n", "␊")
            return f"{on_one_line}: {transcript.text}\n"
        return json.dumps({"audio": named, **transcript.as_dict()}, ensure_ascii=False) + "\n"
