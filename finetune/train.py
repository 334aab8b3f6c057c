"""`accelerate launch finetune/train.py --config ...`: fine-tune a recogniser on your speech.

Thin: options in, parts put together, the loop run. The run's folder then loads without this project.
"""

import errno
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Read once, at torch's import. On a CPU an update frees and takes the same gigabytes as the one before: in pages of
# 4 KiB the kernel spends up to 2.6 s on them beside 6.3 s of arithmetic (wav2vec2-base, 24 s of audio, one core,
# 2026-11-23), in pages of 2 MiB 0.2 s.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path[0] = str(ROOT)  # a script's own folder comes first, where our modules would hide libraries of their name

from finetune.config import TrainConfig
from preprocessing.cli.errors import InputError
from preprocessing.cli.options import parse_command, run_command

OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DESCRIPTION = "Train wav2vec2-CTC, Whisper or an LSTM-CTC on your speech. Run again to resume; Ctrl-C saves first."


def main() -> None:
    config = parse_command(TrainConfig, program="finetune/train.py", description=DESCRIPTION)
    config.check()
    from finetune.training.run import train

    try:
        train(config)
    except OSError as error:
        if error.errno not in OUT_OF_ROOM:
            raise
        raise InputError(
            f"{config.output}: {error.strerror}; expected room for the run's files: what was saved is whole; free some "
            "space and run the same command again"
        ) from None


if __name__ == "__main__":
    run_command(main)
