"""The values that the page's templates show, one dataclass or list for each section, made from the summary."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmark.report import fairness, quantities, verdict
from benchmark.report.figures.style import marker_svg
from benchmark.report.quantities import Quantity, milliseconds
from benchmark.report.utterances import ComparedUtterance, WerOverTime, recount_warnings, worst_utterances
from benchmark.report.words import word_profile_sentence, word_sentences
from benchmark.results import (
    CLEAN,
    Confusion,
    Influence,
    KeywordCount,
    Sample,
    Scores,
    SilentRecordings,
    Summary,
    SystemSummary,
)
from finetune.metrics import Rate
from preprocessing.audio import SAMPLE_RATE

MAX_CONFUSIONS = 15  # of one system
MAX_INFLUENCES = 5  # utterances of one system
MAX_LOOPED = 12
MAX_KEYWORDS = 50
SYSTEMS_ON_PAPER = 5  # columns of the table of results on a page of A4 or Letter, upright
RESAMPLED: Mapping[str, str] = {
    "speaker": "speakers with all their utterances, because errors within a speaker are not independent",
    "utterance": "utterances, as if they were independent; if speakers recur, the true intervals are wider",
    "segment": "segments of the recordings, as if they were independent; the intervals hold only for these speakers "
    "and rooms, and the true ones are wider",
}


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system with its marker as SVG (`key`). n_utterances: of clean speech. n_samples: under all conditions."""

    index: int
    summary: SystemSummary
    key: Markup
    n_utterances: int
    n_samples: int

    @property
    def name(self) -> str:
        """The system's name in every figure and table."""
        return self.summary.facts.name

    @property
    def loops(self) -> dict[str, list[str]]:
        """Ids of the utterances that loop, by condition."""
        return self.summary.loops_by_condition()


@dataclass(frozen=True, slots=True)
class StageBar:
    """Mean time of one stage as text, and in percent of the slowest system's total."""

    name: str
    milliseconds: str
    percent_of_slowest: float


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One condition: each system's scores under the first profile, None where it has none."""

    name: str
    description: str
    scores: list[Scores | None]


@dataclass(frozen=True, slots=True)
class HallucinationRate:
    """Words per minute of audio without speech, and in percent of the highest rate of any system and condition.

    Both are None of recordings of no duration. silent: how many recordings have text; None in a summary of an earlier
    version.
    """

    words_per_minute: float | None
    percent_of_highest: float | None
    silent: SilentRecordings | None


@dataclass(frozen=True, slots=True)
class ConfusionBar:
    """A confusion, and its count in percent of the system's most frequent one."""

    confusion: Confusion
    percent_of_highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceTable:
    """A system's rate with all utterances and without some, and the utterances that change it most.

    rows: the MAX_INFLUENCES most influential utterances and up to MAX_LOOPED that loop. n_looped, n_decisive: how many
    utterances the rates without them leave out.
    """

    rate: Rate
    without_loops: Rate | None
    n_looped: int
    without_decisive: Rate | None
    n_decisive: int
    rows: list[Influence]


@dataclass(frozen=True, slots=True)
class KeywordTable:
    """Names of systems, and for each keyword what each of them has recognised, in their order.

    n_left_out: keywords beyond MAX_KEYWORDS. n_unspoken: that no reference has.
    """

    systems: list[str]
    rows: list[tuple[KeywordCount, ...]]
    n_left_out: int
    n_unspoken: int


@dataclass(frozen=True, slots=True)
class HeadingSection:
    """The top of the page. title_names: up to three systems, or one entry such as "Five systems". further: sentences of
    the verdict and caveats that are folded. part: of the corpus that was measured, "" of all.
    """

    title_names: Sequence[str]
    verdict: Sequence[str]
    caveats: Sequence[str]
    further: Sequence[str]
    notices: Sequence[str]
    part: str

    @classmethod
    def of(cls, summary: Summary) -> "HeadingSection":
        return cls(
            verdict.title_names(summary),
            *verdict.above_and_below(summary),
            verdict.notices(summary),
            verdict.part_of_corpus(summary),
        )


@dataclass(frozen=True, slots=True)
class TableSection:
    """The rows of the table by their group, and the definitions of the terms in them.

    printed: the places of the systems in each table on paper; none where one table holds all of them.
    """

    groups: Sequence[tuple[str, Sequence[Quantity]]]
    terms: Mapping[str, str]
    printed: Sequence[range]

    @classmethod
    def of(cls, summary: Summary) -> "TableSection":
        rows = quantities.quantities(summary)
        return cls(group_rows(rows), quantities.terms(rows), printed_groups(len(summary.systems)))


@dataclass(frozen=True, slots=True)
class WordsSection:
    """What a reader must know of the words' confidences; is_shaded: whether any utterance has words to shade. profile:
    under which text profile words and keywords are judged, "" under the first.
    """

    sentences: Sequence[str]
    is_shaded: bool
    profile: str

    @classmethod
    def of(cls, summary: Summary, utterances: Sequence[ComparedUtterance]) -> "WordsSection":
        is_shaded = any(one.tokens for row in utterances for one in row.by_system.values())
        return cls(word_sentences(summary), is_shaded, word_profile_sentence(summary))


@dataclass(frozen=True, slots=True)
class LongSection:
    """Rates over the segments of long recordings, of each system that has them, and WER over time.

    resampled: what the bootstrap draws.
    """

    segmented: Sequence[tuple[SystemView, Scores]]
    recordings: Sequence[WerOverTime]
    resampled: str

    @classmethod
    def of(cls, summary: Summary, systems: Sequence[SystemView], recordings: Sequence[WerOverTime]) -> "LongSection":
        segmented = [(system, scores) for system in systems if (scores := system.summary.segments)]
        return cls(segmented, recordings, "speakers" if summary.corpus.resampling_unit == "speaker" else "segments")


@dataclass(frozen=True, slots=True)
class UtterancesSection:
    """Utterances with most errors, for a page without JavaScript, and those that a system failed on.

    warnings: of counts that are not the summary's. several_languages: whether an utterance's language is shown.
    """

    worst: Sequence[ComparedUtterance]
    failed: Sequence[Sample]
    warnings: Sequence[str]
    several_languages: bool

    @classmethod
    def of(cls, summary: Summary, utterances: Sequence[ComparedUtterance], n_worst: int) -> "UtterancesSection":
        return cls(
            worst_utterances(utterances, n_worst),
            failed_samples(utterances),
            recount_warnings(summary, utterances),
            len({row.first.language for row in utterances}) > 1,
        )


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """Settings of decoding that differ, what the bootstrap resamples, with the reason, and the settings of the run with
    the git commit of the code, where it is known.
    """

    decoding: Sequence[fairness.DecodingRow]
    resampled: str
    run: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, summary: Summary) -> "SettingsSection":
        unit = summary.corpus.resampling_unit
        code = [("git commit", summary.code)] if summary.code else []
        return cls(fairness.decoding_rows(summary), RESAMPLED.get(unit, unit), [*summary.settings.items(), *code])


def system_views(summary: Summary, utterances: Sequence[ComparedUtterance]) -> list[SystemView]:
    """A view of every system, in the summary's order."""
    found = []
    for index, system in enumerate(summary.systems):
        own = [one for one in utterances if system.facts.name in one.by_system]
        n_clean = sum(one.condition == CLEAN for one in own)
        found.append(SystemView(index, system, Markup(marker_svg(index)), n_clean, len(own)))
    return found


def group_rows(rows: Sequence[Quantity]) -> list[tuple[str, list[Quantity]]]:
    """The rows of the table under the name of their group, both in their order."""
    return [(group, [row for row in rows if row.group == group]) for group in dict.fromkeys(row.group for row in rows)]


def printed_groups(n_systems: int) -> list[range]:
    """The systems in groups of about equal number that fit beside each other on paper; none where all fit.

    >>> printed_groups(7), printed_groups(5)
    ([range(0, 4), range(4, 7)], [])
    """
    n_groups = math.ceil(n_systems / SYSTEMS_ON_PAPER)
    ends = [math.ceil(n_systems * number / n_groups) for number in range(n_groups + 1)] if n_groups > 1 else []
    return [range(start, stop) for start, stop in itertools.pairwise(ends)]


def keyword_table(summary: Summary) -> KeywordTable | None:
    """The keywords that are spoken or falsely recognised, those that all systems together miss most often first; None
    without keywords.
    """
    scored = [system for system in summary.systems if system.keywords is not None]
    if not scored:
        return None
    by_keyword = list(zip(*(system.keywords.counts for system in scored if system.keywords), strict=True))
    rows = [row for row in by_keyword if row[0].spoken or any(one.false_alarms for one in row)]
    rows.sort(key=lambda row: -sum(one.spoken - one.hits + one.false_alarms for one in row))
    return KeywordTable(
        [system.facts.name for system in scored],
        rows[:MAX_KEYWORDS],
        len(rows[MAX_KEYWORDS:]),
        sum(not row[0].spoken for row in by_keyword),
    )


def stage_bars(systems: Sequence[SystemSummary]) -> dict[str, list[StageBar]]:
    """The stages decode, features, forward and text of every system that was timed, by its name."""
    timed = {system.facts.name: system.speed.stages for system in systems if system.speed}
    slowest = max((stages.total for stages in timed.values()), default=0) or 1
    return {
        name: [
            StageBar(stage, milliseconds(seconds), 100 * seconds / slowest)
            for stage, seconds in (
                ("decode", stages.decode),
                ("features", stages.features),
                ("forward", stages.forward),
                ("text", stages.text),
            )
        ]
        for name, stages in timed.items()
    }


def condition_rows(summary: Summary) -> list[ConditionRow]:
    """The conditions with speech, clean speech first; empty where there is no other condition."""
    profile = summary.profiles[0].name
    described = {one.name: one.description for one in summary.conditions}
    present = dict.fromkeys(name for system in summary.systems for name in system.conditions)
    names = [*(name for name in described if name in present), *(name for name in present if name not in described)]
    names = [name for name in names if name != CLEAN]
    if not names:
        return []
    rows = [
        ConditionRow(
            name,
            described.get(name, ""),
            [system.by_condition().get(name, {}).get(profile) for system in summary.systems],
        )
        for name in (CLEAN, *names)
    ]
    same = [system.clean_of_conditions for system in summary.systems]
    if any(same):
        rows.insert(1, ConditionRow(CLEAN, "of the utterances that the conditions below have", same))
    return rows


def hallucinations(summary: Summary) -> list[tuple[str, str, list[HallucinationRate | None]]]:
    """For each condition or part without speech: its name, its description, and each system's rate."""
    described = {one.name: one.description for one in summary.conditions}
    names = dict.fromkeys(
        name for system in summary.systems for name in (*system.hallucinated_words_per_minute, *system.silent)
    )
    rates = [rate for system in summary.systems for rate in system.hallucinated_words_per_minute.values()]
    highest = max(rates, default=0) or 1

    def rate(name: str, system: SystemSummary) -> HallucinationRate | None:
        per_minute, silent = system.hallucinated_words_per_minute.get(name), system.silent.get(name)
        if per_minute is None and silent is None:
            return None
        return HallucinationRate(per_minute, None if per_minute is None else 100 * per_minute / highest, silent)

    return [(name, described.get(name, ""), [rate(name, system) for system in summary.systems]) for name in names]


def influences(summary: Summary) -> dict[str, InfluenceTable]:
    """The table of each system that has influential utterances, by its name."""
    profile = summary.profiles[0].name
    found = {}
    for system in summary.systems:
        if not system.influences or profile not in system.scores:
            continue
        looped = [one for one in system.influences if one.looped]
        kept = {one.id for one in [*system.influences[:MAX_INFLUENCES], *looped[:MAX_LOOPED]]}
        found[system.facts.name] = InfluenceTable(
            rate=system.scores[profile].rate(summary.metric),
            without_loops=system.without_loops,
            n_looped=len(looped),
            without_decisive=system.without_decisive,
            n_decisive=sum(one.decisive for one in system.influences),
            rows=[one for one in system.influences if one.id in kept],
        )
    return found


def confusions(summary: Summary) -> list[list[ConfusionBar]]:
    """The MAX_CONFUSIONS most frequent confusions of each system, most frequent first."""
    found = []
    for system in summary.systems:
        ordered = sorted(system.confusions, key=lambda one: -one.count)[:MAX_CONFUSIONS]
        highest = max((one.count for one in ordered), default=0) or 1
        found.append([ConfusionBar(one, 100 * one.count / highest) for one in ordered])
    return found


def failed_samples(utterances: Sequence[ComparedUtterance]) -> list[Sample]:
    """The samples with an error, system by system."""
    found = [one.sample for row in utterances for one in row.by_system.values() if one.sample.error is not None]
    order = {sample.system: index for index, sample in reversed(list(enumerate(found)))}
    return sorted(found, key=lambda sample: order[sample.system])


def input_contract() -> list[tuple[str, str]]:
    """What every system is given, by topic, as preprocessing.audio makes it."""
    return [
        ("Waveform", f"{SAMPLE_RATE:,} Hz, one channel, float32 in [−1, 1), values of 16-bit PCM"),
        ("Channels", "averaged"),
        ("Resampling", "soxr, very high quality"),
        (
            "Text",
            "stored as given by the corpus and the systems; normalised only for scoring, by the profiles named here",
        ),
    ]
