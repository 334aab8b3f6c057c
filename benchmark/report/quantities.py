"""What the table shows: each quantity's name, its meaning, and its value for a system.

One list serves the terminal, summary.md and the page, so the three cannot differ. A cell keeps the unrounded value
beside its text.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.results import Scores, Speed, Summary, SystemSummary
from finetune.significance import Rate

SPACE = "\u00a0"  # between a number and its unit: never broken over two lines
MISSING = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text, with its interval where it has one; `value` is None where nothing was measured."""

    text: str = MISSING
    interval: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """One row of the table. `term` is the key of its definition in TERMS."""

    group: str
    label: str
    term: str
    read: Callable[[SystemSummary], Cell]


TERMS = {
    "WER": "Word error rate: words substituted, deleted and inserted, over the words of the reference. 0 % is perfect; "
    "insertions can take it above 100 %. Lower is better.",
    "Interval": "95 % bootstrap interval: the range that holds the rate in 95 % of redraws of this test set.",
    "CER": "Character error rate: the same count over characters, spaces included.",
    "RTFx": "Inverse real-time factor: seconds of audio transcribed in one second. Above 1 keeps up with live speech. "
    "Higher is better.",
    "p50, p95, p99": "Latency percentiles: half, 95 % or 99 % of utterances took no longer than this from file to "
    "text, one at a time. Lower is better.",
    "Substitution": "A reference word replaced by another.",
    "Deletion": "A reference word that the system left out. An utterance it failed on counts as all deleted.",
    "Insertion": "A word that the reference does not have.",
    "Failed": "Utterances on which the system raised an error instead of giving a text.",
    "First call": "Time of the very first transcription, with all that is set up lazily. Not in the percentiles.",
    "Load": "Time from naming the checkpoint to a model ready in memory.",
    "Peak memory": "The most main memory that the process held; device memory is the accelerator's. "
    "1\u00a0GB is 10⁹ bytes.",
    "Parameters": "Trained numbers in the model. M is a million.",
}


def percent(fraction: float) -> str:
    """A fraction in percent: 0.0421 is "4.21 %"; a dash for what is not a number, as with no reference words."""
    return f"{100 * fraction:.2f}{SPACE}%" if math.isfinite(fraction) else MISSING


def interval(rate: Rate) -> str:
    """The ends of an interval in percent, without the sign: "3.90–4.55"."""
    return f"{100 * rate.low:.2f}–{100 * rate.high:.2f}" if math.isfinite(rate.low + rate.high) else ""


def milliseconds(seconds: float) -> str:
    """Three significant digits or whole milliseconds: "0.52 ms", "43.1 ms", "1,210 ms"."""
    value = 1000 * seconds
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{decimals}f}{SPACE}ms"


def decimal_bytes(count: int) -> str:
    """Bytes as a reader sees them: "71 MB", "1.23 GB", of a million and of 10⁹ bytes."""
    return f"{count / 1e9:.2f}{SPACE}GB" if count >= 999.5e6 else f"{count / 1e6:.0f}{SPACE}MB"


def counted(count: int, noun: str) -> str:
    """A number and its noun: "1 speaker", "2,620 utterances"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def quantities(summary: Summary) -> list[Quantity]:
    """The rows of the table, the primary ones first. Device memory is a row only where some system used a device."""
    first = summary.profiles[0].name
    rows = [
        *(
            Quantity("Accuracy", f"WER, {profile.name}", "WER", _rate(profile.name, lambda scores: scores.wer))
            for profile in summary.profiles
        ),
        Quantity("Accuracy", f"CER, {first}", "CER", _rate(first, lambda scores: scores.cer)),
        Quantity("Speed", "RTFx", "RTFx", _speed(lambda speed: speed.rtfx, lambda value: f"{value:,.1f}×")),
        Quantity("Speed", "p50 latency", "p50, p95, p99", _speed(lambda speed: speed.p50, milliseconds)),
        Quantity("Speed", "p95 latency", "p50, p95, p99", _speed(lambda speed: speed.p95, milliseconds)),
        Quantity("Speed", "p99 latency", "p50, p95, p99", _speed(lambda speed: speed.p99, milliseconds)),
        Quantity("Word errors", "Substitutions", "Substitution", _count(first, lambda scores: scores.substitutions)),
        Quantity("Word errors", "Deletions", "Deletion", _count(first, lambda scores: scores.deletions)),
        Quantity("Word errors", "Insertions", "Insertion", _count(first, lambda scores: scores.insertions)),
        Quantity("Word errors", "Failed utterances", "Failed", _failed),
        Quantity("Start and size", "First call", "First call", _speed(lambda speed: speed.first_call, milliseconds)),
        Quantity("Start and size", "Load time", "Load", _speed(lambda speed: speed.load, milliseconds)),
        Quantity("Start and size", "Peak memory", "Peak memory", lambda system: _bytes(system.peak_memory_bytes)),
    ]
    if any(system.peak_device_memory_bytes is not None for system in summary.systems):
        label, term = "Peak device memory", "Peak memory"
        rows.append(
            Quantity("Start and size", label, term, lambda system: _bytes(system.peak_device_memory_bytes)),
        )
    rows.append(Quantity("Start and size", "Parameters", "Parameters", _parameters))
    return rows


def notices(summary: Summary) -> list[str]:
    """All that must be read before any figure: the run's own notices, stand-ins, systems without results."""
    found = list(summary.notices)
    for system in summary.systems:
        name, notice = system.facts.name, system.facts.notice
        if notice and not any(notice in said for said in found):
            found.append(notice if name in notice else f"{name}: {notice}")
        if system.failure:
            found.append(f"{name} gave no results: {system.failure}")
    return found


def verdict(summary: Summary) -> list[str]:
    """The comparisons' sentences; where nothing was compared, each system's WER in words."""
    if summary.comparisons:
        return [comparison.sentence for comparison in summary.comparisons]
    profile = summary.profiles[0].name
    scored = [(system.facts.name, system.scores[profile].wer) for system in summary.systems if profile in system.scores]
    sentences = [
        f"{name} has a WER of {percent(wer.value)} (95 % interval {interval(wer)}) under the profile {profile}."
        for name, wer in scored
    ]
    return sentences or ["No system gave any results."]


def _rate(profile: str, read: Callable[[Scores], Rate]) -> Callable[[SystemSummary], Cell]:
    def cell(system: SystemSummary) -> Cell:
        if profile not in system.scores:
            return Cell()
        rate = read(system.scores[profile])
        return Cell(percent(rate.value), interval(rate), rate.value)

    return cell


def _count(profile: str, read: Callable[[Scores], int]) -> Callable[[SystemSummary], Cell]:
    def cell(system: SystemSummary) -> Cell:
        if profile not in system.scores:
            return Cell()
        count = read(system.scores[profile])
        return Cell(f"{count:,}", value=count)

    return cell


def _speed(read: Callable[[Speed], float], write: Callable[[float], str]) -> Callable[[SystemSummary], Cell]:
    def cell(system: SystemSummary) -> Cell:
        if system.speed is None:
            return Cell()
        value = read(system.speed)
        return Cell(write(value), value=value) if math.isfinite(value) else Cell()

    return cell


def _bytes(count: int | None) -> Cell:
    return Cell() if count is None else Cell(decimal_bytes(count), value=count)


def _parameters(system: SystemSummary) -> Cell:
    count = system.facts.parameters
    return Cell(f"{count / 1e6:,.1f}{SPACE}M", value=count) if count else Cell()


def _failed(system: SystemSummary) -> Cell:
    return Cell() if system.failure else Cell(f"{system.failed_utterances:,}", value=system.failed_utterances)
