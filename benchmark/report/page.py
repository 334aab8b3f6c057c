"""report.html: one self-contained HTML file.

`prepare` gathers what is shown, `render` fills templates/ with it; page.css and browser.css style it, page.js runs the
utterance browser. Jinja escapes every text of the results; drawings, style sheets, script and JSON are marked safe.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report import browser, quantities, verdict, views, words
from benchmark.report.clips import Clip, clips
from benchmark.report.figures import plots, sliced_properties
from benchmark.report.figures.accuracy import MAX_SLICES
from benchmark.report.figures.robustness import noise_kinds
from benchmark.report.figures.speed import MAX_POINTS, Point
from benchmark.report.figures.style import PAGE_PALETTE, WIDE, Plot
from benchmark.report.utterances import (
    ComparedUtterance,
    WerOverTime,
    compare_utterances,
    wer_over_time,
    worst_utterances,
)
from benchmark.results import CLEAN, Sample, Summary, Timing
from benchmark.scoring.scripts import tokens
from benchmark.scoring.speed import call_cost_sentences
from preprocessing.errors import counted
from preprocessing.text import profile

LONG_TEXT_WORDS = 150  # a longer text is folded until its reader opens it, and its equal passages are shortened
WHOLE_NAME = 24  # characters of a system's name that are not broken over two lines
MOST_ON_PAPER = 7  # columns of tables on paper in letters of the usual size
CONTEXT_WORDS = 8  # on either side of a difference in a long text
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything that a report is made of.

    latencies: seconds by system and utterance id, the median of the rounds. points: (duration, latency) in seconds by
    system. plots: by figure name. judged: utterances under the summary's word_profile; None where it has none.
    """

    summary: Summary
    utterances: Sequence[ComparedUtterance]
    latencies: Mapping[tuple[str, str], float]
    points: Mapping[str, Sequence[Point]]
    plots: Mapping[str, Plot]
    recordings: Sequence[WerOverTime] = ()
    judged: Sequence[ComparedUtterance] | None = None


def prepare(
    summary: Summary, samples: Sequence[Sample], timings: Sequence[Timing], normalise: Callable[[str], str]
) -> Content:
    """Align every text and prepare every figure. `normalise` is the summary's first text profile. Where the summary's
    metric is the CER, characters take the place of words.

    Raises InputError when the samples are of another run than the summary.
    """
    counted = tokens(normalise, summary.metric)
    utterances = compare_utterances(summary, samples, counted)
    rounds: dict[tuple[str, str], list[Timing]] = {}
    for timing in timings:
        rounds.setdefault((timing.system, timing.id), []).append(timing)
    latencies = {key: median(one.seconds.total for one in own) for key, own in rounds.items()}
    points: dict[str, list[Point]] = {}
    for (system, id), own in rounds.items():
        points.setdefault(system, []).append((own[0].audio_seconds, latencies[system, id]))
    recordings = wer_over_time(utterances, counted)
    drawn = plots(summary, utterances, points, recordings)
    judged = None
    if summary.word_profile is not None and any(one.words is not None for one in samples):
        clean = [one for one in samples if one.condition == CLEAN]
        judged = compare_utterances(summary, clean, tokens(profile(summary.word_profile), summary.metric))
    return Content(
        summary=summary,
        utterances=utterances,
        latencies=latencies,
        points=points,
        plots=drawn,
        recordings=recordings,
        judged=judged,
    )


def render(content: Content, *, n_worst: int = 30, n_audio: int = 40) -> str:
    """The whole page. `n_worst` utterances are in it without JavaScript, `n_audio` carry their recording."""
    summary, utterances = content.summary, content.utterances
    systems = views.system_views(summary, utterances)
    drawn = {name: _inline(plot) for name, plot in content.plots.items()}
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            summary=summary,
            profile=summary.profiles[0].name,
            metric=summary.metric.upper(),
            unit=summary.error_unit,
            systems=systems,
            by_name={system.name: system for system in systems},
            figures={name: markup for name, markup in drawn.items() if markup},
            heading=views.HeadingSection.of(summary),
            table=views.TableSection.of(summary),
            several_conditions=verdict.several_conditions(summary.comparisons),
            confusions=views.confusions(summary),
            influences=views.influences(summary),
            words=views.WordsSection.of(summary, utterances),
            noises=noise_kinds(summary.conditions),
            conditions=views.condition_rows(summary),
            properties=sliced_properties(summary),
            keywords=views.keyword_table(summary),
            long=views.LongSection.of(summary, systems, content.recordings),
            call_costs=call_cost_sentences(summary.systems),
            stages=views.stage_bars(summary.systems),
            is_thinned=any(len(points) > MAX_POINTS for points in content.points.values()),
            hallucinations=views.hallucinations(summary),
            utterances=views.UtterancesSection.of(summary, utterances, n_worst),
            browser=browser.BrowserSection.of(summary, utterances, content.latencies, _recorded(utterances, n_audio)),
            settings=views.SettingsSection.of(summary),
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written to a file


def _recorded(utterances: Sequence[ComparedUtterance], n_audio: int) -> dict[tuple[str, str], Clip]:
    """The clips of the `n_audio` utterances with most errors. A condition without speech replaces the recording, so the
    corpus' one is not what its hypotheses are of.
    """
    audible = [one for one in utterances if one.condition == CLEAN or one.first.reference.strip()]
    return clips(worst_utterances(audible, n_audio))


def _inline(plot: Plot) -> Markup:
    """The figure as SVG at each of its widths; CSS shows the one that fits."""
    found = []
    for width in plot.widths:
        drawing = plot.draw(width, PAGE_PALETTE)
        if drawing is not None:
            both = len(plot.widths) > 1
            found.append(drawing.inline(f"drawing {'wide' if width == WIDE else 'narrow'}-only" if both else "drawing"))
    return Markup("".join(found))


def breakable(name: str) -> Markup:
    """A name that may break after = / : _ , | and not within a word.

    >>> breakable("whisper=<b>")
    Markup('whisper=<wbr>&lt;b&gt;')
    """
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[=/:_,|])", name) if part)


def named(name: str) -> Markup:
    """A system's name, on one line where it is short, as those are that this project gives.

    >>> named("whisper tiny.en")
    Markup('<bdi class="whole">whisper tiny.en</bdi>')
    """
    short = len(name) <= WHOLE_NAME
    return Markup('<bdi class="whole">{}</bdi>' if short else "<bdi>{}</bdi>").format(
        name if short else breakable(name)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    sheets = [(_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "browser.css")]
    environment.globals |= {
        "style": Markup("\n".join(sheets)),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "input_contract": views.input_contract(),
        "level_names": words.level_names(),
        "written_below": words.WRITTEN_BELOW,
        "max_slices": MAX_SLICES,
        "max_points": MAX_POINTS,
        "systems_on_paper": MOST_ON_PAPER,
        "long_text_words": LONG_TEXT_WORDS,
        "context_words": CONTEXT_WORDS,
    }
    environment.filters |= {
        "percent": quantities.percent,
        "interval": quantities.interval,
        "thousands": "{:,}".format,
        "counted": counted,
        "breakable": breakable,
        "named": named,
        "described": quantities.described,
        "points": quantities.points,
        "extent": quantities.extent,
        "milliseconds": quantities.milliseconds,
        "percent_of": words.percent_of,
        "level": words.level,
        "p_value": verdict.p_value,
        "significance": verdict.significance,
    }
    return environment
