"""The figures of a model card: error rates with intervals, on validation and from a benchmark's summary.json.

Nothing is measured here. Validation is counted again from the transcripts that training left; a benchmark's figures
are taken over as its summary (schema 2) holds them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.hub.folder import RunFolder
from finetune.metrics import Rate, rate, resample
from finetune.metrics.error_rates import ErrorCounts, character_errors, word_errors
from finetune.training.about import without_folders
from preprocessing.cli.errors import InputError

SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of the results: a system on a corpus under a text profile. `ours` is the model that is published."""

    system: str
    ours: bool
    corpus: str
    split: str
    utterances: int
    profile: str
    profile_version: int
    unit: str  # what the bootstrap drew: "speaker" or "utterance"
    wer: Rate
    cer: Rate


@dataclass(frozen=True, slots=True)
class Speed:
    """At batch size 1: seconds of audio in one second, and seconds for an utterance."""

    rtfx: float
    p50: float
    p95: float
    peak_memory_bytes: int | None
    machine: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    rows: tuple[Scored, ...]
    speed: Speed | None
    hours: float
    speakers: int


def on_validation(run: RunFolder) -> Scored | None:
    """The best model on the utterances that chose it; None where the run left no transcripts."""
    if not run.transcripts or run.about is None:
        return None
    pairs = [(line["reference"], line["hypothesis"]) for line in run.transcripts]
    drawn = resample([line.get("speaker") for line in run.transcripts], seed=0)

    def rated(counts: Sequence[ErrorCounts]) -> Rate:
        return rate([one.errors for one in counts], [one.reference_length for one in counts], drawn)

    return Scored(
        system="this model",
        ours=True,
        corpus=", ".join(run.about.validation.corpora),
        split="validation, held out of training" if run.about.held_out else "validation",
        utterances=len(pairs),
        profile=run.about.profile,
        profile_version=run.about.profile_version,
        unit=drawn.unit,
        wer=rated([word_errors(*pair) for pair in pairs]),
        cer=rated([character_errors(*pair) for pair in pairs]),
    )


def read_benchmark(results: Path, run: Path, repo_id: str) -> Benchmark:
    """Every system of a benchmark's folder under its first profile, this run's marked.

    Raises InputError where there is no summary, or this run is not in it.
    """
    path = results / "summary.json" if results.is_dir() else results
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["schema"] != SCHEMA:
            raise ValueError(f"schema {summary['schema']}, expected {SCHEMA}")
        systems = [system for system in summary["systems"] if system["failure"] is None]
        ours = [system for system in systems if _is(system["facts"]["checkpoint"], run, repo_id)]
        if len(ours) != 1:
            named = ", ".join(f"{system['facts']['name']} ({system['facts']['checkpoint']})" for system in systems)
            raise InputError(
                f"--results {path}: {len(ours)} of its systems are {run} (it has {named or 'none that worked'}); "
                "expected one: benchmark this run"
            )
        rows = tuple(_scored(system, system is ours[0], summary) for system in systems)
        return Benchmark(rows, _speed(ours[0], summary), summary["corpus"]["hours"], summary["corpus"]["speakers"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"--results {path}: no summary of a benchmark ({type(error).__name__}: {error}); expected the folder that "
            "benchmark/run.py wrote: name its --output"
        ) from None


def _is(checkpoint: str, run: Path, repo_id: str) -> bool:
    return checkpoint == repo_id or Path(checkpoint).resolve() in (run.resolve(), (run / "whisper.pt").resolve())


def _scored(system: dict[str, Any], ours: bool, summary: dict[str, Any]) -> Scored:
    used = summary["profiles"][0]
    scores = system["scores"][used["name"]]
    return Scored(
        system="this model" if ours else _named(system["facts"]),
        ours=ours,
        corpus=without_folders(summary["corpus"]["reference"]),
        split="benchmark",
        utterances=summary["corpus"]["utterances"],
        profile=used["name"],
        profile_version=used["version"],
        unit=summary["corpus"]["resampling_unit"],
        wer=Rate(**scores["wer"]),
        cer=Rate(**scores["cer"]),
    )


def _named(facts: dict[str, Any]) -> str:
    """A rival's name, `wav2vec2=/home/me/x` without its folders."""
    name, equals, checkpoint = str(facts["name"]).partition("=")
    return name + equals + without_folders(checkpoint)


def _speed(system: dict[str, Any], summary: dict[str, Any]) -> Speed | None:
    if system["speed"] is None:
        return None
    machine = summary["machine"]
    parts = [machine.get("device") or machine.get("processor", ""), f"{machine.get('cores', '?')} cores"]
    speed = system["speed"]
    return Speed(speed["rtfx"], speed["p50"], speed["p95"], system["peak_memory_bytes"], ", ".join(filter(None, parts)))
