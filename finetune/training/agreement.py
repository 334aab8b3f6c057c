"""What the processes of a run tell each other before an update, so that all of them do the same."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from accelerate import Accelerator

from finetune.models.base import Batch, Recogniser


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an update is made of, summed over all processes.

    noted: utterances that a process has newly set aside. interrupted: processes that were asked to stop.
    """

    batches: int
    labels: int
    audio_seconds: float
    padded_seconds: float
    noted: int
    interrupted: int


def agree(
    accelerator: Accelerator,
    recogniser: Recogniser,
    batches: Sequence[Batch],
    *,
    noted: int = 0,
    interrupted: bool = False,
) -> Agreed:
    """Add up what every process has for its next update, in one reduction. All processes call it.

    batches: this process's own. noted, interrupted: as in `Agreed`, of this process.
    """
    seconds = [batch.seconds for batch in batches]
    labels = sum(recogniser.count_labels(batch) for batch in batches)
    audio, padded = sum(heard for heard, _ in seconds), sum(computed for _, computed in seconds)
    mine = Agreed(len(batches), labels, audio, padded, noted, int(interrupted))
    all_batches, all_labels, audio, padded, all_noted, stopped = summed(accelerator, astuple(mine))
    return Agreed(round(all_batches), round(all_labels), audio, padded, round(all_noted), round(stopped))


def summed(accelerator: Accelerator, values: Sequence[float]) -> list[float]:
    """Each value summed over all processes, in double precision. All processes call it, with as many values."""
    if accelerator.num_processes == 1:
        return [float(value) for value in values]
    told = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    found: list[float] = accelerator.reduce(told, reduction="sum").tolist()
    return found
