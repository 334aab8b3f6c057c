"""Where transcripts go: an output folder that an interrupted run goes on in, or standard output.

The folder's transcribed.jsonl has a line before a recording's first file is written and one after its last. A recording
is done when its last line says so, of the same audio by the same model and options, and its files, which lines of the
same tell of, are there. A file that no line tells of is somebody else's and is replaced only where that is asked for.

While a recording is transcribed piece by piece, its pieces are in a hidden file beside its results.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from finetune.systems.transcript import Transcript
from finetune.transcription.kept_pieces import KeptPieces
from finetune.transcription.recordings import Recording, check_names
from finetune.transcription.writers import (
    CTM,
    OF_SEVERAL,
    READ_ALONE,
    SUFFIXES,
    SegmentSelection,
    Subtitles,
    ctm_name,
    rendered,
)
from preprocessing.errors import UsageError, printable
from preprocessing.storage.atomic_write import json_line, write_text_atomically

LOG = "transcribed.jsonl"


class Results(Protocol):
    """Where transcripts are written, and which recordings still need one."""

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Those of the recordings that are not done yet. Raises UsageError where their results have no place."""

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """Write the results of a recording. place: among those pending. transcript: None where it failed."""

    def kept_pieces(self, recording: Recording, longest_seconds: float) -> KeptPieces | None:
        """Where the pieces of a recording, or of its channel, are kept until its results are written; None where they
        are not. longest_seconds: that a piece may have, which decides where they end.
        """


@dataclass(frozen=True, slots=True)
class Logged:
    """What the log says of a recording: whether its results are done, what they are made of, and in which formats
    there are files of that.
    """

    made_of: str | None
    done: bool
    formats: frozenset[str]


class ResultsFolder:
    """A folder with a file of each format for each recording, complete or not there at all."""

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        made_with: str,
        *,
        overwrite: bool,
        subtitles: Subtitles,
        selection: SegmentSelection | None = None,
    ) -> None:
        """made_with: the model and the options that decide the text, in one string. selection: of manifests.

        Raises UsageError where the folder cannot be made, or written to.
        """
        self._folder, self._formats, self._made_with, self._overwrite = folder, tuple(formats), made_with, overwrite
        self._subtitles, self._selection = subtitles, selection
        self._kept: dict[str, list[KeptPieces]] = {}  # by name: of each channel where they are apart
        self._origins: dict[str, str | None] = {}  # by name: before the file is read, which may change meanwhile
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
            self._origins[recording.name] = origin = self._origin(recording)
            logged = self._logged.get(recording.name)
            same = logged is not None and logged.made_of == origin is not None
            own = logged.formats if logged is not None and same else frozenset()
            there = {name: path for name, path in self._paths(recording).items() if path.exists()}
            others = [path for name, path in there.items() if name not in own]
            if logged is not None and same and logged.done and not others and len(there) == len(self._formats):
                continue
            remaining.append(recording)
            foreign += others
        if foreign and not self._overwrite:
            more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
            raise UsageError(
                f"{foreign[0]}{more}: made from another recording or by another model or options; "
                "expected a folder without them: choose another --output_dir, or --overwrite true to replace them"
            )
        return remaining

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """See `Results.write`. Raises UsageError where the disk is full or the folder cannot be written to."""
        if transcript is None:
            return
        try:
            self._append(recording, done=False)
            for name, path in self._paths(recording).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                content = rendered(transcript, name, seconds, self._subtitles, recording, self._selection)
                write_text_atomically(path, content)
            self._append(recording, done=True)
            for pieces in self._kept.pop(recording.name, ()):
                pieces.remove()
        except OSError as error:
            raise self._unwritable(error) from None

    def kept_pieces(self, recording: Recording, longest_seconds: float) -> KeptPieces | None:
        """See `Results.kept_pieces`. Raises UsageError where the file cannot be read."""
        origin = self._origin(recording)  # as it is now, for it may have changed since `pending`
        if origin is None:
            return None
        path = self._folder / recording.name
        channel = "" if recording.channel is None else f".{recording.channel}"
        try:
            found = KeptPieces(path.with_name(f".{path.name}{channel}.pieces"), f"{origin}{channel}|{longest_seconds}")
        except OSError as error:
            raise self._unwritable(error) from None
        self._kept.setdefault(recording.name, []).append(found)
        return found

    def _paths(self, recording: Recording) -> dict[str, Path]:
        """The file of each format."""
        return {name: self._folder / f"{recording.name}{SUFFIXES[name]}" for name in self._formats}

    def _origin(self, recording: Recording) -> str | None:
        """The recording as it is now, and what it is transcribed with; None where it cannot be known again."""
        identity = recording.identity
        return None if identity is None else f"{identity}|{self._made_with}"

    def _append(self, recording: Recording, *, done: bool) -> None:
        made_of = self._origins[recording.name]
        line = {"name": recording.name, "made_of": made_of, "formats": list(self._formats), "done": done}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self) -> dict[str, Logged]:
        """What the last line of each name says, with the formats of all lines that are made of the same; a line that a
        kill cut short is left out.
        """
        found: dict[str, Logged] = {}
        if not self._log.exists():
            return found
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                name, made_of = str(values["name"]), values["made_of"]
                before = found.get(name)
                formats = frozenset(values.get("formats", READ_ALONE))  # which older versions did not write
                if before is not None and before.made_of == made_of:
                    formats |= before.formats
                found[name] = Logged(made_of, bool(values["done"]), formats)
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
    its name, json is JSON Lines with the name as `audio`, and formats OF_SEVERAL follow one another.
    """

    def __init__(
        self,
        format_name: str,
        subtitles: Subtitles,
        file: IO[str] | None = None,
        selection: SegmentSelection | None = None,
    ) -> None:
        self._format, self._subtitles, self._selection = format_name, subtitles, selection
        self._file = sys.stdout if file is None else file
        self._count = 0
        self._next = 0
        self._waiting: dict[int, str] = {}

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """See `Results.pending`: all of them."""
        self._count = len(recordings)
        if self._count > 1 and self._format not in ("txt", "json", *OF_SEVERAL):
            raise UsageError(
                f"--format {self._format} of {self._count:,} recordings cannot share standard output; expected txt, "
                f"json, {' or '.join(OF_SEVERAL)} there: name a folder with --output_dir"
            )
        if self._format == CTM:
            seen: dict[str, Recording] = {}
            for recording in recordings:
                other = seen.setdefault(ctm_name(recording), recording)
                if other is not recording:
                    raise UsageError(
                        f"--format ctm calls {other.shown} and {recording.shown} {ctm_name(recording)}; expected "
                        "different names, by which sclite knows recordings: rename one, or leave it out"
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

    def kept_pieces(self, recording: Recording, longest_seconds: float) -> KeptPieces | None:
        """See `Results.kept_pieces`: nothing is kept."""
        return None

    def _rendered(self, recording: Recording, transcript: Transcript, seconds: float) -> str:
        if self._count == 1 or self._format in OF_SEVERAL:
            return rendered(transcript, self._format, seconds, self._subtitles, recording, self._selection)
        named = recording.shown.encode("utf-8", "backslashreplace").decode()  # a name that is not UTF-8
        if self._format == "txt":
            on_one_line = printable(named).replace("\n", "␊")
            return f"{on_one_line}: {transcript.text}\n"
        return json_line({"audio": named, **transcript.as_dict()})
