"""Everything of a benchmark that a reader sees, from its results alone: no model, no scoring.

`write_reports` writes report.html, summary.md, systems.csv, utterances.csv and figures/; benchmark.report.table prints
the table to a terminal. `python -m benchmark.report FOLDER` renders a finished run again.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmark.results import Sample, Summary, Timing
from preprocessing.cli.atomic_write import write_text_atomically

SUMMARY, PAGE = "summary.md", "report.html"


def write_reports(
    folder: Path,
    summary: Summary,
    samples: Sequence[Sample],
    timings: Sequence[Timing] = (),
    *,
    n_worst: int = 30,
    n_audio: int = 40,
) -> None:
    """Write report.html, summary.md, two tables as CSV and figures/ into `folder`, each file whole or not at all.

    timings: where latencies of single utterances come from; without any, no figure shows them.
    n_worst: how many of the utterances with most errors the page shows without JavaScript and on paper.
    n_audio: how many of them can be listened to, where their recordings still lie where they did.

    Raises InputError when the samples are of another run than the summary, UsageError when the summary's first text
    profile does not exist here.
    """
    # Imported here so that a command that never reports does not wait for matplotlib.
    from benchmark.report.files import write_figures, write_tables
    from benchmark.report.page import prepare, render
    from benchmark.report.table import markdown
    from preprocessing.text import profile

    content = prepare(summary, samples, timings, profile(summary.profiles[0].name))
    page = render(content, n_worst=n_worst, n_audio=n_audio)
    write_text_atomically(folder / SUMMARY, markdown(summary))
    write_tables(folder, summary, content.utterances, content.latencies)
    write_figures(folder, content.plots)
    write_text_atomically(folder / PAGE, page)
