"""The page: one HTML file that stands alone, from results alone.

What is shown is gathered here; how it looks is in templates/, page.css, browser.css and page.js. Every text of the data
is escaped by the template engine; only our own drawings, style sheets, script and JSON go in as they are.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report import browser, quantities, verdict, views
from benchmark.report.figures import plots, properties
from benchmark.report.figures.accuracy import MAX_VALUES
from benchmark.report.figures.robustness import noises
from benchmark.report.figures.speed import MAX_POINTS, Point
from benchmark.report.figures.style import PAGE, WIDE, Plot
from benchmark.report.listening import clips
from benchmark.report.utterances import Recording, Utterance, along_time, recount_notes, side_by_side, worst_first
from benchmark.results import Sample, Summary, Timing

LONG_TEXT_WORDS = 150  # from here on a text is folded until its reader opens it, and says what is alike in a word
CONTEXT_WORDS = 8  # on either side of a difference in a long text
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report is made of. latencies: seconds by system and utterance, the median of the rounds."""

    summary: Summary
    utterances: Sequence[Utterance]
    latencies: Mapping[tuple[str, str], float]
    points: Mapping[str, Sequence[Point]]
    plots: Mapping[str, Plot]
    recordings: Sequence[Recording] = ()


def prepare(
    summary: Summary, samples: Sequence[Sample], timings: Sequence[Timing], normalise: Callable[[str], str]
) -> Content:
    """Align every text, and bring the figures together. `normalise` is the summary's first profile.

    Raises InputError when the samples are of another run than the summary.
    """
    utterances = side_by_side(summary, samples, normalise)
    rounds: dict[tuple[str, str], list[Timing]] = {}
    for timing in timings:
        rounds.setdefault((timing.system, timing.id), []).append(timing)
    latencies = {at: median(one.seconds.total for one in own) for at, own in rounds.items()}
    points: dict[str, list[Point]] = {}
    for (system, id), own in rounds.items():
        points.setdefault(system, []).append((own[0].audio_seconds, latencies[system, id]))
    recordings = along_time(utterances, normalise)
    drawn = plots(summary, utterances, points, recordings)
    return Content(summary, utterances, latencies, points, drawn, recordings)


def render(content: Content, *, n_worst: int = 30, n_audio: int = 40) -> str:
    """The whole page as text; `n_worst` utterances stand in it without JavaScript, `n_audio` can be listened to."""
    summary, utterances = content.summary, content.utterances
    systems = views.system_views(summary, utterances)
    sounds = clips(worst_first(utterances, n_audio))
    shown = browser.choose(utterances)
    drawn = {name: _inline(plot) for name, plot in content.plots.items()}
    rows = quantities.quantities(summary)
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            summary=summary,
            profile=summary.profiles[0].name,
            systems=systems,
            by_name={system.name: system for system in systems},
            named=verdict.named(summary),
            verdict=verdict.verdict(summary),
            caveats=verdict.caveats(summary),
            notices=verdict.notices(summary),
            groups=views.grouped(rows),
            terms=list(quantities.terms(rows).items()),
            figures={name: markup for name, markup in drawn.items() if markup},
            comparisons=summary.comparisons,
            several_conditions=verdict.several_conditions(summary.comparisons),
            noises=noises(summary.conditions),
            conditions=views.condition_rows(summary),
            properties=properties(summary),
            segmented=[(s, own.segments) for s, own in zip(systems, summary.systems, strict=True) if own.segments],
            recordings=content.recordings,
            unit_of_segments="speakers" if summary.corpus.resampling_unit == "speaker" else "segments",
            max_values=MAX_VALUES,
            max_points=MAX_POINTS,
            thinned=any(len(own) > MAX_POINTS for own in content.points.values()),
            stages=views.stage_bars(summary.systems),
            hallucinations=views.hallucinations(summary),
            confusions=views.confusions(summary),
            worst=worst_first(utterances, n_worst),
            notes=recount_notes(summary, utterances),
            failed=views.failed(utterances),
            unit_reason=views.UNIT_REASONS.get(summary.corpus.resampling_unit, summary.corpus.resampling_unit),
            several_languages=len({row.first.language for row in utterances}) > 1,
            long_text_words=LONG_TEXT_WORDS,
            context_words=CONTEXT_WORDS,
            shown=shown,
            n_sounds=len(sounds),
            browser=browser.browser_json(
                shown,
                [system.name for system in systems],
                content.latencies,
                {system.facts.name: system.loops for system in summary.systems},
                sounds,
            ),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            contract=views.contract(),
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written to a file


def _inline(plot: Plot) -> Markup:
    """The figure at each of its widths; the page shows the one that fits."""
    found = []
    for width in plot.widths:
        drawing = plot.draw(width, PAGE)
        if drawing is not None:
            both = len(plot.widths) > 1
            found.append(drawing.inline(f"drawing {'wide' if width == WIDE else 'narrow'}-only" if both else "drawing"))
    return Markup("".join(found))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheets = [(_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "browser.css")]
    environment.globals["style"] = Markup("\n".join(sheets))
    environment.filters |= {
        "percent": quantities.percent,
        "interval": quantities.interval,
        "thousands": "{:,}".format,
        "counted": quantities.counted,
        "points": quantities.points,
        "extent": quantities.extent,
        "milliseconds": quantities.milliseconds,
        "p_value": verdict.p_value,
        "significance": verdict.significance,
    }
    return environment
