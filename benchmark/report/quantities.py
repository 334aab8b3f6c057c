"""The rows of the table of results: label, definition, and how a system's value is read and written.

`quantities` serves the terminal, summary.md and the page alike; the formatting of numbers serves the figures too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmark.results import (
    CallCost,
    Metric,
    Scores,
    Speed,
    Spread,
    Summary,
    SystemFacts,
    SystemSummary,
    WordScores,
    WordTimes,
)
from finetune.metrics import Rate

Value = TypeVar("Value")

SPACE = "\u00a0"  # between a number and its unit: never broken over two lines
MISSING = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text with the interval below it; `value` is the unrounded one, None where nothing was measured."""

    text: str = MISSING
    interval: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """One row of the table. `term` is the key of its definition in TERMS, `read` returns a system's cell."""

    group: str
    label: str
    term: str
    read: Callable[[SystemSummary], Cell]
    required: bool = False  # shown with dashes where no system has a value; other rows are left out


TERMS = {
    "WER": "Word error rate: substituted, deleted and inserted words divided by the words of the reference. 0 % is "
    "perfect; insertions can raise it above 100 %. Lower is better.",
    "Interval": "95 % bootstrap confidence interval: how much the rate varies over test sets like this one.",
    "CER": "Character error rate: the same over characters, including spaces in languages that separate words by them.",
    "SER": "Sentence error rate: the share of utterances with an error (where the resampling unit is the segment: of "
    "segments). For single commands, the accuracy is 100 % minus this.",
    "Without loops": "The rate without the utterances in which the system falls into a repetition loop. See Errors.",
    "MER": "Match error rate: errors divided by hits and errors together; at most 100 %.",
    "WIL": "Word information lost: one minus the share of reference words that were recognised times the share of "
    "hypothesis words that are correct.",
    "Profiles": "The rate under the first-named text normalisation profile minus that under the second, in percentage "
    "points: the effect of text normalisation alone.",
    "Keywords": "Words and phrases of --keywords. Recall: the share of their spoken occurrences that are recognised. "
    "Precision: the share of recognised occurrences that are spoken in the same utterance. F1: their harmonic mean. "
    "Higher is better.",
    "RTFx": "Inverse real-time factor: seconds of audio transcribed in one second, one utterance at a time. Above 1 is "
    "faster than real time. Higher is better.",
    "Throughput": "RTFx with batches of the batch size below, for bulk transcription.",
    "Batch size": "Seconds of audio per batch, padding included: the fastest in a short trial, or that of "
    "--batch_seconds or of the result of --compare. Throughput and peak memory depend on it. One at a time: no batch "
    "was clearly faster, or the system takes none, and the throughput is that of single calls.",
    "Energy": "Energy that the GPU uses per second of audio, if it reports energy.",
    "p50, p95, p99": "Latency percentiles: 50 %, 95 % or 99 % of utterances take at most this long from file to text, "
    "one at a time. Lower is better.",
    "Per-call overhead": "A linear fit to the latencies of utterances of up to 30 s: the constant time of each call, "
    "and the time per second of audio.",
    "Substitution": "A reference word recognised as another word.",
    "Deletion": "A reference word that is missing in the hypothesis. All words of a failed utterance count as deleted.",
    "Insertion": "A word of the hypothesis that is not in the reference.",
    "Character errors": "Characters, without white space, that are recognised as others, missing in the hypothesis, or "
    "not in the reference. MER and WIL are of characters, too. All characters of a failed utterance count as deleted.",
    "ECE": "Expected calibration error: the mean distance between confidence and the share of correct words. 0 % is "
    "perfect.",
    "AUROC": "The probability that a wrong word has a lower confidence than a correct one: 0.5 is chance, 1 is "
    "perfect.",
    "NCE": "Normalised cross-entropy: the share of the uncertainty about correct and wrong words that the confidences "
    "remove. 1 is perfect, 0 equals one constant confidence, below 0 is worse than that.",
    "Word times": "Distance of the starts and ends of correctly recognised words from the corpus's true ones, and the "
    "share within 50 or 200\u00a0ms.",
    "Failed": "Utterances for which the system raised an error and returned no text.",
    "First call": "Time of the first transcription after loading, of at most 30 s of audio, with all lazy "
    "initialisation; not in the percentiles.",
    "Load": "Time to load the checkpoint until the model is ready in memory.",
    "Peak memory": "Peak main memory of the system's process, with batches of the batch size; before loading: what "
    "each system's process has with Python and torch alone; device memory is that of the GPU. 1\u00a0GB is 10⁹ bytes.",
    "Parameters": "Trained parameters of the model, in millions (M).",
}


def percent(fraction: float) -> str:
    """A fraction in percent: 0.0421 is "4.21 %"; a dash where it is not finite, as without reference words."""
    return f"{100 * fraction:.2f}{SPACE}%" if math.isfinite(fraction) else MISSING


def interval(rate: Rate) -> str:
    """The ends of an interval in percent, without the % sign: "3.90–4.55"; empty where they are not finite."""
    return f"{100 * rate.low:.2f}–{100 * rate.high:.2f}" if math.isfinite(rate.low + rate.high) else ""


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three significant digits, or whole ones: "0.52 ms", "43.1 ms", "1,210 ms"."""
    value = 1000 * seconds
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{decimals}f}{SPACE}ms"


def decimal_bytes(count: int) -> str:
    """Bytes in MB (10⁶) or GB (10⁹): "71 MB", "1.23 GB"."""
    return f"{count / 1e9:.2f}{SPACE}GB" if count >= 999.5e6 else f"{count / 1e6:.0f}{SPACE}MB"


def extent(hours: float) -> str:
    """A duration for a sentence: "5.40 hours", "24.0 minutes", "8.3 seconds"."""
    if hours >= 1:
        return f"{hours:.2f} hours"
    return f"{60 * hours:.1f} minutes" if hours >= 1 / 60 else f"{3600 * hours:.1f} seconds"


def points(fraction: float) -> str:
    """A difference of two fractions in percentage points, signed: -0.0042 is "−0.42", -0.00001 is "+0.00"."""
    return f"{round(100 * fraction, 2) + 0.0:+.2f}".replace("-", "−")


def quantities(summary: Summary) -> list[Quantity]:
    """The rows of the table in their order: those that a system has a value for, and the required ones."""
    rows = [*_accuracy(summary), *_keywords(), *_speeds(), *_word_errors(summary), *_word_figures(), *_start_and_size()]
    return [row for row in rows if row.required or any(row.read(one).value is not None for one in summary.systems)]


def described(facts: SystemFacts) -> list[tuple[str, str]]:
    """All that is known of a system, by topic: family, checkpoint, files of weights, settings and signature."""
    weights = [f"{one.name}, {decimal_bytes(one.bytes)}, SHA-256 {one.sha256}" for one in facts.weights]
    found = [("Family", facts.family), ("Checkpoint", facts.checkpoint), *(("Weights", text) for text in weights)]
    return [*found, *facts.settings.items(), *([("Signature", facts.signature)] if facts.signature else [])]


def terms(rows: Sequence[Quantity]) -> dict[str, str]:
    """The definitions of the terms in these rows, and of an interval."""
    used = {row.term for row in rows} | {"Interval"}
    return {term: meaning for term, meaning in TERMS.items() if term in used}


def _accuracy(summary: Summary) -> list[Quantity]:
    first, *others = [profile.name for profile in summary.profiles]
    group, metric = "Accuracy", summary.metric
    other: Metric = "cer" if metric == "wer" else "wer"
    name = metric.upper()

    def rate(profile: str, read: Callable[[Scores], Rate | None]) -> Callable[[SystemSummary], Cell]:
        return _scores(profile, read, _share)

    rows = [
        Quantity(group, f"{name}, {one}", name, rate(one, lambda scores: scores.rate(metric)), required=True)
        for one in (first, *others)
    ]
    if any(system.without_loops for system in summary.systems):
        rows.insert(1, Quantity(group, f"{name} without loops", "Without loops", _without_loops(first, metric)))
    return [
        *rows,
        *(
            Quantity(group, f"{name}, {one} − {first}", "Profiles", _profile_difference(first, one, metric))
            for one in others
        ),
        Quantity(
            group,
            f"{other.upper()}, {first}",
            other.upper(),
            rate(first, lambda scores: scores.rate(other)),
            required=True,
        ),
        Quantity(group, f"SER, {first}", "SER", rate(first, lambda scores: scores.ser)),
        Quantity(group, f"MER, {first}", "MER", rate(first, lambda scores: scores.mer)),
        Quantity(group, f"WIL, {first}", "WIL", rate(first, lambda scores: scores.wil)),
    ]


def _keywords() -> list[Quantity]:
    rows = [
        ("Keyword recall", _cell(lambda system: system.keywords.recall if system.keywords else None, _share)),
        ("Keyword precision", _cell(lambda system: system.keywords.precision if system.keywords else None, _share)),
        (
            "Keyword F1",
            _cell(
                lambda system: system.keywords.f1 if system.keywords else None,
                lambda value: Cell(percent(value), value=value),
            ),
        ),
    ]
    return [Quantity("Accuracy", label, "Keywords", read) for label, read in rows]


def _speeds() -> list[Quantity]:
    latency = "p50, p95, p99"
    rows = [
        ("RTFx", "RTFx", _speed(lambda one: one.rtfx, rtfx_text, lambda one: one.rtfx_spread)),
        (
            "Throughput",
            "Throughput",
            _speed(
                lambda one: one.throughput.median if one.throughput else None, rtfx_text, lambda one: one.throughput
            ),
        ),
        ("Batch size", "Batch size", _cell(lambda system: system.speed, _batch_size)),
        ("p50 latency", latency, _speed(lambda one: one.p50, milliseconds, lambda one: one.p50_spread)),
        (
            "p95 latency",
            latency,
            _speed(lambda one: one.p95 if one.has_percentiles else None, milliseconds, lambda one: one.p95_spread),
        ),
        (
            "p99 latency",
            latency,
            _speed(lambda one: one.p99 if one.has_percentiles else None, milliseconds, lambda one: one.p99_spread),
        ),
        ("Per-call overhead", "Per-call overhead", _cost(lambda cost: cost.per_call)),
        ("Time per audio second", "Per-call overhead", _cost(lambda cost: cost.per_audio_second)),
        (
            "Energy per audio second",
            "Energy",
            _speed(lambda one: one.joules_per_audio_second, lambda value: f"{value:.3g}{SPACE}J"),
        ),
    ]
    return [Quantity("Speed", label, term, read) for label, term, read in rows]


def _word_errors(summary: Summary) -> list[Quantity]:
    first = summary.profiles[0].name
    by_character = summary.metric == "cer"
    terms = ["Character errors"] * 3 if by_character else ["Substitution", "Deletion", "Insertion"]
    rows = [
        ("Substitutions", terms[0], _scores(first, lambda scores: scores.substitutions, _count)),
        ("Deletions", terms[1], _scores(first, lambda scores: scores.deletions, _count)),
        ("Insertions", terms[2], _scores(first, lambda scores: scores.insertions, _count)),
        ("Failed utterances", "Failed", _cell(lambda one: None if one.failure else one.failed_utterances, _count)),
    ]
    group = f"{summary.error_unit.capitalize()} errors"
    return [Quantity(group, label, term, read, required=True) for label, term, read in rows]


def _word_figures() -> list[Quantity]:
    def confidence(
        read: Callable[[WordScores], Value | None], write: Callable[[Value], Cell]
    ) -> Callable[[SystemSummary], Cell]:
        return _cell(lambda system: read(system.words) if system.words else None, write)

    def times(read: Callable[[WordTimes], Value], write: Callable[[Value], Cell]) -> Callable[[SystemSummary], Cell]:
        return _cell(lambda system: read(system.words.times) if system.words and system.words.times else None, write)

    def auroc(rate: Rate) -> Cell:
        return Cell(f"{rate.value:.3f}", f"{rate.low:.3f}–{rate.high:.3f}", rate.value)

    def nce(value: float) -> Cell:
        return Cell(f"{value:.3f}".replace("-", "−"), value=value)

    def seconds(value: float) -> Cell:
        return Cell(milliseconds(value), value=value)

    rows = [
        ("ECE of confidence", "ECE", confidence(lambda words: words.ece, _share)),
        ("AUROC of wrong words", "AUROC", confidence(lambda words: words.auroc, auroc)),
        ("NCE of confidence", "NCE", confidence(lambda words: words.nce, nce)),
        ("Start of a word, median", "Word times", times(lambda one: one.start_median, _seconds)),
        ("Start, 95th percentile", "Word times", times(lambda one: one.start_p95, seconds)),
        ("End of a word, median", "Word times", times(lambda one: one.end_median, _seconds)),
        ("End, 95th percentile", "Word times", times(lambda one: one.end_p95, seconds)),
        ("Within 50 ms", "Word times", times(lambda one: one.within_50_ms, _share)),
        ("Within 200 ms", "Word times", times(lambda one: one.within_200_ms, _share)),
    ]
    return [Quantity("Words: confidence and times", label, term, read) for label, term, read in rows]


def _start_and_size() -> list[Quantity]:
    rows = [
        ("First call", "First call", _speed(lambda speed: speed.first_call or None, milliseconds)),
        ("Load time", "Load", _speed(lambda speed: speed.load, milliseconds)),
        ("Peak memory", "Peak memory", _cell(lambda system: system.peak_memory_bytes, _bytes)),
        ("Memory before loading", "Peak memory", _cell(lambda system: system.memory_before_loading_bytes, _bytes)),
        ("Peak device memory", "Peak memory", _cell(lambda system: system.peak_device_memory_bytes, _bytes)),
        (
            "Parameters",
            "Parameters",
            _cell(
                lambda system: system.facts.parameters or None,
                lambda count: Cell(f"{count / 1e6:,.1f}{SPACE}M", value=count),
            ),
        ),
    ]
    return [Quantity("Start and size", label, term, read) for label, term, read in rows]


def _cell(
    read: Callable[[SystemSummary], Value | None], write: Callable[[Value], Cell]
) -> Callable[[SystemSummary], Cell]:
    """A row's `read`: what `read` finds of a system, as `write` writes it; a dash for None."""

    def cell(system: SystemSummary) -> Cell:
        value = read(system)
        return Cell() if value is None else write(value)

    return cell


def _scores(
    profile: str, read: Callable[[Scores], Value | None], write: Callable[[Value], Cell]
) -> Callable[[SystemSummary], Cell]:
    return _cell(lambda system: read(system.scores[profile]) if profile in system.scores else None, write)


def _without_loops(profile: str, metric: Metric) -> Callable[[SystemSummary], Cell]:
    """The rate without looped utterances; of a system that does not loop its rate, so that both compare."""
    return _cell(
        lambda system: (
            (system.without_loops or system.scores[profile].rate(metric)) if profile in system.scores else None
        ),
        _share,
    )


def _profile_difference(first: str, other: str, metric: Metric) -> Callable[[SystemSummary], Cell]:
    def cell(system: SystemSummary) -> Cell:
        if first not in system.scores or other not in system.scores:
            return Cell()
        value = system.scores[other].rate(metric).value - system.scores[first].rate(metric).value
        return Cell(points(value), value=value) if math.isfinite(value) else Cell()

    return cell


def _speed(
    read: Callable[[Speed], float | None],
    write: Callable[[float], str],
    spread: Callable[[Speed], Spread | None] = lambda _: None,
) -> Callable[[SystemSummary], Cell]:
    def cell(speed: Speed) -> Cell:
        value, ends = read(speed), spread(speed)
        if value is None or not math.isfinite(value):
            return Cell()
        several = ends is not None and ends.low < ends.high  # one round has no range
        return Cell(write(value), _between(write(ends.low), write(ends.high)) if ends and several else "", value)

    return _cell(lambda system: system.speed, cell)


def _cost(read: Callable[[CallCost], Rate | None]) -> Callable[[SystemSummary], Cell]:
    return _cell(
        lambda system: read(system.speed.call_cost) if system.speed and system.speed.call_cost else None, _seconds
    )


def _share(rate: Rate) -> Cell:
    return Cell(percent(rate.value), interval(rate), rate.value)


def _seconds(rate: Rate) -> Cell:
    return Cell(milliseconds(rate.value), _between(milliseconds(rate.low), milliseconds(rate.high)), rate.value)


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", value=count)


def _bytes(count: int) -> Cell:
    return Cell(decimal_bytes(count), value=count)


def _batch_size(speed: Speed) -> Cell:
    if speed.throughput is None:
        return Cell()
    return Cell(speed.batch_size.replace(" s", f"{SPACE}s"), value=speed.batch_seconds or 0.0)


def _between(low: str, high: str) -> str:
    """Two ends as one interval, with their unit once.

    >>> _between("1.0\u00a0ms", "2.0\u00a0ms"), _between("3.1×", "4.0×")
    ('1.0–2.0\xa0ms', '3.1–4.0×')
    """
    unit = low.rpartition(SPACE)[2] if SPACE in low else ""
    if unit and high.endswith(f"{SPACE}{unit}"):
        low = low.rpartition(SPACE)[0]
    return f"{low.removesuffix('×')}–{high}"


def rtfx_text(value: float) -> str:
    """RTFx with one decimal, or below 1 three significant digits: "61.2×", "0.195×"."""
    return f"{value:,.1f}×" if value >= 0.9995 else f"{value:#.3g}×"
