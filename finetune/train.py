"""`accelerate launch finetune/train.py --config FILE`: fine-tune a speech recogniser.

Options are those of `finetune.config.TrainConfig`; the run itself is `finetune.training_run.train`.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# torch reads this when it is imported. On a CPU, a step frees and allocates the same gigabytes as the one before: in
# pages of 4 KiB the kernel spends up to 2.6 s on them beside 6.3 s of arithmetic (wav2vec2-base, 24 s of audio, one
# core, 2026-11-23), in pages of 2 MiB 0.2 s.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# As does its OpenMP. Threads that wait for each other spin, by default 300,000 times, while one whose core another
# program has taken cannot go on: on two cores beside one program that computes, an LSTM trains at 7 s of audio a second
# by default and at 53 with 10,000 times; alone at 145 to 153 with either (Intel Xeon, 2026-11-30).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path[0] = str(ROOT)  # the folder of a script comes first, where our modules would hide libraries of their name

from finetune.config import TrainConfig
from preprocessing.cli.options import parse_command, run_command
from preprocessing.cli.processes import end_with_launcher
from preprocessing.errors import InputError
from preprocessing.storage.atomic_write import DISK_FULL

DESCRIPTION = (
    "Fine-tune wav2vec2-CTC, Whisper or an LSTM-CTC on your speech. Ctrl-C saves a checkpoint; the same command "
    "resumes the run."
)


def main() -> None:
    end_with_launcher()
    config = parse_command(TrainConfig, program="finetune/train.py", description=DESCRIPTION)
    config.check()
    from finetune.training_run import train

    try:
        train(config)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise InputError(
            f"{config.output_dir}: {error.strerror}; expected disk space for the run's files: checkpoints saved so far "
            "are complete; free some space and run the same command again"
        ) from None


if __name__ == "__main__":
    run_command(main)
