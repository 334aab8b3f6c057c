"""The page: one HTML file that stands alone, from results alone.

What is shown is gathered here; how it looks is page.html.jinja and page.css. Every text of the data is escaped by the
template engine; only our own drawings and style sheet go in as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report import figures, quantities
from benchmark.report.utterances import Utterance, recount_notes, side_by_side, worst_first
from benchmark.results import Sample, Summary, SystemSummary

LONG_TEXT_WORDS = 150  # from here on a text is folded until its reader opens it, and says what is alike in a word
CONTEXT_WORDS = 8  # on either side of a difference in a long text
_UNIT_REASONS: Mapping[str, str] = {
    "speaker": "whole speakers, with all they said, since the errors of one voice resemble each other",
    "utterance": "single utterances, as if each were independent of the others; where speakers recur, the true "
    "intervals are wider",
}


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system with what stands for it in every figure, and its drawings."""

    summary: SystemSummary
    key: Markup
    n_utterances: int
    error_distribution: Markup

    @property
    def name(self) -> str:
        """What every figure and table calls it."""
        return self.summary.facts.name


@dataclass(frozen=True, slots=True)
class StageBar:
    """Mean milliseconds of one stage, and its share of the slowest system's total, in percent."""

    name: str
    milliseconds: str
    percent_of_slowest: float


def render_page(summary: Summary, samples: Sequence[Sample], normalise: Callable[[str], str], n_worst: int = 30) -> str:
    """The whole page as text. `normalise` is the summary's first profile, `n_worst` how many utterances are shown.

    Raises InputError when the samples are of another run than the summary.
    """
    utterances = side_by_side(summary, samples, normalise)
    systems = _system_views(summary, utterances)
    by_system = [
        (system.name, [row.outcomes[system.name].sample for row in utterances if system.name in row.outcomes])
        for system in systems
    ]
    profile = summary.profiles[0].name
    scored = [(system.name, system.summary.scores.get(profile)) for system in systems]
    rates = [(name, scores.wer if scores else None) for name, scores in scored]
    rows = quantities.quantities(summary)
    template = _environment().get_template("page.html.jinja")
    page = template.render(
        summary=summary,
        profile=profile,
        systems=systems,
        by_name={system.name: system for system in systems},
        verdict=quantities.verdict(summary),
        notices=quantities.notices(summary),
        groups=[(group, [row for row in rows if row.group == group]) for group in dict.fromkeys(r.group for r in rows)],
        terms=list(quantities.TERMS.items()),
        forest=[Markup(figures.forest(rates, profile, width)) for width in (figures.WIDE, figures.NARROW)],
        latency=[Markup(figures.latency(by_system, width)) for width in (figures.WIDE, figures.NARROW)],
        max_points=figures.MAX_POINTS,
        thinned=any(len(own) > figures.MAX_POINTS for _, own in by_system),
        stages=_stage_bars(summary.systems),
        worst=worst_first(utterances, n_worst),
        notes=recount_notes(summary, utterances),
        failed=[sample for _, own in by_system for sample in own if sample.error is not None],
        unit_reason=_UNIT_REASONS.get(summary.corpus.resampling_unit, summary.corpus.resampling_unit),
        several_languages=len({sample.language for sample in samples}) > 1,
        long_text_words=LONG_TEXT_WORDS,
        context_words=CONTEXT_WORDS,
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written to a file


def _environment() -> Environment:
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["style"] = Markup((here / "page.css").read_text(encoding="utf-8"))
    environment.filters |= {
        "percent": quantities.percent,
        "interval": quantities.interval,
        "thousands": "{:,}".format,
        "counted": quantities.counted,
        "points": _points,
        "milliseconds": quantities.milliseconds,
    }
    return environment


def _system_views(summary: Summary, utterances: Sequence[Utterance]) -> list[SystemView]:
    names = [system.facts.name for system in summary.systems]
    wers = [[row.outcomes[name].alignment.wer for row in utterances if name in row.outcomes] for name in names]
    tallest = max((share for own in wers for share in figures.shares(own)), default=0) or 1
    return [
        SystemView(
            summary=system,
            key=Markup(figures.key(index)),
            n_utterances=len(own),
            error_distribution=Markup(figures.error_distribution(index, system.facts.name, own, tallest)),
        )
        for index, (system, own) in enumerate(zip(summary.systems, wers, strict=True))
    ]


def _stage_bars(systems: Sequence[SystemSummary]) -> dict[str, list[StageBar]]:
    timed = {system.facts.name: system.speed.stages for system in systems if system.speed}
    slowest = max((stages.total for stages in timed.values()), default=0) or 1
    return {
        name: [
            StageBar(stage, quantities.milliseconds(seconds), 100 * seconds / slowest)
            for stage, seconds in (
                ("decode", stages.decode),
                ("features", stages.features),
                ("forward", stages.forward),
                ("text", stages.text),
            )
        ]
        for name, stages in timed.items()
    }


def _points(fraction: float) -> str:
    """A difference of rates in points of percent, signed: -0.0042 is "−0.42"."""
    return f"{100 * fraction:+.2f}".replace("-", "−")
