"""`python -m finetune.export RUN OUT --format FORMAT`: a run's best model in the format that another program loads.

What each format is, and of which families, is in `formats.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Write a run's best model in the format that another program loads."


@dataclass(frozen=True)
class ExportConfig:
    """Options of the command."""

    run: Path
    """Folder of a run: a training's --output_dir. It is only read."""

    out: Path
    """What is written: a folder, for openai a file ending in .pt."""

    format: Literal["ctranslate2", "openai", "transformers"] = "transformers"
    """ctranslate2: a folder for faster-whisper (whisper). openai: a .pt file for whisper.load_model (whisper).
    transformers: a folder for from_pretrained (every family)."""

    quantise: Literal["float32", "float16", "int8"] | None = None
    """Numbers that the weights are stored in (ctranslate2): int8 is the smallest, and the fastest on a CPU. Default:
    float16."""

    overwrite: bool = False
    """Replace what is at OUT."""


def main() -> None:
    config = parse_command(ExportConfig, program="python -m finetune.export", description=DESCRIPTION, positional=True)
    from finetune.export.formats import export

    print(export(config.run, config.out, config.format, quantise=config.quantise, overwrite=config.overwrite))


if __name__ == "__main__":
    run_command(main)
