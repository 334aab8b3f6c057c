"""log.jsonl of a run, read: by those that watch a training, or ask how it ended, without importing torch.

`RunWriter` writes it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from preprocessing.cli.atomic_write import read_json_lines

LOG = "log.jsonl"
BEST = "best"  # kind of a line: from here on the folder has the model of the evaluations at `steps`
LogLine = Mapping[str, Any]


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl, without a last one that a kill cut off; [] where there is none."""
    return read_json_lines(folder / LOG, appended=True)


def evaluations_since_best(log: Iterable[LogLine]) -> int:
    """How many evaluations in a row, up to the end of the log, were no better than the best one before them; also over
    a change of the validation set, after which a run counts anew.

    >>> evaluation, best = {"kind": "validation"}, {"kind": "best", "steps": [10]}
    >>> evaluations_since_best([evaluation, best, evaluation, evaluation])
    2
    """
    count = 0
    for line in log:
        if line["kind"] == "validation":
            count += 1
        elif line["kind"] == BEST and len(line["steps"]) == 1:  # with several, it is their mean, at the end of the run
            count = 0
    return count
