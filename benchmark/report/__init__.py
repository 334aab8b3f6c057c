"""The report of a benchmark, made from its results alone: no model is loaded and nothing is scored.

`write_reports` writes report.html, summary.md, systems.csv, utterances.csv and figures/; `table.print_table` prints the
table on a terminal; `python -m benchmark.report RESULTS` makes the report of a finished run again.

page.py renders report.html from templates/, page.css, browser.css and page.js; verdict.py and fairness.py write its
sentences, quantities.py the rows of the table, utterances.py aligns the texts, browser.py makes the JSON of the
utterance list, clips.py the recordings in it, figures/ the plots; table.py writes terminal and Markdown, export.py CSV
and pictures.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmark.results import Sample, Summary, Timing
from preprocessing.storage.atomic_write import write_text_atomically

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
    """Write summary.md, systems.csv, utterances.csv, figures/ and report.html into `folder`, each file atomically; the
    page last, as most can go wrong with it.

    timings: for the latencies of single utterances; without them their figure and column are left out.
    n_worst: how many of the utterances with most errors the page shows without JavaScript and on paper.
    n_audio: how many of them carry their recording, where its file still exists.

    Raises InputError when the samples are of another run than the summary, UsageError when the summary's first text
    profile does not exist in this version.
    """
    # Imported here, so that a command that writes no report does not wait for matplotlib.
    from benchmark.report.export import write_figures, write_tables
    from benchmark.report.page import prepare, render
    from benchmark.report.table import markdown
    from preprocessing.text import profile

    content = prepare(summary, samples, timings, profile(summary.profiles[0].name))
    write_text_atomically(folder / SUMMARY, markdown(summary))
    write_tables(folder, summary, content.utterances, content.latencies, content.judged)
    write_figures(folder, content.plots)
    write_text_atomically(folder / PAGE, render(content, n_worst=n_worst, n_audio=n_audio))
