"""Everything of a benchmark that a reader sees, from its results alone: no model, no scoring.

`write_reports` writes summary.md and report.html; benchmark.report.table prints the table to a terminal.
`python -m benchmark.report FOLDER` renders a finished run again.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmark.results import Sample, Summary
from preprocessing.whole import write_whole

SUMMARY, PAGE = "summary.md", "report.html"


def write_reports(folder: Path, summary: Summary, samples: Sequence[Sample], n_worst: int = 30) -> None:
    """Write summary.md and report.html into `folder`, each whole or not at all.

    `n_worst` is how many of the utterances with most errors the page shows. Raises InputError when the samples are of
    another run than the summary, UsageError when the summary's first text profile does not exist here.
    """
    # Imported here so that a command that never reports does not wait for matplotlib.
    from benchmark.report.page import render_page
    from benchmark.report.table import markdown
    from preprocessing.text import profile

    page = render_page(summary, samples, profile(summary.profiles[0].name), n_worst)
    write_whole(folder / SUMMARY, markdown(summary))
    write_whole(folder / PAGE, page)
