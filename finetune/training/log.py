"""log.jsonl of a run, read: by those that watch a training, or ask whether and how it ended, without importing torch.

`RunWriter` writes it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from preprocessing.storage.atomic_write import read_json_lines

LOG = "log.jsonl"
BEST = "best"  # kind of a line: from here on the folder has the model of the evaluations at `steps`
LogLine = Mapping[str, Any]


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl, without a last one that a kill cut off; [] where there is none."""
    return read_json_lines(folder / LOG, appended=True)


def has_ended(log: Iterable[LogLine], settings: Mapping[str, Any]) -> bool:
    """Whether a training has ended, by its log: after its last step, or where early stopping ends it.

    settings: of its config.yaml. A training that was stopped goes on when it is started again.

    >>> has_ended([{"kind": "validation", "step": 50}], {"max_steps": 100, "early_stopping_patience": None})
    False
    """
    lines, patience = list(log), settings.get("early_stopping_patience")
    if patience is not None and evaluations_since_best(lines) >= patience:
        return True
    return any(line["kind"] == "validation" and line["step"] >= settings["max_steps"] for line in lines)


def last_step(folder: Path) -> int:
    """The last step of a run that its log or a checkpoint knows; 0 before the first."""
    saved = (path.name.removeprefix("step-") for path in (folder / "checkpoints").glob("step-*"))
    logged = (line["step"] for line in read_log(folder))
    return max([*logged, *(int(step) for step in saved if step.isdecimal())], default=0)


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
