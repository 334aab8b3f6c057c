"""The folder of pieces that `finetune.align_corpus` writes, and what in it is done: pieces/, manifest.jsonl and
rejects.jsonl to train on, recordings/ and fingerprint to go on with.

recordings/ has a file for each recording that could be aligned: its lines, and the state of its audio, its text and the
model's weights that they were made of. A recording is done when these are the present ones and its pieces are there.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import write_json_lines, write_text_atomically
from preprocessing.storage.file_identity import file_state
from preprocessing.storage.folder_lock import LOCK

FINGERPRINT = "fingerprint"  # of version and options
MANIFEST, REJECTS = "manifest.jsonl", "rejects.jsonl"

Line = dict[str, Any]  # of manifest.jsonl or rejects.jsonl
InputState = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A recording and its text file. source: the recording's path below the folder that was named: monday/call.wav."""

    recording: Path
    transcript: Path
    source: str

    @property
    def name(self) -> str:
        """The source without suffix: monday/call."""
        return str(Path(self.source).with_suffix(""))


@dataclass(frozen=True)
class Result:
    """The lines of a recording in manifest.jsonl and rejects.jsonl."""

    kept: list[Line] = field(default_factory=list)
    rejected: list[Line] = field(default_factory=list)


def input_state(pair: Pair, weights: Sequence[tuple[str, int, int]]) -> InputState | None:
    """What decides a recording's pieces, beside the options: size in bytes and time of change in ns of its audio,
    SHA-256 of its text, and `weights` as `finetune.systems.identity.weights_state` gives them.

    None where its files cannot be read.
    """
    state = file_state(pair.recording)
    try:
        text = hashlib.sha256(pair.transcript.read_bytes()).hexdigest()
    except OSError:  # said when it is aligned
        return None
    return None if state is None else {"audio": [*state], "text": text, "weights": [list(one) for one in weights]}


class AlignmentFolder:
    """A folder of pieces, new or to go on in. Every method raises UsageError where it cannot be written to."""

    def __init__(self, path: Path, channel: int | None = None) -> None:
        """channel: that of the recordings, from 0, which is part of the pieces' ids; None of all of them mixed."""
        self.path = path
        self._channel = channel

    def check(self, fingerprint: str, *, overwrite: bool) -> None:
        """Raises UsageError where `begin` cannot go on: the folder holds other files, or, unless it is to be emptied,
        was made with another fingerprint.
        """
        try:
            theirs = self._fingerprint()
            if theirs is None and any(path.name != LOCK for path in self.path.iterdir()):
                raise UsageError(
                    f"{self.path}: holds other files; expected a new folder, or one of this command to go on in: "
                    "choose another folder"
                )
        except OSError as error:
            raise self._unusable(error) from None
        if theirs not in (None, fingerprint) and not overwrite:
            raise UsageError(
                f"{self.path}: was made with other options, or by another version of this command; expected a new "
                "folder, or the same options to go on: choose another folder, or --overwrite true"
            )

    def begin(self, fingerprint: str, *, overwrite: bool) -> None:
        """Write the fingerprint of the options. overwrite: what an earlier run has made is removed before."""
        try:
            if self._fingerprint() is not None and overwrite:
                self._remove_lists()
                for folder in (self.path / "recordings", self.path / "pieces"):
                    if folder.exists():
                        shutil.rmtree(folder)
            write_text_atomically(self.path / FINGERPRINT, fingerprint + "\n")
        except OSError as error:
            raise self._unusable(error) from None

    def id_of(self, pair: Pair) -> str:
        """The recording's id, with which those of its pieces begin: monday/call, or monday/call-1 of channel 1."""
        return pair.name if self._channel is None else f"{pair.name}-{self._channel}"

    def piece(self, name: str) -> Path:
        """The file of a piece by its id, in a folder that is there."""
        path = self.path / "pieces" / f"{name}.flac"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        return path

    def holds(self, pair: Pair) -> bool:
        """Whether there are results of the recording, current or not."""
        return self._part(pair).exists()

    def is_done(self, pair: Pair, current: InputState | None) -> bool:
        """Whether there are results of the recording that were made from the inputs `current`, with all pieces."""
        part = self._read(pair)
        if part is None or current is None or part["made_of"] != current:
            return False
        return all((self.path / line["audio"]).is_file() for line in part["kept"])

    def remove(self, pair: Pair) -> None:
        """Remove what there is of a recording: the lists first, which would name pieces of another content."""
        base = self.path / "pieces" / self.id_of(pair)
        its_own = re.compile(re.escape(base.name) + r"-\d{4,}\.flac")
        try:
            pieces = [path for path in base.parent.glob("*.flac") if its_own.fullmatch(path.name)]
            if pieces or self.holds(pair):
                self._remove_lists()
                for path in (self._part(pair), *pieces):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, pair: Pair, current: InputState | None, result: Result) -> None:
        """Keep the lines of a recording whose pieces are written."""
        content = json.dumps({"made_of": current, **asdict(result)}, ensure_ascii=False)
        try:
            self._part(pair).parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self._part(pair), content)
        except OSError as error:
            raise self._unwritable(error) from None

    def assemble(self, pairs: Sequence[Pair], failed: Mapping[Pair, Result]) -> Result:
        """Write manifest.jsonl and rejects.jsonl of all recordings, those that failed included; returns their lines."""
        together = Result()
        for pair in pairs:
            part = asdict(failed[pair]) if pair in failed else self._read(pair)
            assert part is not None  # written in this run, or read as done
            together.kept.extend(part["kept"])
            together.rejected.extend(part["rejected"])
        try:
            for name, lines in ((MANIFEST, together.kept), (REJECTS, together.rejected)):
                write_json_lines(self.path / name, lines)
        except OSError as error:
            raise self._unwritable(error) from None
        return together

    def _fingerprint(self) -> str | None:
        path = self.path / FINGERPRINT
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def _part(self, pair: Pair) -> Path:
        return self.path / "recordings" / f"{pair.source}.json"

    def _read(self, pair: Pair) -> dict[str, Any] | None:
        """What `write` wrote; None where there is nothing that can be read."""
        try:
            part = json.loads(self._part(pair).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return part if isinstance(part, dict) and {"made_of", "kept", "rejected"} <= set(part) else None

    def _remove_lists(self) -> None:
        for name in (MANIFEST, REJECTS):
            (self.path / name).unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path}: {error.strerror}; expected a folder to write to: choose another")

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.path}: {error.strerror}; expected room for the pieces: free some, and run the same command to go on"
        )
