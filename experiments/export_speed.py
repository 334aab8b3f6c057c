"""How much faster is a wav2vec2 exported to ONNX, in float32 and in int8, and what does int8 cost in words?

Speed is that of wav2vec2-base's shape with random weights, one thread, in turns: this project's system in torch, both
graphs, and transformers' pipeline. Word error rates are of a trained model: the embedded demo, or --model on --test.
Exit code 1 when a figure falls short of what is required.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import run_experiment
from experiments.harness.figures import Comparison, Findings, Table, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Unavailable, take_turns
from experiments.harness.speech import SpeechOptions, utterance_paths
from experiments.transcribing_speed import (
    Round,
    TranscribingJob,
    ours,
    pipeline_as_it_comes,
    save_random,
    system_round,
)
from preprocessing.cli.errors import InputError, UsageError, counted
from preprocessing.cli.options import run_command
from preprocessing.cli.progress import hide_loading_bars

if TYPE_CHECKING:
    from preprocessing.corpus import Utterance

DURATION = "5 minutes"
TORCH, FLOAT32, INT8, PIPELINE = "wav2vec2 in torch", "onnx float32", "onnx int8", "transformers' pipeline"
FOLDERS = {FLOAT32: "float32", INT8: "int8"}  # of the graphs, beside the model's
MINIMUM_RATIO = 3.0  # int8 beside the pipeline
MAXIMUM_POINTS_LOST = 1.0  # of WER, by int8
QUICK_UTTERANCES = 12  # whose words are counted


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is transcribed, with which model."""

    utterances: int = 6
    """How many are timed, spread over the manifest; with --quick at most 4."""

    model: Path | None = None
    """Folder of a trained wav2vec2 whose word error rates are measured; default the embedded demo."""

    test: Path | None = None
    """Its test corpus; default the embedded demo's."""

    rounds: int = 3
    """Rounds of each implementation, taking turns, after one that warms up; with --quick 1."""

    threads: int = 1
    """Of each implementation."""


def run(config: Config) -> Findings:
    """Export, transcribe in turns and compare. Raises UsageError where options or speech cannot be used."""
    from finetune.systems.availability import DEMO
    from preprocessing import audio

    if min(config.rounds, config.threads) < 1:
        raise UsageError("--rounds and --threads must be 1 or more: raise them")
    if (config.model is None) != (config.test is None):
        raise UsageError("--model and --test belong together; expected both or neither: add the other one")
    rounds = 1 if config.quick else config.rounds
    paths = tuple(utterance_paths(config.data, config.count))
    seconds_of_audio = sum(len(audio.load(path)) for path in paths) / audio.SAMPLE_RATE
    model = config.model or DEMO / "wav2vec2"
    with tempfile.TemporaryDirectory() as folder:
        timed, trained = Path(folder) / "timed", Path(folder) / "trained"
        save_random(timed / "model", tiny=config.quick)
        _export(timed / "model", timed, None)
        turns = take_turns(
            "speed",
            {TORCH: ours, FLOAT32: onnx_float32, INT8: onnx_int8, PIPELINE: pipeline_as_it_comes},
            TranscribingJob(str(timed / "model"), paths, "cpu"),
            WARM_UP_ROUNDS + rounds,
            threads=config.threads,
            environments={TORCH: {"THP_MEM_ALLOC_ENABLE": "1"}},  # as benchmark/run.py sets it
        )
        trained.mkdir()
        _export(model, trained, None if config.test is None else str(config.test))
        words = _word_errors(model, trained, config)
    missing = {name: found.reason for name, found in turns.items() if isinstance(found, Unavailable)}
    if missing:
        raise InputError(f"{', '.join(missing)} could not transcribe: {next(iter(missing.values()))}")
    seconds = {
        name: [turn.seconds for turn in found[WARM_UP_ROUNDS:]]
        for name, found in turns.items()
        if not isinstance(found, Unavailable)
    }
    comparisons = [
        speed_up(name, peer, seconds[name], seconds[peer], MINIMUM_RATIO if (name, peer) == (INT8, PIPELINE) else None)
        for name, peer in ((INT8, PIPELINE), (FLOAT32, PIPELINE), (TORCH, PIPELINE), (INT8, TORCH), (INT8, FLOAT32))
    ]
    comparisons.append(words.lost)
    settings = [
        f"{len(paths)} utterances, {seconds_of_audio:.0f} s of audio; {counted(rounds, 'round')} after "
        f"{WARM_UP_ROUNDS} of warm-up, a process each, {counted(config.threads, 'thread')}, cpu, wall-clock; waveforms "
        "are given, not files",
        f"words: {config.model or 'the embedded model'} on {words.n} utterances of "
        f"{config.test or 'the embedded test corpus'}",
    ]
    return Findings(
        "ONNX beside torch", "\n".join(settings), comparisons, tables=[words.table], details={"seconds": seconds}
    )


def onnx_float32(job: TranscribingJob) -> Round:
    """The graph in float32."""
    return system_round(replace(job, checkpoint=str(Path(job.checkpoint).parent / FOLDERS[FLOAT32])), "onnx")


def onnx_int8(job: TranscribingJob) -> Round:
    """The graph in int8."""
    return system_round(replace(job, checkpoint=str(Path(job.checkpoint).parent / FOLDERS[INT8])), "onnx")


def _export(model: Path, folder: Path, data: str | None) -> None:
    """Both graphs of a model, in folders of their own."""
    from finetune.export.onnx import export_graph

    hide_loading_bars()
    for numbers in FOLDERS.values():
        export_graph(model, "wav2vec2", folder / numbers, numbers, data)


@dataclass(frozen=True)
class _Words:
    """Word error rates of all implementations on `n` utterances, and the points that int8 loses."""

    table: Table
    lost: Comparison
    n: int


def _word_errors(model: Path, graphs: Path, config: Config) -> _Words:
    from benchmark.offline import DEMO_CORPUS
    from finetune.metrics import difference, matched_pairs, rate, resample
    from preprocessing.corpus import open_corpus

    utterances = list(open_corpus(str(config.test or DEMO_CORPUS)).utterances)
    utterances = utterances[:QUICK_UTTERANCES] if config.quick else utterances
    resampling = resample([utterance.speaker for utterance in utterances], seed=0)
    counts = {
        name: _count(reference, utterances)
        for name, reference in {
            TORCH: f"wav2vec2={model}",
            FLOAT32: f"onnx={graphs / FOLDERS[FLOAT32]}",
            INT8: f"onnx={graphs / FOLDERS[INT8]}",
            PIPELINE: f"pipeline={model}",
        }.items()
    }
    rows = []
    torch_errors, lengths = counts[TORCH]
    for name, (errors, _) in counts.items():
        own, apart = rate(errors, lengths, resampling), difference(errors, torch_errors, lengths, resampling)
        p = matched_pairs(errors, torch_errors, resampling)
        beside = "" if name == TORCH else f"{100 * apart.value:+.2f} [{100 * apart.low:.2f}, {100 * apart.high:.2f}]"
        rows.append((
            name,
            f"{100 * own.value:.2f} [{100 * own.low:.2f}, {100 * own.high:.2f}]",
            beside,
            "" if name == TORCH else f"{p:.2f}",
        ))  # fmt: skip
    lost = difference(counts[INT8][0], torch_errors, lengths, resampling)
    ours_wer, theirs_wer = (100 * sum(counts[name][0]) / max(sum(lengths), 1) for name in (INT8, TORCH))
    value, low, high = (100 * one for one in (lost.value, lost.low, lost.high))
    return _Words(
        Table(("system", "WER, % [95 % interval]", "points over torch", "p, matched pairs"), rows, "Words"),
        Comparison(
            "WER lost, int8", TORCH, ours_wer, theirs_wer, "%", value, low, high, "points", None, MAXIMUM_POINTS_LOST
        ),
        len(utterances),
    )


def _count(reference: str, utterances: "Sequence[Utterance]") -> tuple[list[int], list[int]]:
    """Word errors and words of each utterance under a system, without case and punctuation."""
    from finetune.metrics.error_rates import word_errors
    from finetune.systems.base import LoadOptions
    from finetune.systems.registry import load_system, parse_models
    from preprocessing.corpus import load_waveform
    from preprocessing.text import profile

    system, normalise = load_system(parse_models(reference)[0], LoadOptions("cpu", None)), profile("basic")
    counts = []
    for utterance in utterances:
        (hypothesis,) = system.text(system.forward(system.features([load_waveform(utterance)])))
        counts.append(word_errors(normalise(utterance.text), normalise(hypothesis)))
    return [one.errors for one in counts], [one.reference_length for one in counts]


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
