"""Command: `python -m benchmark.report FOLDER` makes summary.md and report.html of a finished run again."""

import argparse
from pathlib import Path

from benchmark.report import PAGE, SUMMARY, write_reports
from benchmark.results import Summary, read_samples, read_summary
from preprocessing.command import run_command
from preprocessing.errors import InputError


def main() -> None:
    """Read the command line, write the two reports, print the table. Raises InputError when a file is not usable."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.report", description="Make summary.md and report.html of a finished run again."
    )
    parser.add_argument("folder", type=Path, help="where a benchmark left samples.jsonl and summary.json")
    parser.add_argument("--worst", type=int, default=30, metavar="N", help="utterances to show in full (default: 30)")
    arguments = parser.parse_args()
    if arguments.worst < 0:
        parser.error(f"argument --worst: {arguments.worst} is below zero; expected how many utterances to show")
    folder: Path = arguments.folder
    for name in ("summary.json", "samples.jsonl"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; name a folder that a benchmark run has written")
    summary, samples = _summary(folder / "summary.json"), list(read_samples(folder / "samples.jsonl"))

    from benchmark.report.table import print_table

    write_reports(folder, summary, samples, arguments.worst)
    print_table(summary)
    print(f"written: {folder / SUMMARY}, {folder / PAGE}")


def _summary(path: Path) -> Summary:
    try:
        return read_summary(path)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a summary of a benchmark run ({error}); run the benchmark again") from error


if __name__ == "__main__":
    run_command(main)
