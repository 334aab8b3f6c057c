"""Command: `python -m benchmark.report FOLDER` makes the report of a finished run again, from its files alone."""

import argparse
from pathlib import Path

from benchmark.report import PAGE, SUMMARY, write_reports
from benchmark.results import SAMPLES, TIMINGS, read_samples, read_summary, read_timings
from benchmark.results import SUMMARY as RESULTS
from preprocessing.cli.errors import InputError
from preprocessing.cli.options import run_command


def main() -> None:
    """Read the command line, write the report, print the table. Raises InputError when a file is not usable."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.report",
        description="Make report.html, summary.md, the CSV tables and figures/ of a finished run again.",
    )
    parser.add_argument("folder", type=Path, help="where a benchmark left samples.jsonl and summary.json")
    parser.add_argument("--worst", type=int, default=30, metavar="N", help="utterances to print in full (default: 30)")
    parser.add_argument("--audio", type=int, default=40, metavar="N", help="utterances to listen to (default: 40)")
    arguments = parser.parse_args()
    for flag, count in (("--worst", arguments.worst), ("--audio", arguments.audio)):
        if count < 0:
            parser.error(f"argument {flag}: {count} is below zero; expected how many utterances: give 0 or more")
    folder: Path = arguments.folder
    for name in (RESULTS, SAMPLES):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; name a folder that a benchmark run has written")
    summary, samples = read_summary(folder / RESULTS), list(read_samples(folder / SAMPLES))
    timings = list(read_timings(folder / TIMINGS)) if (folder / TIMINGS).is_file() else []

    from benchmark.report.table import print_table

    write_reports(folder, summary, samples, timings, n_worst=arguments.worst, n_audio=arguments.audio)
    print_table(summary)
    print(f"written: {folder / SUMMARY}, {folder / PAGE}")


if __name__ == "__main__":
    run_command(main)
