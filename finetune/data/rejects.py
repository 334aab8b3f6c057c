"""rejects.jsonl of a run: what was set aside, before training and during it, whichever process found it."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from preprocessing.corpus import Reject

WRITTEN_SHARE = 0.01  # what is new is written at once, unless it is less than this of what there is


class Rejects:
    """A line for each utterance, in the order in which they were found; `len` counts them.

    A process notes what it comes across; `share` brings the notes of all together, and the main process writes them.
    The file is replaced as a whole, so that it is never cut off within a line. What a kill loses was found after the
    last checkpoint, and is found again by the run that goes on from there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all: list[Reject] = []
        self._known: set[Reject] = set()  # before training
        self._seen: set[str] = set()  # ids of what training has found
        self._noted: list[Reject] = []
        self._written = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def noted(self) -> int:
        """How many this process has noted since `share`."""
        return len(self._noted)

    @property
    def found(self) -> int:
        """How many were found while training, in this run and those that it goes on from."""
        return len(self._seen)

    def begin(self, known: Iterable[Reject], *, resumed: bool) -> None:
        """Write what is known before training, and keep what training had found where it is resumed."""
        self._all = list(known)
        self._known = set(self._all)
        if resumed:
            for reject in self._read():
                self._take(reject)
        self._replace()

    def note(self, reject: Reject) -> None:
        """Remember what this process came across; what all processes know already is left out."""
        if self._is_new(reject):
            self._noted.append(reject)

    def share(self, accelerator: Accelerator) -> None:
        """Bring together what every process has noted. All processes call it; the main one writes."""
        for reject in gather_object(self._noted):
            self._take(reject)
        self._noted = []
        if accelerator.is_main_process and len(self) - self._written > WRITTEN_SHARE * self._written:
            self.write()

    def write(self) -> None:
        """Put into the file what it lacks. The main process calls it."""
        if len(self) > self._written:
            self._replace()

    def _replace(self) -> None:
        beside = self._path.with_name(self._path.name + ".partial")
        lines = (json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in self._all)
        beside.write_text("".join(lines), encoding="utf-8")
        os.replace(beside, self._path)
        self._written = len(self)

    def _is_new(self, reject: Reject) -> bool:
        """An id is one utterance's alone among those that are trained on; others may share it with one of them."""
        return reject.where not in self._seen and reject not in self._known

    def _take(self, reject: Reject) -> None:
        if self._is_new(reject):
            self._seen.add(reject.where)
            self._all.append(reject)

    def _read(self) -> list[Reject]:
        """Of the file as it is; a last line that a kill cut off, as earlier versions left it, is left out."""
        if not self._path.exists():
            return []
        return [Reject(**json.loads(line)) for line in self._path.read_text(encoding="utf-8").split("\n")[:-1]]
