"""How fast are wav2vec2 and Whisper here, compared with transformers' pipeline and openai-whisper?

Speed is measured with random weights of wav2vec2-base's shape; words are compared on the embedded demo, or on --model.
With --whisper true, the embedded Whisper or --model instead. Exit code 1 if a figure misses its target.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from experiments.harness.command import run_experiment
from experiments.harness.figures import Comparison, Findings, measured_once, speed_up
from experiments.harness.rounds import (
    WARM_UP_ROUNDS,
    Implementation,
    Turn,
    Unavailable,
    measured_seconds,
    peak_gflops,
    take_turns,
)
from experiments.harness.speech import SpeechOptions, utterance_paths
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import check_counts, run_command
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.errors import InputError, UsageError, counted

if TYPE_CHECKING:
    from torch import Tensor

DURATION = "4 minutes"
OURS, AS_IT_COMES, BATCHED, PLAIN = "ours", "pipeline as it comes", "pipeline(batch_size=16)", "plain model call"
IN_BFLOAT16 = "pipeline in bfloat16"
OPENAI_WHISPER = "openai-whisper"
MINIMUM_RATIOS: dict[str, dict[str, float]] = {"cpu": {AS_IT_COMES: 2.5}, "cuda": {BATCHED: 3.0}}
MINIMUM_WHISPER_RATIO = 1.0  # never slower
MAXIMUM_WORDS_APART = 0.1  # % of the peer's words
GFLOP_PER_SECOND_OF_AUDIO = 14.0  # wav2vec2-base, forward
AT_ONCE = 64  # utterances given to a system together; it orders them by itself
QUICK_WORDS = 20  # demo utterances whose words are compared

Round: TypeAlias = Callable[[], list[str]]


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is transcribed, with which model."""

    utterances: int = 6
    """Number of utterances, spread over the manifest; with --quick at most 4."""

    model: str | None = None
    """CTC checkpoint for comparing words, on the same utterances. Default: the embedded demo on its own test corpus.
    Speed is measured with random weights."""

    rounds: int = 2
    """Rounds of each implementation, taking turns, after one warm-up round; with --quick 1."""

    threads: int = 1
    """Threads of torch in each implementation's process."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on; auto takes a GPU if there is one."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of this project's wav2vec2, as in the benchmark. With bfloat16, transformers' pipeline is measured in
    bfloat16, too."""

    whisper: bool = False
    """Compare Whisper instead: this project beside openai-whisper called directly, with the embedded demo or the
    checkpoint in model."""


@dataclass(frozen=True)
class TranscribingJob:
    """A round: which checkpoint, which files, on which device, and the precision of ours."""

    checkpoint: str
    paths: tuple[Path, ...]
    device: str  # "cpu" or "cuda"
    precision: str = "auto"


def run(config: Config) -> Findings:
    """Transcribe in turns and compare. Raises UsageError where options or speech cannot be used."""
    from preprocessing import audio
    from preprocessing.storage.data_folder import DEMO

    check_counts(("--rounds", config.rounds, 1), ("--threads", config.threads, 1))
    if config.whisper and config.precision != "auto":
        raise UsageError(f"--precision is {config.precision}, and Whisper chooses its own: leave one of the two out")
    device = resolve_device(config.device)
    rounds = 1 if config.quick else config.rounds
    paths = tuple(utterance_paths(config.data_dir, config.count))
    audio_seconds = sum(len(audio.load(path)) for path in paths) / audio.SAMPLE_RATE
    demo = str(DEMO / ("whisper" if config.whisper else "wav2vec2"))
    trained = TranscribingJob(config.model or demo, paths, device, config.precision)
    compared = trained if config.model else replace(trained, paths=_demo_paths(config.quick))
    if config.whisper:
        both: dict[str, Implementation] = {OURS: our_whisper, OPENAI_WHISPER: openai_whisper}
        timed = _transcribe("speed", both, trained, rounds, config.threads)
        words = timed if config.model else _transcribe("words", both, compared, 0, config.threads)
        minimum_ratios, peer = {OPENAI_WHISPER: MINIMUM_WHISPER_RATIO}, OPENAI_WHISPER
    else:
        implementations: dict[str, Implementation] = {
            OURS: ours,
            AS_IT_COMES: pipeline_as_it_comes,
            BATCHED: pipeline_batch_of_16,
            PLAIN: plain_call,
        }
        if config.precision == "bfloat16":
            implementations[IN_BFLOAT16] = pipeline_in_bfloat16
        with tempfile.TemporaryDirectory() as folder:
            save_random(Path(folder), tiny=config.quick)
            job = replace(trained, checkpoint=folder)
            timed = _transcribe("speed", implementations, job, rounds, config.threads)
        pair: dict[str, Implementation] = {OURS: ours, AS_IT_COMES: pipeline_as_it_comes}
        words = _transcribe("words", pair, compared, 0, config.threads)
        minimum_ratios, peer = MINIMUM_RATIOS[device], AS_IT_COMES
    seconds, missing = measured_seconds(timed)
    if OURS in missing:
        raise InputError(f"this project's system could not transcribe: {missing[OURS]}")
    comparisons = compare_seconds(seconds, minimum_ratios)
    mine, theirs = (_hypotheses(words[name]) for name in (OURS, peer))
    comparisons.append(words_apart(mine, theirs, peer))
    settings = [
        f"{len(paths)} utterances, {audio_seconds:.0f} s of audio; {counted(rounds, 'round')} after {WARM_UP_ROUNDS} "
        f"of warm-up, a process each, {counted(config.threads, 'thread')}, {device}, wall-clock; waveforms are given, "
        "not files",
        f"our precision: {config.precision}; words: {_description(compared)}; the same in "
        f"{sum(map(str.__eq__, mine, theirs))} of {len(mine)} utterances",
    ]
    if not config.whisper and not config.quick:
        settings += _shares_of_peak(seconds, audio_seconds, device, config.threads)
    details = {"seconds": seconds}
    return Findings("Transcribing", "\n".join(settings), comparisons, missing, device=device, details=details)


def ours(job: TranscribingJob) -> Round:
    """The benchmark's wav2vec2 system at its defaults but for the job's precision."""
    return system_round(job, "wav2vec2", job.precision)


def our_whisper(job: TranscribingJob) -> Round:
    """The benchmark's Whisper at its defaults."""
    return system_round(job, "whisper")


def system_round(job: TranscribingJob, family: str, precision: str = "auto") -> Round:
    """A system of the benchmark at its defaults but for --precision, which is given many utterances at once."""
    from finetune.systems.base import LoadOptions, SystemSpec
    from finetune.systems.registry import load_system

    hide_loading_bars()
    system = load_system(SystemSpec(family, family, job.checkpoint), LoadOptions(job.device, "en", precision=precision))
    waveforms = load_waveforms(job)

    def one_round() -> list[str]:
        texts = [""] * len(waveforms)
        for indices in _calls(waveforms, system.longest_in_batch_seconds, AT_ONCE if system.batched else 1):
            hypotheses = system.text(system.forward(system.features([waveforms[index] for index in indices])))
            for index, text in zip(indices, hypotheses, strict=True):
                texts[index] = text
        return texts

    return one_round


def _calls(waveforms: "Sequence[Tensor]", longest_seconds: float, at_once: int) -> list[list[int]]:
    """Indices of the waveforms that a system is given in each call; those longer than it batches go alone."""
    from preprocessing.audio import SAMPLE_RATE

    short = [index for index, waveform in enumerate(waveforms) if len(waveform) <= longest_seconds * SAMPLE_RATE]
    alone = [[index] for index in range(len(waveforms)) if index not in short]
    return [short[first : first + at_once] for first in range(0, len(short), at_once)] + alone


def pipeline_as_it_comes(job: TranscribingJob) -> Round:
    """transformers' pipeline, one utterance at a time, in the checkpoint's precision."""
    return _pipeline(job)


def pipeline_in_bfloat16(job: TranscribingJob) -> Round:
    """transformers' pipeline, one utterance at a time, in bfloat16."""
    import torch

    return _pipeline(job, dtype=torch.bfloat16)


def pipeline_batch_of_16(job: TranscribingJob) -> Round:
    """transformers' pipeline with batch_size=16; on a GPU in bfloat16."""
    import torch

    options: dict[str, Any] = {"dtype": torch.bfloat16} if job.device == "cuda" else {}
    return _pipeline(job, batch_size=16, **options)


def _pipeline(job: TranscribingJob, **options: Any) -> Round:
    from transformers import pipeline

    hide_loading_bars()
    recognise: Any = pipeline("automatic-speech-recognition", model=job.checkpoint, device=job.device, **options)
    arrays = [waveform.numpy() for waveform in load_waveforms(job)]
    return lambda: [found["text"] for found in recognise([array.copy() for array in arrays])]


def plain_call(job: TranscribingJob) -> Round:
    """Wav2Vec2ForCTC and its processor called by hand, one utterance at a time."""
    import torch
    from transformers import AutoModelForCTC, AutoProcessor

    from preprocessing.audio import SAMPLE_RATE

    hide_loading_bars()
    processor = AutoProcessor.from_pretrained(job.checkpoint)
    model = AutoModelForCTC.from_pretrained(job.checkpoint).eval().to(job.device)
    arrays = [waveform.numpy() for waveform in load_waveforms(job)]

    @torch.inference_mode()
    def one_round() -> list[str]:
        texts = []
        for array in arrays:
            inputs = processor(array, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            texts += processor.batch_decode(model(inputs.to(job.device)).logits.argmax(dim=-1))
        return texts

    return one_round


def openai_whisper(job: TranscribingJob) -> Round:
    """log_mel_spectrogram, pad_or_trim and decode as openai-whisper's README has them; greedy, without timestamps."""
    import whisper

    path = Path(job.checkpoint)
    model = whisper.load_model(str(path / "whisper.pt" if path.is_dir() else path), device=job.device)
    waveforms = load_waveforms(job)
    options = whisper.DecodingOptions(
        language="en", temperature=0.0, without_timestamps=True, fp16=job.device == "cuda"
    )

    def one_round() -> list[str]:
        texts = []
        for waveform in waveforms:
            window = whisper.pad_or_trim(waveform)
            mel = whisper.log_mel_spectrogram(window, model.dims.n_mels).to(job.device)
            texts.append(whisper.decode(model, mel, options).text.strip())
        return texts

    return one_round


def load_waveforms(job: TranscribingJob) -> "list[Tensor]":
    """The waveform [samples] of each file."""
    from preprocessing import audio

    return [audio.load(path) for path in job.paths]


def save_random(folder: Path, *, tiny: bool) -> None:
    """Save wav2vec2-base's shape with random weights and the demo's vocabulary, as a transformers folder.

    tiny: a much smaller shape instead. The weights are the same each time.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    from experiments.harness.fine_tuning import TINY
    from preprocessing.storage.data_folder import DEMO
    from preprocessing.units import Vocabulary

    hide_loading_bars()
    vocabulary = Vocabulary.load(str(DEMO / "wav2vec2"))
    sizes = {"vocab_size": len(vocabulary.units), "pad_token_id": vocabulary.blank}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**sizes | (TINY if tiny else {})))
    model.save_pretrained(folder)
    vocabulary.save(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)


def compare_seconds(seconds: Mapping[str, Sequence[float]], minimum_ratios: Mapping[str, float]) -> list[Comparison]:
    """How many times faster ours is than each peer, with the ratio that is required beside some of them."""
    return [
        speed_up("transcribing", peer, seconds[OURS], theirs, minimum_ratios.get(peer))
        for peer, theirs in seconds.items()
        if peer != OURS
    ]


def words_apart(ours: Sequence[str], theirs: Sequence[str], peer: str) -> Comparison:
    """Words of ours that differ from the peer's, in % of the peer's words: WER can differ by no more than that."""
    from finetune.metrics.error_rates import ErrorCounts, word_errors

    counts = sum(starmap(word_errors, zip(theirs, ours, strict=True)), ErrorCounts())
    apart = 100.0 * counts.errors / max(counts.reference_length, 1)
    return measured_once(
        "words apart",
        peer,
        ours=apart,
        theirs=0.0,
        unit="%",
        advantage=apart,
        advantage_unit="%",
        maximum=MAXIMUM_WORDS_APART,
    )


def _transcribe(
    what: str, implementations: Mapping[str, Implementation], job: TranscribingJob, rounds: int, threads: int
) -> dict[str, list[Turn] | Unavailable]:
    return take_turns(
        what,
        implementations,
        job,
        WARM_UP_ROUNDS + rounds,
        threads=threads,
        keep_results=True,
        environments={OURS: {"THP_MEM_ALLOC_ENABLE": "1"}},  # as benchmark/run.py sets it
    )


def _demo_paths(quick: bool) -> tuple[Path, ...]:
    """Speech that the embedded models know: words that a model only guesses change with any rounding."""
    from benchmark.offline import DEMO_CORPUS
    from preprocessing.corpus import open_corpus

    paths = tuple(Path(str(utterance.audio)) for utterance in open_corpus(str(DEMO_CORPUS)).utterances)
    return paths[:QUICK_WORDS] if quick else paths


def _description(job: TranscribingJob) -> str:
    from preprocessing.storage.data_folder import DEMO

    embedded = Path(job.checkpoint).is_relative_to(DEMO)
    return "the embedded model on the embedded test corpus" if embedded else job.checkpoint


def _hypotheses(turns: list[Turn] | Unavailable) -> list[str]:
    if isinstance(turns, Unavailable):
        raise InputError(f"words cannot be compared: {turns.reason}")
    hypotheses: list[str] = turns[-1].result
    return hypotheses


def _shares_of_peak(
    seconds: Mapping[str, Sequence[float]], audio_seconds: float, device: str, threads: int
) -> list[str]:
    """How much of the machine's peak of matrix products, measured now, each implementation reaches; a line each."""
    lines = []
    peaks = {precision: peak_gflops(precision, device, threads) for precision in ("bf16", "fp32")}
    for precision, peak in peaks.items():
        if peak < peaks["fp32"]:
            lines.append(f"the {precision} peak is {peak:.3g} GFLOP/s: slower than fp32 on this processor")
            continue
        shares = [
            f"{name} {100.0 * GFLOP_PER_SECOND_OF_AUDIO * audio_seconds / min(times) / peak:.0f} %"
            for name, times in seconds.items()
        ]
        lines.append(f"of the {precision} peak, {peak:.0f} GFLOP/s: {', '.join(shares)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
