"""rejects.jsonl: the utterances that a run could not use, found before training and during it, by all processes."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from preprocessing.corpus import Reject
from preprocessing.storage.atomic_write import read_json_lines, write_json_lines

WRITTEN_SHARE = 0.01  # new rejects are written at once unless they are fewer than this share of those in the file


class Rejects:
    """One line for each rejected utterance, in the order in which they were found; `len` counts them.

    A process adds what it finds; `gather` shares it with all processes, and the main process writes it. The file is
    always replaced as a whole. Rejects that a kill loses were found after the last checkpoint, and are found again by
    the resumed run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all: list[Reject] = []
        self._before_training: set[Reject] = set()
        self._ids_in_training: set[str] = set()
        self._pending: list[Reject] = []
        self._n_written = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def n_pending(self) -> int:
        """Rejects that this process has added since `gather`."""
        return len(self._pending)

    @property
    def n_in_training(self) -> int:
        """Rejects found while training, by this run and those that it resumes."""
        return len(self._ids_in_training)

    def begin(self, before_training: Iterable[Reject], *, resumed: bool) -> None:
        """Write what was found before training. resumed: keep what the file has from training."""
        self._all = list(before_training)
        self._before_training = set(self._all)
        if resumed:
            for row in read_json_lines(self._path, appended=True):
                self._include(Reject(**row))
        self._replace()

    def add(self, reject: Reject) -> None:
        """Remember a reject of this process, unless all processes know it already."""
        if self._is_new(reject):
            self._pending.append(reject)

    def gather(self, accelerator: Accelerator) -> None:
        """Share what every process has added. All processes call it; the main process writes the file."""
        for reject in gather_object(self._pending):
            self._include(reject)
        self._pending = []
        if accelerator.is_main_process and len(self) - self._n_written > WRITTEN_SHARE * self._n_written:
            self.write()

    def write(self) -> None:
        """Write what the file lacks. The main process calls it."""
        if len(self) > self._n_written:
            self._replace()

    def _replace(self) -> None:
        write_json_lines(self._path, map(asdict, self._all))
        self._n_written = len(self)

    def _is_new(self, reject: Reject) -> bool:
        """Ids are unique among the training utterances; before training, two corpora may have the same one."""
        return reject.where not in self._ids_in_training and reject not in self._before_training

    def _include(self, reject: Reject) -> None:
        if self._is_new(reject):
            self._ids_in_training.add(reject.where)
            self._all.append(reject)
