"""The figures of a model card: error rates with intervals, on validation and from a benchmark's summary.json.

Nothing is measured here. Validation is counted again from the transcripts that training wrote; a benchmark's figures
are copied from its summary.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.hub.folder import RunFolder
from finetune.metrics import Rate, rate, resample
from finetune.metrics.error_rates import ErrorCounts, character_errors, primary_metric, word_errors
from finetune.models.about import without_folders
from preprocessing.errors import InputError, described
from preprocessing.text.languages import common_language

SUMMARY_SCHEMA = 2  # benchmark.results.SCHEMA, which finetune may not import: a test holds them equal


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the card's results: a system's error rates on corpora under a text profile.

    is_published: whether the system is the model of the card. corpora: their references, each once. split: part of the
    corpora, as the card names it. unit: what the bootstrap drew, "speaker" or "utterance".
    """

    system: str
    is_published: bool
    corpora: tuple[str, ...]
    split: str
    utterances: int
    profile: str
    profile_version: int
    unit: str
    wer: Rate
    cer: Rate

    @property
    def corpus(self) -> str:
        """The corpora in words."""
        return ", ".join(self.corpora)


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed at batch size 1. rtfx: seconds of audio transcribed in a second; p50, p95: percentiles of an utterance's
    latency, in seconds; machine: on what, in words.
    """

    rtfx: float
    p50: float
    p95: float | None
    peak_memory_bytes: int | None
    machine: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Another system beside the model of the card, such as its int8 graph.

    precision: the numbers that it computes with. difference: its error rate minus the model's, with its 95 %
    interval. adjusted_p: of the matched-pairs test, corrected for all comparisons of the benchmark; None where
    there was none. rtfx, times_as_fast: its speed at batch size 1, and beside the model's; None where it was not timed.
    """

    system: str
    precision: str
    difference: Rate
    adjusted_p: float | None
    rtfx: float | None
    times_as_fast: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class BenchmarkFigures:
    """What a card says of a benchmark: error rates of all systems, how the others compare with the published model, its
    speed, and the amount of speech. metric: the one compared, "wer" or "cer". speakers: 0 where the corpus names none.
    """

    rows: tuple[ResultRow, ...]
    beside: tuple[Beside, ...]
    metric: str
    speed: Speed | None
    hours: float
    speakers: int


def validation_row(run: RunFolder) -> ResultRow | None:
    """The best model's error rates on the validation utterances that chose it; None where the run wrote no transcripts.

    The CER counts no spaces in a language that is written without them, as in training.
    Intervals are drawn with seed 0, over speakers where the transcripts name them (`finetune.metrics.resample`).
    """
    if not run.transcripts or run.about is None:
        return None
    pairs = [(line["reference"], line["hypothesis"]) for line in run.transcripts]
    language = common_language(None, [run.about.profile], run.about.validation.languages)
    spaces = primary_metric(language, (reference for reference, _ in pairs)) == "wer"
    resampling = resample([line.get("speaker") for line in run.transcripts], seed=0)

    def rate_of(counts: Sequence[ErrorCounts]) -> Rate:
        return rate([one.errors for one in counts], [one.reference_length for one in counts], resampling)

    return ResultRow(
        system="this model",
        is_published=True,
        corpora=tuple(dict.fromkeys(run.about.validation.corpora)),
        split="validation, held out of training" if run.about.held_out else "validation",
        utterances=len(pairs),
        profile=run.about.profile,
        profile_version=run.about.profile_version,
        unit=resampling.unit,
        wer=rate_of([word_errors(*pair) for pair in pairs]),
        cer=rate_of([character_errors(*pair, spaces=spaces) for pair in pairs]),
    )


def read_benchmark(results: Path, run: Path, repo_id: str) -> BenchmarkFigures:
    """The figures of all systems of a benchmark under its first text profile, those of this run marked.

    results: a benchmark's folder, or its summary.json. run, repo_id: how the benchmark may have named the run. A system
    that decodes with a language model is not the run alone, and its pipeline is another system where both were
    measured. Raises InputError where there is no summary of SUMMARY_SCHEMA, exactly one of its systems is not this run,
    or it measured other weights than the run has now.
    """
    path = results / "summary.json" if results.is_dir() else results
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["schema"] != SUMMARY_SCHEMA:
            raise InputError(
                f"--results {path}: schema {summary['schema']}; expected {SUMMARY_SCHEMA}: run the benchmark again"
            )
        systems = [system for system in summary["systems"] if system["failure"] is None]
        published = [system for system in systems if _is_run(system["facts"], run, repo_id)]
        if len(published) > 1:
            published = [system for system in published if system["facts"]["family"] != "pipeline"]
        if len(published) != 1:
            names = ", ".join(f"{system['facts']['name']} ({system['facts']['checkpoint']})" for system in systems)
            raise InputError(
                f"--results {path}: {len(published)} of its systems are {run} without a language model (it has "
                f"{names or 'none that worked'}); expected one: benchmark this run"
            )
        _check_weights(published[0]["facts"], run, path)
        rows = tuple(_row(system, system is published[0], summary) for system in systems)
        return BenchmarkFigures(
            rows,
            _beside(published[0], systems, summary),
            summary["metric"],
            _speed(published[0], summary),
            summary["corpus"]["hours"],
            summary["corpus"]["speakers"],
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"--results {path}: no summary of a benchmark ({described(error)}); expected the folder that "
            "benchmark/run.py wrote: name its --output_dir"
        ) from None


def _is_run(facts: dict[str, Any], run: Path, repo_id: str) -> bool:
    checkpoint, with_language_model = facts["checkpoint"], "+" in facts["family"]
    places = (run.resolve(), (run / "whisper.pt").resolve())
    return not with_language_model and (checkpoint == repo_id or Path(checkpoint).resolve() in places)


def _check_weights(facts: dict[str, Any], run: Path, path: Path) -> None:
    """Raises InputError where a benchmark measured other weights than the run's folder has."""
    for measured in facts["weights"]:
        file = run / measured["name"]
        if file.is_file():
            with file.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() == measured["sha256"]:
                    continue
        raise InputError(
            f"--results {path}: measured other weights than {run} has now; expected those that are published: run the "
            "benchmark again"
        )


def _row(system: dict[str, Any], is_published: bool, summary: dict[str, Any]) -> ResultRow:
    profile = summary["profiles"][0]
    scores = system["scores"][profile["name"]]
    return ResultRow(
        system="this model" if is_published else _system_name(system["facts"]),
        is_published=is_published,
        corpora=(without_folders(summary["corpus"]["reference"]),),
        split="benchmark",
        utterances=summary["corpus"]["utterances"],
        profile=profile["name"],
        profile_version=profile["version"],
        unit=summary["corpus"]["resampling_unit"],
        wer=Rate(**scores["wer"]),
        cer=Rate(**scores["cer"]),
    )


def _system_name(facts: dict[str, Any]) -> str:
    """A system's name as the benchmark has it, `wav2vec2=/home/me/x` without its folders."""
    name, equals, checkpoint = str(facts["name"]).partition("=")
    return name + equals + without_folders(checkpoint)


def _beside(published: dict[str, Any], systems: list[dict[str, Any]], summary: dict[str, Any]) -> tuple[Beside, ...]:
    """The other systems that the benchmark compared with the published one on clean speech."""
    own, own_speed = published["facts"]["name"], published["speed"]
    by_name = {system["facts"]["name"]: system for system in systems}
    found = []
    for comparison in summary["comparisons"]:
        names = (comparison["first"], comparison["second"])
        if comparison["condition"] != "clean" or own not in names:
            continue
        difference = Rate(**comparison["difference"])  # first minus second
        if names[0] == own:
            difference = Rate(-difference.value, -difference.high, -difference.low)
        other = by_name[names[1] if names[0] == own else names[0]]
        speed = other["speed"]
        found.append(
            Beside(
                system=_system_name(other["facts"]),
                precision=other["facts"]["settings"].get("precision", ""),
                difference=difference,
                adjusted_p=comparison["adjusted_p"],
                rtfx=speed["rtfx"] if speed else None,
                times_as_fast=speed["rtfx"] / own_speed["rtfx"] if speed and own_speed else None,
                peak_memory_bytes=other["peak_memory_bytes"],
            )
        )
    return tuple(found)


def _speed(system: dict[str, Any], summary: dict[str, Any]) -> Speed | None:
    if system["speed"] is None:
        return None
    machine = summary["machine"]
    parts = [machine.get("device") or machine.get("processor", ""), f"{machine.get('cores', '?')} cores"]
    speed = system["speed"]
    p95 = speed["p95"] if speed["p95_spread"] is not None else None  # of too few utterances
    return Speed(speed["rtfx"], speed["p50"], p95, system["peak_memory_bytes"], ", ".join(filter(None, parts)))
