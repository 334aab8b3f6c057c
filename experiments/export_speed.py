"""How much faster is a wav2vec2 exported for ONNX Runtime or OpenVINO, and what do int8 and bfloat16 cost in words?

Speed is measured with random weights of wav2vec2-base's shape on one thread, in turns: this project's system in torch,
the exported graphs, and transformers' pipeline. OpenVINO has seen every input length before; the extra time of a new
length is reported. Word error rates are those of a trained model: the embedded demo, or --model on --test. Exit code 1
if a figure misses its target.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import run_experiment
from experiments.harness.figures import Comparison, Findings, Table, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Turn, Unavailable, measured_seconds, take_turns
from experiments.harness.speech import SpeechOptions, utterance_paths
from experiments.transcribing_speed import (
    Round,
    TranscribingJob,
    ours,
    pipeline_as_it_comes,
    save_random,
    system_round,
)
from preprocessing.cli.options import check_counts, run_command
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.errors import InputError, UsageError, counted

if TYPE_CHECKING:
    from preprocessing.corpus import Utterance

DURATION = "10 minutes"
TORCH, PIPELINE = "wav2vec2 in torch", "transformers' pipeline"
OPENVINO_INT8 = "openvino int8"
MINIMUM_RATIO = 3.0  # the fastest int8 beside the pipeline
MAXIMUM_POINTS_LOST = 1.0  # of WER, by int8
QUICK_UTTERANCES = 12  # whose words are counted


@dataclass(frozen=True)
class Graph:
    """A graph: the system's family, the numbers that it is exported in, --precision."""

    family: str
    numbers: str
    precision: str = "auto"

    @property
    def folder(self) -> str:
        """Of the export, beside the model's."""
        return f"{self.family}-{self.numbers}"

    def __call__(self, job: TranscribingJob) -> Round:
        """Transcribes with it: what `take_turns` calls in a process of its own."""
        checkpoint = str(Path(job.checkpoint).parent / self.folder)
        return system_round(replace(job, checkpoint=checkpoint), self.family, self.precision)


GRAPHS = {
    "onnx float32": Graph("onnx", "float32"),
    "onnx int8": Graph("onnx", "int8"),
    "openvino float32": Graph("openvino", "float32"),
    "openvino bfloat16": Graph("openvino", "float32", "bfloat16"),
    OPENVINO_INT8: Graph("openvino", "int8"),
}
IN_QUICK = ("onnx int8", OPENVINO_INT8)


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is transcribed, with which model."""

    utterances: int = 6
    """Number of timed utterances, spread over the manifest; with --quick at most 4."""

    model: Path | None = None
    """Folder of a trained wav2vec2 whose word error rates are measured. Default: the embedded demo."""

    test: str | None = None
    """Test corpus of that model: a manifest, a folder or a Hub data set. Default: the embedded demo's."""

    rounds: int = 3
    """Rounds of each implementation, taking turns, after one warm-up round; with --quick 1."""

    threads: int = 1
    """Threads of each implementation."""


def run(config: Config) -> Findings:
    """Export, transcribe in turns and compare. Raises UsageError where options or speech cannot be used."""
    from preprocessing import audio
    from preprocessing.storage.data_folder import DEMO

    check_counts(("--rounds", config.rounds, 1), ("--threads", config.threads, 1))
    if (config.model is None) != (config.test is None):
        raise UsageError("--model and --test belong together; expected both or neither: add the other one")
    rounds = 1 if config.quick else config.rounds
    graphs = {name: graph for name, graph in GRAPHS.items() if not config.quick or name in IN_QUICK}
    paths = tuple(utterance_paths(config.data_dir, config.count))
    seconds_of_audio = sum(len(audio.load(path)) for path in paths) / audio.SAMPLE_RATE
    model = config.model or DEMO / "wav2vec2"
    with tempfile.TemporaryDirectory() as folder:
        timed = Path(folder) / "timed"
        timed.mkdir()
        if config.quick:  # one model for both: exporting is what takes long
            (timed / "model").symlink_to(model.resolve())
        else:
            save_random(timed / "model", tiny=False)
        _export(timed / "model", timed, graphs, None)
        turns = take_turns(
            "speed",
            {TORCH: ours, **graphs, PIPELINE: pipeline_as_it_comes},
            TranscribingJob(str(timed / "model"), paths, "cpu"),
            WARM_UP_ROUNDS + rounds,
            threads=config.threads,
            environments={TORCH: {"THP_MEM_ALLOC_ENABLE": "1"}},  # as benchmark/run.py sets it
        )
        trained = timed if config.quick else Path(folder) / "trained"
        trained.mkdir(exist_ok=True)
        _export(model, trained, graphs, config.test)
        words = _word_errors(model, trained, graphs, config)
    seconds, missing = measured_seconds(turns)
    if missing:
        raise InputError(f"{', '.join(missing)} could not transcribe: {next(iter(missing.values()))}")
    comparisons = [
        speed_up(name, PIPELINE, seconds[name], seconds[PIPELINE], MINIMUM_RATIO if name == OPENVINO_INT8 else None)
        for name in (OPENVINO_INT8, *[name for name in graphs if name != OPENVINO_INT8], TORCH)
    ]
    comparisons += [
        speed_up(OPENVINO_INT8, peer, seconds[OPENVINO_INT8], seconds[peer], None) for peer in (TORCH, "onnx int8")
    ]
    comparisons.append(words.lost)
    settings = [
        f"{len(paths)} utterances, {seconds_of_audio:.0f} s of audio; {counted(rounds, 'round')} after "
        f"{WARM_UP_ROUNDS} of warm-up, a process each, {counted(config.threads, 'thread')}, cpu, wall-clock; waveforms "
        "are given, not files",
        _new_length(turns[OPENVINO_INT8], seconds[OPENVINO_INT8], len(paths)),
        f"words: {config.model or 'the embedded model'} on {words.n} utterances of "
        f"{config.test or 'the embedded test corpus'}",
    ]
    return Findings(
        "Exported graphs beside torch",
        "\n".join(settings),
        comparisons,
        tables=[words.table],
        details={"seconds": seconds},
    )


def _new_length(turns: "list[Turn] | Unavailable", later: Sequence[float], utterances: int) -> str:
    """What the first round took more than later ones, as a sentence."""
    assert not isinstance(turns, Unavailable)
    more = max(turns[0].seconds - statistics.median(later), 0.0) / utterances
    return (
        f"{OPENVINO_INT8} takes {1000 * more:.0f} ms more for an utterance whose length, to half a second, is new to it"
    )


def _export(model: Path, folder: Path, graphs: Mapping[str, Graph], data: str | None) -> None:
    """Graphs of a model, in folders of their own."""
    from finetune.export.graphs import export_graph
    from finetune.systems.graphs import ONNXSystem, OpenVINOSystem

    hide_loading_bars()
    runtimes = {system.runtime.name: system.runtime for system in (ONNXSystem, OpenVINOSystem)}
    for graph in graphs.values():
        if not (folder / graph.folder).exists():
            export_graph(runtimes[graph.family], model, "wav2vec2", folder / graph.folder, graph.numbers, data)


@dataclass(frozen=True)
class _Words:
    """Word error rates of all implementations on `n` utterances, and the points that the fastest int8 loses."""

    table: Table
    lost: Comparison
    n: int


def _word_errors(model: Path, folder: Path, graphs: Mapping[str, Graph], config: Config) -> _Words:
    from benchmark.offline import DEMO_CORPUS
    from finetune.metrics import difference, matched_pairs, rate, resample
    from preprocessing.corpus import open_corpus

    utterances = list(open_corpus(config.test or str(DEMO_CORPUS)).utterances)
    utterances = utterances[:QUICK_UTTERANCES] if config.quick else utterances
    resampling = resample([utterance.speaker for utterance in utterances], seed=0)
    counts = {
        name: _count(reference, precision, utterances)
        for name, (reference, precision) in {
            TORCH: (f"wav2vec2={model}", "auto"),
            **{name: (f"{one.family}={folder / one.folder}", one.precision) for name, one in graphs.items()},
            PIPELINE: (f"pipeline={model}", "auto"),
        }.items()
    }
    rows = []
    torch_errors, lengths = counts[TORCH]
    for name, (errors, _) in counts.items():
        own, apart = rate(errors, lengths, resampling), difference(errors, torch_errors, lengths, resampling)
        p = matched_pairs(errors, torch_errors, lengths, resampling)
        beside = "" if name == TORCH else f"{100 * apart.value:+.2f} [{100 * apart.low:.2f}, {100 * apart.high:.2f}]"
        rows.append((
            name,
            f"{100 * own.value:.2f} [{100 * own.low:.2f}, {100 * own.high:.2f}]",
            beside,
            "" if name == TORCH else f"{p:.2f}",
        ))  # fmt: skip
    lost = difference(counts[OPENVINO_INT8][0], torch_errors, lengths, resampling)
    ours_wer, theirs_wer = (100 * sum(counts[name][0]) / max(sum(lengths), 1) for name in (OPENVINO_INT8, TORCH))
    value, low, high = (100 * one for one in (lost.value, lost.low, lost.high))
    return _Words(
        Table(("system", "WER, % [95 % interval]", "points over torch", "p, matched pairs"), rows, "Words"),
        Comparison(
            quantity=f"WER lost, {OPENVINO_INT8}",
            peer=TORCH,
            ours=ours_wer,
            theirs=theirs_wer,
            unit="%",
            advantage=value,
            low=low,
            high=high,
            advantage_unit="points",
            maximum=MAXIMUM_POINTS_LOST,
        ),
        len(utterances),
    )


def _count(reference: str, precision: str, utterances: "Sequence[Utterance]") -> tuple[list[int], list[int]]:
    """Word errors and words of each utterance under a system, without case and punctuation."""
    from finetune.metrics.error_rates import utterance_errors
    from finetune.systems.base import LoadOptions
    from finetune.systems.registry import load_system, parse_models
    from preprocessing.corpus import load_waveform
    from preprocessing.text import profile

    system = load_system(parse_models(reference)[0], LoadOptions("cpu", None, precision=precision))
    hypotheses = [system.text(system.forward(system.features([load_waveform(one)])))[0] for one in utterances]
    counts = utterance_errors([one.text for one in utterances], hypotheses, normalise=profile("basic"))
    return [one.errors for one in counts], [one.reference_length for one in counts]


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
