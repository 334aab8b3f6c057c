"""`python -m benchmark.report RESULTS`: make the report of a finished run again, from its files alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from preprocessing.cli.options import check_counts, parse_command, run_command

DESCRIPTION = "Regenerate report.html, summary.md, the CSV tables and figures/ of a finished run."


@dataclass(frozen=True)
class ReportConfig:
    """The run, and how much of it the page shows."""

    renamed: ClassVar[Mapping[str, str]] = {
        "folder": "results",
        "worst": "worst_utterances",
        "audio": "audio_utterances",
    }

    results: Path
    """Output folder of a benchmark run, with samples.jsonl and summary.json."""

    worst_utterances: int = 30
    """Number of utterances shown without JavaScript and in print: those with most errors."""

    audio_utterances: int = 40
    """Number of utterances with playable audio: those with most errors; 0 for none."""


def main() -> None:
    """Read the command line, write the report, print the table. Raises InputError when a file is missing or invalid."""
    config = parse_command(ReportConfig, program="python -m benchmark.report", description=DESCRIPTION, positional=True)
    check_counts(("--worst_utterances", config.worst_utterances, 0), ("--audio_utterances", config.audio_utterances, 0))
    from benchmark.report import PAGE, SUMMARY, write_reports
    from benchmark.report.table import print_table
    from benchmark.results import SAMPLES
    from benchmark.results import SUMMARY as RESULTS
    from benchmark.results.folder import ResultsFolder

    folder = config.results
    results = ResultsFolder(folder)
    results.check(RESULTS, SAMPLES)
    summary, samples, timings = results.read_summary(), list(results.read_samples()), results.read_timings()
    write_reports(folder, summary, samples, timings, n_worst=config.worst_utterances, n_audio=config.audio_utterances)
    print_table(summary)
    print(f"written: {folder / SUMMARY}, {folder / PAGE}")


if __name__ == "__main__":
    run_command(main)
