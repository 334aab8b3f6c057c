"""Corpora transcribed for a study.

`transcribe` appends each utterance to a file as it is done, so that a stopped study resumes, and names the file by the
weights, corpus and conditions, so that others are measured again. The records are the benchmark's (`Sample`). torch is
imported where it is used.
"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import progress
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.errors import InputError, counted

if TYPE_CHECKING:
    from benchmark.conditions import Condition
    from benchmark.results import Sample
    from finetune.metrics.error_rates import Metric
    from finetune.systems.base import SystemSpec
    from preprocessing.corpus import Utterance

PARTS = ("train", "dev", "validation", "test")  # names of files that say nothing of whose parts they are


@dataclass(frozen=True)
class CorpusUsed:
    """A corpus as a study refers to it. minutes: of all utterances. unit: what intervals draw."""

    name: str
    utterances: int
    minutes: float
    speakers: int
    unit: str

    def described(self) -> str:
        """Such as "test-other, 60 utterances, 7.7 min, 6 speakers, 95 % intervals over speakers"."""
        utterances, speakers = counted(self.utterances, "utterance"), counted(self.speakers, "speaker")
        size = f"{utterances}, {self.minutes:.1f} min, {speakers}"
        return f"{self.name}, {size}, 95 % intervals over {self.unit}s"


def open_test(reference: str, limit: int | None = None) -> "list[Utterance]":
    """The utterances of a test corpus, at most `limit`, spread as by `open_corpus`. Raises InputError where one cannot
    be used.
    """
    from preprocessing.corpus import open_corpus

    return list(open_corpus(reference, limit=limit, spread=True).require_complete().utterances)


def corpus_name(reference: str) -> str:
    """A corpus as pages name it: the name of its file without the suffix, after its folder's where that is only a part
    of the corpus; a data set of the Hub as it is.

    >>> corpus_name("speech/librispeech/test-other.jsonl"), corpus_name("speech/digits/test.jsonl")
    ('test-other', 'digits test')
    """
    if reference.startswith("hf:"):
        return reference
    path = Path(reference).resolve()
    name = path.stem if path.suffix == ".jsonl" else path.name
    return f"{path.parent.name} {name}" if name in PARTS else name


def metric_of(utterances: "Sequence[Utterance]", profile: str, language: str | None = None) -> "Metric":
    """The metric that decides on a test corpus, in training and benchmark too: `primary_metric` of its references.

    language: of the speech; by default that of the profile, or of all utterances.
    """
    from finetune.metrics.error_rates import primary_metric
    from preprocessing.text.languages import common_language

    language = common_language(language, [profile], [one.language for one in utterances])
    return primary_metric(language, [one.text for one in utterances])


def describe_test(name: str, utterances: "Sequence[Utterance]") -> CorpusUsed:
    """Name, size and resampling unit of a test corpus."""
    from finetune.metrics import resample

    speakers = [one.speaker for one in utterances]
    unit = resample(speakers, seed=0, draws=1).unit
    minutes = sum(one.duration for one in utterances) / 60
    return CorpusUsed(name, len(utterances), minutes, len({*speakers} - {None}), unit)


def system_spec(name: str, reference: str) -> "SystemSpec":
    """A system by FAMILY=CHECKPOINT, under a name. Raises UsageError where it is no such reference."""
    from finetune.systems.registry import parse_models

    return replace(parse_models(reference)[0], name=name)


def transcribe(
    spec: "SystemSpec",
    utterances: "Sequence[Utterance]",
    folder: Path,
    *,
    conditions: "Sequence[Condition] | None" = None,
    language: str | None = None,
) -> "list[Sample]":
    """What the system writes of each utterance under each condition, clean without any; as samples, in that order.

    One utterance at a time, each timed in this process, without its decoding; stationary noise is removed first for a
    model that was trained so. An utterance that the system fails on is one with an error and without a hypothesis, as
    in a benchmark; stderr says so, and the next run tries it again. Raises UserError where the system cannot be loaded,
    InputError where it fails on every utterance.
    """
    from benchmark.conditions import parse_conditions
    from benchmark.results import CLEAN, Sample, read_samples
    from benchmark.results.store import drop_torn_line, json_line
    from benchmark.worker.stage_clock import DeviceClock, LoadedWaveform, transcribe_batch
    from finetune.models.companion_files import trained_on_denoised
    from finetune.systems.base import LoadOptions
    from finetune.systems.identity import sha256_of, weights_of
    from finetune.systems.registry import load_system
    from preprocessing.augment.denoise import SpectralGate
    from preprocessing.corpus import load_waveform

    conditions = conditions or parse_conditions(CLEAN, seed=0, noise=None, rooms=None)
    weights = [sha256_of(path) for path in weights_of(spec.family, spec.checkpoint)] or [spec.checkpoint]
    corpus = [(one.id, one.text, one.duration) for one in utterances]
    gate = SpectralGate() if trained_on_denoised(spec.checkpoint) else None
    audio = [one.used for one in conditions], *(["noise removal"] if gate else [])
    what = repr((spec.written_family, weights, corpus, language, *audio))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{spec.name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.jsonl"
    drop_torn_line(path)
    kept = read_samples(path) if path.is_file() else ()
    done = {(one.condition, one.id): one for one in kept if one.error is None}
    wanted = [(condition, one) for condition in conditions for one in utterances]
    left = [(condition, one) for condition, one in wanted if (condition.used.name, one.id) not in done]
    if left:
        import torch

        hide_loading_bars()
        system, clock = load_system(spec, LoadOptions("cpu", language)), DeviceClock("cpu")
        with (
            progress(f"transcribing with {spec.name}", len(left), "utterances") as advance,
            path.open("a", encoding="utf-8") as file,
            torch.inference_mode(),
        ):
            transcribe_batch(system, (), [LoadedWaveform(load_waveform(left[0][1]), 0.0)], clock)  # warms up
            for condition, utterance in left:
                waveform = condition.apply(load_waveform(utterance), utterance.id)
                waveform = waveform if gate is None else gate(waveform)
                reply = transcribe_batch(system, (), [LoadedWaveform(waveform, 0.0)], clock)
                sample = Sample(
                    system=spec.name,
                    id=utterance.id,
                    reference=utterance.text,
                    hypothesis=reply.hypotheses[0].text,
                    audio_seconds=utterance.duration,
                    seconds=reply.seconds,
                    speaker=utterance.speaker,
                    condition=condition.used.name,
                    error=reply.hypotheses[0].error,
                )
                file.write(json_line(sample))
                file.flush()
                done[sample.condition, sample.id] = sample
                advance(1)
    found = [done[condition.used.name, one.id] for condition, one in wanted]
    _check_errors(spec.name, found)
    return found


def _check_errors(name: str, samples: "Sequence[Sample]") -> None:
    """Say on stderr how many utterances have an error. Raises InputError where all have one."""
    errors = [one.error for one in samples if one.error is not None]
    if errors and len(errors) == len(samples):
        raise InputError(
            f"{name} fails on all of {counted(len(samples), 'utterance')} ({errors[0]}); expected it to transcribe "
            "them: correct the cause, and run the same command again"
        )
    if errors:
        failed = f"{len(errors)} of {counted(len(samples), 'utterance')} failed and count as deleted"
        print(f"{name}: {failed}; the first: {errors[0]}", file=sys.stderr)


def rtfx(samples: "Sequence[Sample]") -> float:
    """Seconds of audio done in a second, one utterance at a time, features and text included."""
    return sum(one.audio_seconds for one in samples) / max(sum(one.seconds.total for one in samples), 1e-9)
