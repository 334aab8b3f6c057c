"""Console commands of the installed package: `asr-NAME` is `python -m FLOOR.NAME`, `asr-benchmark` benchmark/run.py.

pyproject.toml lists the same names under [project.scripts], all for `run`.
"""

import importlib
import sys
from pathlib import Path

from preprocessing.cli.options import run_command

COMMANDS = {
    "asr-align": "finetune.align",
    "asr-align-corpus": "finetune.align_corpus",
    "asr-app": "benchmark.app.__main__",
    "asr-audio": "preprocessing.audio.__main__",
    "asr-benchmark": "benchmark.run",
    "asr-corpus": "preprocessing.corpus.__main__",
    "asr-doctor": "benchmark.doctor",
    "asr-export": "finetune.export.__main__",
    "asr-fetch": "preprocessing.fetch.__main__",
    "asr-hub": "finetune.hub.__main__",
    "asr-language-model": "finetune.language_model.__main__",
    "asr-prepare": "preprocessing.prepare.__main__",
    "asr-report": "benchmark.report.__main__",
    "asr-scoring": "benchmark.scoring.__main__",
    "asr-segment": "preprocessing.segment.__main__",
    "asr-show": "preprocessing.show",
    "asr-split": "preprocessing.split",
    "asr-text": "preprocessing.text.__main__",
    "asr-train": "finetune.train",
    "asr-transcribe": "finetune.transcribe",
    "asr-units": "preprocessing.units.__main__",
}


def run() -> None:
    """Run the command that this process was started as. Its module is imported by name: it may be on a higher floor."""
    module = importlib.import_module(COMMANDS[Path(sys.argv[0]).stem])
    run_command(module.main)
