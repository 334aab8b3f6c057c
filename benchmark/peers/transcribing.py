"""Transcribing beside transformers' pipeline, a plain call, and openai-whisper: seconds, and whether words differ.

Contenders take turns over the same waveforms, a process each (`benchmark.peers.rounds`). Speed is of wav2vec2-base's
shape with random weights; words are of a trained checkpoint, the embedded demo unless another is named.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import jiwer
import torch

from benchmark.offline import DEMO, DEMO_CORPUS
from benchmark.peers.figures import Figure, Missing, report, speed_up
from benchmark.peers.inference_config import InferencePeersConfig
from benchmark.peers.inference_contenders import (
    TranscribingJob,
    openai_whisper,
    our_whisper,
    ours,
    pipeline_as_it_comes,
    pipeline_batch_of_16,
    plain_call,
)
from benchmark.peers.material import manifest_paths
from benchmark.peers.peak import peak_gflops
from benchmark.peers.rounds import WARM_UP_ROUNDS, Absent, Contender, Turn, turns_of
from benchmark.peers.training_job import TINY
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.units import Vocabulary

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
