"""What the templates show, as they show it: systems, stages, conditions, hallucinations, confusions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmark.report.figures.style import key
from benchmark.report.quantities import Quantity, milliseconds
from benchmark.report.utterances import CLEAN, Utterance
from benchmark.results import Confusion, Sample, Scores, Summary, SystemSummary
from preprocessing.audio import SAMPLE_RATE

MAX_CONFUSIONS = 15  # of one system
UNIT_REASONS: Mapping[str, str] = {
    "speaker": "whole speakers, with all they said, since the errors of one voice resemble each other",
    "utterance": "single utterances, as if each were independent of the others; where speakers recur, the true "
    "intervals are wider",
    "segment": "segments of the recordings, as if each were independent of the others: they speak of these voices and "
    "rooms alone, and the true intervals are wider",
}


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system with what stands for it in every figure; `n_utterances` are those of clean speech."""

    index: int
    summary: SystemSummary
    key: Markup
    n_utterances: int
    n_samples: int

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


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One condition of the table: each system's scores under the first profile, None where it has none."""

    name: str
    description: str
    scores: list[Scores | None]


@dataclass(frozen=True, slots=True)
class Hallucinated:
    """Words a minute where nothing was said: as a number, and as a share of the greatest, in percent."""

    words_per_minute: float
    percent_of_greatest: float


@dataclass(frozen=True, slots=True)
class ConfusionBar:
    """A confusion, and its share of the system's most frequent one, in percent."""

    confusion: Confusion
    percent_of_most: float


def system_views(summary: Summary, utterances: Sequence[Utterance]) -> list[SystemView]:
    found = []
    for index, system in enumerate(summary.systems):
        own = [row for row in utterances if system.facts.name in row.outcomes]
        n_clean = sum(row.condition == CLEAN for row in own)
        found.append(SystemView(index, system, Markup(key(index)), n_clean, len(own)))
    return found


def grouped(rows: Sequence[Quantity]) -> list[tuple[str, list[Quantity]]]:
    return [(group, [row for row in rows if row.group == group]) for group in dict.fromkeys(row.group for row in rows)]


def stage_bars(systems: Sequence[SystemSummary]) -> dict[str, list[StageBar]]:
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
    """Conditions with speech, clean speech first; none where there is only that."""
    profile = summary.profiles[0].name
    described = {one.name: one.description for one in summary.conditions}
    present = dict.fromkeys(name for system in summary.systems for name in system.conditions)
    names = [*(name for name in described if name in present), *(name for name in present if name not in described)]
    names = [name for name in names if name != CLEAN]
    if not names:
        return []
    return [
        ConditionRow(
            name,
            described.get(name, ""),
            [
                (system.scores if name == CLEAN else system.conditions.get(name, {})).get(profile)
                for system in summary.systems
            ],
        )
        for name in (CLEAN, *names)
    ]


def hallucinations(summary: Summary) -> list[tuple[str, str, list[Hallucinated | None]]]:
    """By condition: its name, what it is, and each system's words a minute."""
    described = {one.name: one.description for one in summary.conditions}
    names = dict.fromkeys(name for system in summary.systems for name in system.hallucinated_words_per_minute)
    rates = [rate for system in summary.systems for rate in system.hallucinated_words_per_minute.values()]
    greatest = max(rates, default=0) or 1
    return [
        (
            name,
            described.get(name, ""),
            [
                None
                if (rate := system.hallucinated_words_per_minute.get(name)) is None
                else Hallucinated(rate, 100 * rate / greatest)
                for system in summary.systems
            ],
        )
        for name in names
    ]


def confusions(summary: Summary) -> list[list[ConfusionBar]]:
    """The most frequent confusions of each system, most frequent first."""
    found = []
    for system in summary.systems:
        ordered = sorted(system.confusions, key=lambda one: -one.count)[:MAX_CONFUSIONS]
        most = max((one.count for one in ordered), default=0) or 1
        found.append([ConfusionBar(one, 100 * one.count / most) for one in ordered])
    return found


def failed(utterances: Sequence[Utterance]) -> list[Sample]:
    """Samples that a system raised an error on, system by system."""
    found = [one.sample for row in utterances for one in row.outcomes.values() if one.sample.error is not None]
    order = {sample.system: place for place, sample in reversed(list(enumerate(found)))}
    return sorted(found, key=lambda sample: order[sample.system])


def contract() -> list[tuple[str, str]]:
    """What every system was given, as preprocessing.audio makes it."""
    return [
        ("Waveform", f"{SAMPLE_RATE:,} Hz, one channel, float32 in [−1, 1) on the 16-bit grid"),
        ("Channels", "averaged"),
        ("Resampling", "soxr, very high quality"),
        ("Text", "kept as the corpus and the systems write it; compared only under the profiles named here"),
    ]
