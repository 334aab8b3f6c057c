"""A whole benchmark: the corpus checked, each system measured in turn, results written as they come, then summed up."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.config import BenchmarkConfig
from benchmark.machine import describe_machine
from benchmark.measure import Failed, Finished, FirstCall, Loaded, run_system
from benchmark.offline import DEMO_CORPUS, hub_has
from benchmark.report import write_reports
from benchmark.report.table import print_table
from benchmark.results import (
    CorpusFacts,
    ProfileUsed,
    Sample,
    Speed,
    StageSeconds,
    Summary,
    SystemFacts,
    SystemSummary,
    line_of,
    write_summary,
)
from benchmark.scoring import compare, score
from benchmark.systems import parse_models
from benchmark.systems.base import LoadOptions, SystemSpec
from finetune.significance import Resampling, resample
from preprocessing.corpus import Corpus, open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile, profile

DEFAULT_DATASET = "openslr/librispeech_asr"
DEFAULT_DATA = f"hf:{DEFAULT_DATASET}:clean:test"


@dataclass
class Measured:
    """What came back from one system."""

    facts: SystemFacts
    samples: list[Sample] = field(default_factory=list)
    load_seconds: float = 0.0
    first_call_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None
    failure: str | None = None


def benchmark(config: BenchmarkConfig) -> None:
    """Run as configured. Raises UserError for wrong usage, unusable data, and where a system failed as a whole."""
    profiles = [profile(name) for name in config.profiles]
    if not profiles:
        raise UsageError("--profiles is empty; expected a text profile or more: name one")
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"--limit is {config.limit}; expected 1 or more: raise it")
    specs = parse_models(config.models)
    device = _device(config.device)
    folder = _output_folder(config)
    console = Console()
    notices = [spec.notice for spec in specs if spec.notice]
    corpus = _corpus(config, notices).whole()
    for notice in notices:
        console.print(f"[bold yellow]NOTE[/] {notice}", highlight=False)

    folder.mkdir(parents=True, exist_ok=True)
    options = LoadOptions(device, config.language, config.denoise)
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as raw:
        measured = [_measure(spec, options, corpus, raw, console) for spec in specs]
    summary = summarise(config, corpus, profiles, measured, notices, describe_machine(device))
    write_summary(folder / "summary.json", summary)
    samples = [sample for one in measured for sample in one.samples]
    write_reports(folder, summary, samples)
    print_table(summary)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    failures = [f"{one.facts.name}: {one.failure}" for one in measured if one.failure]
    if failures:
        raise InputError("; ".join(failures))


def summarise(
    config: BenchmarkConfig,
    corpus: Corpus,
    profiles: Sequence[Profile],
    measured: Sequence[Measured],
    notices: Sequence[str],
    machine: dict[str, str],
) -> Summary:
    """Everything but the samples, from the samples."""
    resampling = resample([utterance.speaker for utterance in corpus.utterances], seed=config.seed)
    whole = {one.facts.name: one.samples for one in measured if one.failure is None}
    return Summary(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "benchmark/run.py", *sys.argv[1:]]),
        machine=machine,
        corpus=CorpusFacts(
            reference=corpus.reference,
            utterances=len(corpus.utterances),
            hours=corpus.seconds / 3600,
            speakers=len({utterance.speaker for utterance in corpus.utterances} - {None}),
            resampling_unit=resampling.unit,
        ),
        profiles=[ProfileUsed(one.name, one.version, one.description) for one in profiles],
        systems=[_system_summary(one, profiles, resampling) for one in measured],
        comparisons=compare(whole, profiles[0], resampling),
        notices=list(notices),
        settings={
            "seed": str(config.seed),
            "limit": str(config.limit or "none"),
            "noise removal": "on" if config.denoise else "off",
        },
    )


def _device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device is cuda, but torch finds no GPU; expected one: use --device cpu, or check the driver"
        )
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def _output_folder(config: BenchmarkConfig) -> Path:
    if config.output is None:
        return Path("runs") / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}"
    if config.output.is_file():
        raise UsageError(f"--output {config.output} is a file; expected a folder: choose another name")
    if (config.output / "samples.jsonl").exists() and not config.overwrite:
        raise UsageError(
            f"--output {config.output} holds results; expected a new folder: choose another, or --overwrite true"
        )
    return config.output


def _corpus(config: BenchmarkConfig, notices: list[str]) -> Corpus:
    """The corpus asked for; the embedded demo where the default one is out of reach, said in `notices`."""
    if config.data is not None:
        return open_corpus(config.data, limit=config.limit)
    if hub_has(DEFAULT_DATASET, kind="dataset"):
        return open_corpus(DEFAULT_DATA, limit=config.limit)
    notices.append(
        "data: LibriSpeech test-clean is not reachable, so the embedded demo corpus stands in: synthetic commands "
        "that say nothing of real speech."
    )
    return open_corpus(str(DEMO_CORPUS), limit=config.limit)


def _measure(spec: SystemSpec, options: LoadOptions, corpus: Corpus, raw: TextIO, console: Console) -> Measured:
    """Run one system, writing each sample as it comes."""
    one = Measured(SystemFacts(spec.name, spec.family, spec.checkpoint, 0, notice=spec.notice))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{spec.name}: loading", total=len(corpus.utterances))
        for message in run_system(spec, options, corpus.utterances):
            match message:
                case Loaded():
                    one.facts, one.load_seconds = message.facts, message.load_seconds
                case FirstCall():
                    one.first_call_seconds = message.seconds
                    bar.update(task, description=spec.name)
                case Sample():
                    one.samples.append(message)
                    raw.write(line_of(message))
                    raw.flush()
                    bar.advance(task)
                case Finished():
                    one.peak_memory_bytes = message.peak_memory_bytes
                    one.peak_device_memory_bytes = message.peak_device_memory_bytes
                case Failed():
                    one.failure = message.reason
    if not console.is_terminal:
        console.print(f"{spec.name}: {len(one.samples)} of {len(corpus.utterances)} utterances", highlight=False)
    return one


def _system_summary(one: Measured, profiles: Sequence[Profile], resampling: Resampling) -> SystemSummary:
    if one.failure is not None:
        return SystemSummary(one.facts, {}, None, None, None, 0, one.failure)
    latencies = np.array([sample.seconds.total for sample in one.samples])
    p50, p95, p99 = (float(value) for value in np.percentile(latencies, [50, 95, 99]))
    means = {
        stage: float(np.mean([getattr(sample.seconds, stage) for sample in one.samples]))
        for stage in ("decode", "features", "forward", "text")
    }
    return SystemSummary(
        facts=one.facts,
        scores={used.name: score(one.samples, used, resampling) for used in profiles},
        speed=Speed(
            load=one.load_seconds,
            first_call=one.first_call_seconds,
            p50=p50,
            p95=p95,
            p99=p99,
            rtfx=sum(sample.audio_seconds for sample in one.samples) / float(latencies.sum()),
            stages=StageSeconds(**means),
        ),
        peak_memory_bytes=one.peak_memory_bytes,
        peak_device_memory_bytes=one.peak_device_memory_bytes,
        failed_utterances=sum(sample.error is not None for sample in one.samples),
    )
