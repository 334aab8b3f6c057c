"""`python benchmark/run.py --models wav2vec2,whisper`: which recogniser is better on this speech, and is it chance?

Thin: it parses the options and calls `benchmark.session`. The results are in --output_dir, report.html among them.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Read once, at torch's import, by every system's process: large tensors in pages of 2 MiB. In pages of 4 KiB the kernel
# can spend a third of a CPU's time on handing out what was just given back (finetune/train.py).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path[0] = str(ROOT)  # a script's own folder comes first, where our modules would hide libraries of their name

from benchmark.config import BenchmarkConfig
from preprocessing.cli.options import parse_command, run_command
from preprocessing.cli.processes import end_with_launcher

DESCRIPTION = "Benchmark recognisers on one corpus: WER with confidence intervals, latency and memory, in one report."


def main() -> None:
    """Run the benchmark that the command line describes."""
    end_with_launcher()
    config = parse_command(BenchmarkConfig, program="benchmark/run.py", description=DESCRIPTION)
    from benchmark.session import benchmark

    benchmark(config)


if __name__ == "__main__":
    run_command(main)
