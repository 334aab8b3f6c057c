"""The report's files for other programs: systems.csv, utterances.csv, keywords.csv, rejection.csv, and every figure as
PNG and SVG in figures/.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.report.figures.style import Plot
from benchmark.report.rejection import confidence_of, rejections
from benchmark.report.utterances import ComparedUtterance
from benchmark.results import CLEAN, Scores, SilentRecordings, Summary
from benchmark.results.store import FIGURES, clear_figures
from preprocessing.errors import printable
from preprocessing.plot_style import PALETTE
from preprocessing.storage.atomic_write import write_text_atomically

SYSTEMS, UTTERANCES = "systems.csv", "utterances.csv"
KEYWORDS, REJECTION = "keywords.csv", "rejection.csv"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_tables(
    folder: Path,
    summary: Summary,
    utterances: Sequence[ComparedUtterance],
    latencies: Mapping[tuple[str, str], float],
    judged: Sequence[ComparedUtterance] | None = None,
) -> None:
    """Write systems.csv, a line for each system, profile and condition, and utterances.csv, a line for each sample;
    with --keywords, keywords.csv, a line for each system and keyword, and where words have confidences, rejection.csv,
    a line for each system and threshold.

    Rates are fractions, times seconds. latencies: seconds by system and utterance id. judged: the utterances under the
    summary's word_profile, where it has one.
    """
    write_text_atomically(folder / SYSTEMS, _table(_system_lines(summary)))
    write_text_atomically(folder / UTTERANCES, _table(_utterance_lines(utterances, latencies)))
    rejected = rejections(utterances if judged is None else judged, _word_profile(summary))
    optional = {KEYWORDS: _keyword_lines(summary), REJECTION: map(asdict, rejected)}
    for name, lines in optional.items():
        table = _table(lines)
        if table:
            write_text_atomically(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)


def write_figures(folder: Path, plots: Mapping[str, Plot]) -> list[str]:
    """Write each figure at its larger width as figures/NAME.png and .svg; return the names of those with content.

    A figure of an earlier report that has no content now, as of a system that is no longer there, is removed.
    """
    (folder / FIGURES).mkdir(exist_ok=True)
    written = []
    for name, plot in plots.items():
        drawing = plot.draw(plot.widths[0], PALETTE)
        if drawing is not None:
            drawing.save(folder / FIGURES, name)
            written.append(name)
    clear_figures(folder, written)
    return written


def _system_lines(summary: Summary) -> Iterator[dict[str, Any]]:
    for system in summary.systems:
        speed = system.speed
        shared = {
            "failed_utterances": system.failed_utterances,
            "rtfx": speed and speed.rtfx,
            "throughput_rtfx": speed and speed.throughput and speed.throughput.median,
            "batch_seconds": (speed.batch_seconds or 0.0) if speed and speed.throughput else None,
            "p50_seconds": speed and speed.p50,
            "p95_seconds": speed.p95 if speed and speed.has_percentiles else None,
            "p99_seconds": speed.p99 if speed and speed.has_percentiles else None,
            "load_seconds": speed and speed.load,
            "keyword_recall": system.keywords and system.keywords.recall and system.keywords.recall.value,
            "keyword_precision": system.keywords and system.keywords.precision and system.keywords.precision.value,
            "peak_memory_bytes": system.peak_memory_bytes,
            "memory_before_loading_bytes": system.memory_before_loading_bytes,
            "peak_device_memory_bytes": system.peak_device_memory_bytes,
            "parameters": system.facts.parameters or None,
            "failure": system.failure,
        }
        by_condition = system.by_condition()
        for condition in dict.fromkeys([*by_condition, *system.hallucinated_words_per_minute, *system.silent]):
            by_profile = by_condition.get(condition, {})
            for profile in [one.name for one in summary.profiles]:
                yield {
                    "system": system.facts.name,
                    "checkpoint": system.facts.checkpoint,
                    "profile": profile,
                    "condition": condition,
                    **_scores(by_profile.get(profile)),
                    "hallucinated_words_per_minute": system.hallucinated_words_per_minute.get(condition),
                    **_silent(system.silent.get(condition)),
                    **shared,
                }


def _silent(silent: SilentRecordings | None) -> dict[str, Any]:
    return {
        "silent_recordings": silent and silent.recordings,
        "silent_with_text": silent and silent.with_text,
        "silent_with_text_share": silent and silent.share.value,
        "silent_with_text_share_low": silent and silent.share.low,
        "silent_with_text_share_high": silent and silent.share.high,
    }


def _scores(scores: Scores | None) -> dict[str, Any]:
    names = ("wer", "cer", "ser", "mer", "wil")
    rates = {name: getattr(scores, name, None) for name in names}
    ends = {
        f"{name}{suffix}": rate and getattr(rate, attribute)
        for name, rate in rates.items()
        for suffix, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    counts = ("words", "hits", "substitutions", "deletions", "insertions")
    return {**ends, **{name: getattr(scores, name, None) for name in counts}}


def _utterance_lines(
    utterances: Sequence[ComparedUtterance], latencies: Mapping[tuple[str, str], float]
) -> Iterator[dict[str, Any]]:
    samples = (aligned.sample for utterance in utterances for aligned in utterance.by_system.values())
    columns = list(dict.fromkeys(name for sample in samples for name in sample.columns))
    for utterance in utterances:
        for name, aligned in utterance.by_system.items():
            sample, counts = aligned.sample, aligned.alignment.counts
            yield {name: sample.columns.get(name) for name in columns} | {
                "id": utterance.id,
                "system": name,
                "condition": utterance.condition,
                "speaker": sample.speaker,
                "sex": sample.sex,
                "domain": sample.domain,
                "language": sample.language,
                "audio_seconds": sample.audio_seconds,
                "latency_seconds": latencies.get((name, utterance.id)) if utterance.condition == CLEAN else None,
                "words": counts.reference_length,
                "substitutions": counts.substitutions,
                "deletions": counts.deletions,
                "insertions": counts.insertions,
                "wer": counts.rate if counts.reference_length else None,
                "confidence": confidence_of(aligned),
                "error": sample.error,
                "reference": sample.reference,
                "hypothesis": sample.hypothesis,
                "audio": sample.audio,
                "start": sample.start,
                "stop": sample.stop,
            }


def _keyword_lines(summary: Summary) -> Iterator[dict[str, Any]]:
    for system in summary.systems:
        for one in system.keywords.counts if system.keywords else ():
            yield {"system": system.facts.name} | asdict(one) | {"profile": _word_profile(summary)}


def _word_profile(summary: Summary) -> str:
    return summary.word_profile or summary.profiles[0].name


def _table(lines: Iterator[dict[str, Any]]) -> str:
    """CSV text with a header line; empty without lines."""
    file = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for line in lines:
        if writer is None:
            writer = csv.DictWriter(file, list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: _cell(value) for key, value in line.items()})
    return file.getvalue().encode("utf-8", "replace").decode("utf-8")


def _cell(value: object) -> object:
    """A quote goes before a text that a spreadsheet would run as a formula; no control character is left in it."""
    if isinstance(value, str):
        return f"'{printable(value)}" if value.startswith(_FORMULA_STARTS) else printable(value)
    return value
