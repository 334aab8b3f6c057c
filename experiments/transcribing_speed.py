"""`python -m experiments.transcribing_speed [--whisper true] [--json FILE]`: transcribing beside what people use."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jiwer
import torch
from torch import Tensor

from benchmark.offline import DEMO, DEMO_CORPUS
from experiments.harness.figures import Figure, Missing, peak_gflops, report, speed_up
from experiments.harness.fine_tuning import TINY
from experiments.harness.rounds import WARM_UP_ROUNDS, Absent, Contender, Turn, turns_of
from experiments.harness.speech import manifest_paths
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.options import parse_command, run_command
from preprocessing.corpus import open_corpus
from preprocessing.units import Vocabulary

DESCRIPTION = (
    "Transcribing with wav2vec2-base beside transformers' pipeline and a plain call, or with Whisper beside "
    "openai-whisper. Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(
        InferencePeersConfig, program="python -m experiments.transcribing_speed", description=DESCRIPTION
    )

    measure(config)


@dataclass(frozen=True)
class InferencePeersConfig:
    """What to transcribe with, and where the figures go."""

    data: Path | None = None
    """Folder with librispeech/test-other.jsonl; default $ASR_DATA_DIR, else ../shared/data."""

    utterances: int = 16
    """How many, spread over the manifest."""

    model: str | None = None
    """CTC checkpoint to compare words with, on the same utterances; default the embedded demo, on its own test corpus.
    Speed is of random weights."""

    rounds: int = 3
    """Rounds of each contender, taking turns, after one that warms up."""

    threads: int = 1
    """Of torch, in each contender's process."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""

    whisper: bool = False
    """Whisper instead: openai-whisper called directly beside ours, of the embedded demo or a checkpoint in model."""

    quick: bool = False
    """A tiny model instead of wav2vec2-base, to try the command; nothing is demanded of its figures."""

    json: Path | None = None
    """File for the figures."""


AT_ONCE = 64  # utterances given to a system together; it orders them by itself

Round = Callable[[], list[str]]


@dataclass(frozen=True)
class TranscribingJob:
    """A round: which checkpoint, which files, where."""

    checkpoint: str
    paths: tuple[Path, ...]
    device: str  # "cpu" or "cuda"


def waveforms_of(job: TranscribingJob) -> list[Tensor]:
    from preprocessing import audio

    return [audio.load(path) for path in job.paths]


def pipeline_as_it_comes(job: TranscribingJob) -> Round:
    """One utterance at a time, in the checkpoint's precision."""
    return _pipeline(job)


def pipeline_batch_of_16(job: TranscribingJob) -> Round:
    """batch_size=16; on a GPU in bfloat16."""
    options: dict[str, Any] = {"dtype": torch.bfloat16} if job.device == "cuda" else {}
    return _pipeline(job, batch_size=16, **options)


def _pipeline(job: TranscribingJob, **options: Any) -> Round:
    from transformers import pipeline

    recognise: Any = pipeline("automatic-speech-recognition", model=job.checkpoint, device=job.device, **options)
    arrays = [waveform.numpy() for waveform in waveforms_of(job)]
    return lambda: [found["text"] for found in recognise([array.copy() for array in arrays])]


def plain_call(job: TranscribingJob) -> Round:
    """Wav2Vec2ForCTC and its processor called by hand, one utterance at a time."""
    from transformers import AutoModelForCTC, AutoProcessor

    processor = AutoProcessor.from_pretrained(job.checkpoint)
    model = AutoModelForCTC.from_pretrained(job.checkpoint).eval().to(job.device)
    arrays = [waveform.numpy() for waveform in waveforms_of(job)]

    @torch.inference_mode()
    def one_round() -> list[str]:
        texts = []
        for array in arrays:
            inputs = processor(array, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            texts += processor.batch_decode(model(inputs.to(job.device)).logits.argmax(dim=-1))
        return texts

    return one_round


def ours(job: TranscribingJob) -> Round:
    """The benchmark's system at its defaults."""
    return _system(job, "wav2vec2")


def our_whisper(job: TranscribingJob) -> Round:
    """The benchmark's Whisper at its defaults."""
    return _system(job, "whisper")


def _system(job: TranscribingJob, family: str) -> Round:
    from benchmark.systems import load_system
    from benchmark.systems.base import LoadOptions, SystemSpec

    system = load_system(SystemSpec(family, family, job.checkpoint), LoadOptions(job.device, "en"))
    waveforms = waveforms_of(job)

    def one_round() -> list[str]:
        texts = [""] * len(waveforms)
        for indices in _calls(waveforms, system.longest_in_batch_seconds, AT_ONCE if system.batched else 1):
            heard = system.text(system.forward(system.features([waveforms[index] for index in indices])))
            for index, text in zip(indices, heard, strict=True):
                texts[index] = text
        return texts

    return one_round


def _calls(waveforms: Sequence[Tensor], longest_seconds: float, at_once: int) -> list[list[int]]:
    """Indices of the waveforms that a system is given in each call."""
    short = [index for index, waveform in enumerate(waveforms) if len(waveform) <= longest_seconds * SAMPLE_RATE]
    alone = [[index] for index in range(len(waveforms)) if index not in short]
    return [short[first : first + at_once] for first in range(0, len(short), at_once)] + alone


def openai_whisper(job: TranscribingJob) -> Round:
    """log_mel_spectrogram, pad_or_trim and decode as its README has them; greedy, without timestamps, as ours."""
    import whisper

    path = Path(job.checkpoint)
    model = whisper.load_model(str(path / "whisper.pt" if path.is_dir() else path), device=job.device)
    waveforms = waveforms_of(job)
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


OURS, AS_IT_COMES, BATCHED, PLAIN = "ours", "pipeline as it comes", "pipeline(batch_size=16)", "plain model call"
WHISPER = "openai-whisper"
FLOORS: dict[str, dict[str, float]] = {"cpu": {AS_IT_COMES: 2.5}, "cuda": {BATCHED: 3.0}}
WHISPER_FLOOR = 1.0  # never slower
WORDS_APART = 0.1  # % of the pipeline's words
GFLOP_FOR_A_SECOND = 14.0  # of audio: wav2vec2-base forward


def measure(config: InferencePeersConfig) -> None:
    """Transcribe in turns, compare, report. Raises UsageError, and FallsShortError where a figure does."""
    if min(config.rounds, config.threads) < 1:
        raise UsageError("--rounds and --threads must be 1 or more: mend them")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device is cuda, but torch finds no GPU here; expected one: choose cpu or auto")
    device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
    paths = tuple(manifest_paths(config.data, config.utterances))
    audio_seconds = sum(len(audio.load(path)) for path in paths) / SAMPLE_RATE
    demo = str(DEMO / ("whisper" if config.whisper else "wav2vec2"))
    trained = TranscribingJob(config.model or demo, paths, device)
    known = trained if config.model else replace(trained, paths=_demo_paths())
    if config.whisper:
        both: dict[str, Contender] = {OURS: our_whisper, WHISPER: openai_whisper}
        timed = _contest(both, trained, config.rounds, config.threads)
        words = timed if config.model else _contest(both, known, 0, config.threads)
        floors, peer = {WHISPER: WHISPER_FLOOR}, WHISPER
    else:
        contenders: dict[str, Contender] = {
            OURS: ours,
            AS_IT_COMES: pipeline_as_it_comes,
            BATCHED: pipeline_batch_of_16,
            PLAIN: plain_call,
        }
        with tempfile.TemporaryDirectory() as folder:
            save_random(Path(folder), tiny=config.quick)
            timed = _contest(contenders, TranscribingJob(folder, paths, device), config.rounds, config.threads)
        pair: dict[str, Contender] = {OURS: ours, AS_IT_COMES: pipeline_as_it_comes}
        words = _contest(pair, known, 0, config.threads)
        floors, peer = FLOORS[device], AS_IT_COMES
    missing = [Missing(name, absent.reason) for name, absent in timed.items() if isinstance(absent, Absent)]
    seconds = {
        name: [turn.seconds for turn in turns[WARM_UP_ROUNDS:]]
        for name, turns in timed.items()
        if not isinstance(turns, Absent)
    }
    if OURS not in seconds:
        raise InputError(f"our own side could not transcribe: {missing[0].reason}")
    figures = figures_of(seconds, {} if config.quick else floors)
    mine, theirs = (_hypotheses(words[name]) for name in (OURS, peer))
    figures.append(words_apart(mine, theirs, peer))
    settings = [
        f"{len(paths)} utterances, {audio_seconds:.0f} s of audio; {config.rounds} rounds after {WARM_UP_ROUNDS} of "
        f"warm-up, a process each, {config.threads} threads, {device}, wall-clock; waveforms are given, not files",
        f"words: {_named(known)}; the same in {sum(map(str.__eq__, mine, theirs))} of {len(mine)} utterances",
    ]
    if not config.whisper and not config.quick:
        settings += _shares(seconds, audio_seconds, device, config.threads)
    report(
        "Transcribing", figures, missing, "\n".join(settings), config.json, device=device, details={"seconds": seconds}
    )


def _demo_paths() -> tuple[Path, ...]:
    """What the embedded models were made to hear: words that a model guesses at differ by any rounding."""
    return tuple(Path(str(utterance.audio)) for utterance in open_corpus(str(DEMO_CORPUS)).utterances)


def _named(job: TranscribingJob) -> str:
    own = Path(job.checkpoint).is_relative_to(DEMO)
    return "the embedded model on the embedded test corpus" if own else job.checkpoint


def _contest(
    contenders: Mapping[str, Contender], job: TranscribingJob, rounds: int, threads: int
) -> dict[str, list[Turn] | Absent]:
    return turns_of(
        contenders,
        job,
        WARM_UP_ROUNDS + rounds,
        threads=threads,
        keep_results=True,
        environments={OURS: {"THP_MEM_ALLOC_ENABLE": "1"}},  # as benchmark/run.py begins
    )


def _hypotheses(turns: list[Turn] | Absent) -> list[str]:
    if isinstance(turns, Absent):
        raise InputError(f"words cannot be compared: {turns.reason}")
    hypotheses: list[str] = turns[-1].result
    return hypotheses


def figures_of(seconds: Mapping[str, Sequence[float]], floors: Mapping[str, float]) -> list[Figure]:
    """How many times faster ours is than each peer; floors: what the ratio must reach beside some."""
    return [
        speed_up("transcribed", peer, seconds[OURS], theirs, floors.get(peer))
        for peer, theirs in seconds.items()
        if peer != OURS
    ]


def words_apart(mine: Sequence[str], theirs: Sequence[str], peer: str) -> Figure:
    """Words of ours that differ from the peer's, in % of the peer's words: an upper bound on what WER can differ by."""
    said = " ".join(theirs).split()
    if said:
        spoken = [(reference, hypothesis) for reference, hypothesis in zip(theirs, mine, strict=True) if reference]
        inserted = sum(len(own.split()) for own, other in zip(mine, theirs, strict=True) if not other)
        counted = jiwer.process_words([one for one, _ in spoken], [other for _, other in spoken])
        edits = counted.substitutions + counted.deletions + counted.insertions + inserted
    else:
        edits = len(" ".join(mine).split())
    apart = 100.0 * edits / max(len(said), 1)
    return Figure("words apart", peer, apart, 0.0, "%", apart, apart, apart, "%", None, WORDS_APART)


def _shares(seconds: Mapping[str, Sequence[float]], audio_seconds: float, device: str, threads: int) -> list[str]:
    """Of the machine's matrix products, measured now: how much of them each contender is."""
    told = []
    for precision in ("bf16", "fp32"):
        peak = peak_gflops(precision, device, threads)
        shares = [
            f"{name} {100.0 * GFLOP_FOR_A_SECOND * audio_seconds / min(times) / peak:.0f} %"
            for name, times in seconds.items()
        ]
        told.append(f"of the {precision} peak, {peak:.0f} GFLOP/s: {', '.join(shares)}")
    return told


def save_random(folder: Path, *, tiny: bool) -> None:
    """wav2vec2-base's shape with random weights and the demo's vocabulary, as a transformers folder."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    vocabulary = Vocabulary.load(str(DEMO / "wav2vec2"))
    sizes = {"vocab_size": len(vocabulary.units), "pad_token_id": vocabulary.blank}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**sizes | (TINY if tiny else {})))
    model.save_pretrained(folder)
    vocabulary.save(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)


if __name__ == "__main__":
    run_command(main)
