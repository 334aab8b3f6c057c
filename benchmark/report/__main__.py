"""`python -m benchmark.report FOLDER`: make the report of a finished run again, from its files alone."""

import argparse
from pathlib import Path

from benchmark.report import PAGE, SUMMARY, write_reports
from benchmark.results import SAMPLES, TIMINGS, read_samples, read_summary, read_timings
from benchmark.results import SUMMARY as RESULTS
from preprocessing.cli.errors import InputError
from preprocessing.cli.options import run_command


def main() -> None:
    """Read the command line, write the report, print the table. Raises InputError when a file is missing or invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.report",
        description="Make report.html, summary.md, the CSV tables and figures/ of a finished run again.",
    )
    parser.add_argument(
        "folder", type=Path, help="output folder of a benchmark run, with samples.jsonl and summary.json"
    )
    parser.add_argument(
        "--worst",
        type=int,
        default=30,
        metavar="N",
        help="utterances shown without JavaScript and on paper, those with most errors (default: 30)",
    )
    parser.add_argument(
        "--audio",
        type=int,
        default=40,
        metavar="N",
        help="utterances that carry their recording, those with most errors (default: 40, 0: none)",
    )
    arguments = parser.parse_args()
    for flag, count in (("--worst", arguments.worst), ("--audio", arguments.audio)):
        if count < 0:
            parser.error(f"argument {flag}: {count}; expected 0 or more utterances")
    folder: Path = arguments.folder
    for name in (RESULTS, SAMPLES):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name} does not exist; expected a folder written by benchmark/run.py: check the path"
            )
    summary, samples = read_summary(folder / RESULTS), list(read_samples(folder / SAMPLES))
    timings = list(read_timings(folder / TIMINGS)) if (folder / TIMINGS).is_file() else []

    from benchmark.report.table import print_table

    write_reports(folder, summary, samples, timings, n_worst=arguments.worst, n_audio=arguments.audio)
    print_table(summary)
    print(f"written: {folder / SUMMARY}, {folder / PAGE}")


if __name__ == "__main__":
    run_command(main)
