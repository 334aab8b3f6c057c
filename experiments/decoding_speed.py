"""`python -m experiments.decoding_speed [--json FILE]`: the beam search beside pyctcdecode: words and speed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmark.offline import DEMO, DEMO_CORPUS
from benchmark.plan import spread
from benchmark.systems import FAMILIES, load_system, parse_models
from benchmark.systems.base import WITH_LM, LanguageModelOptions, LoadOptions
from experiments.harness.figures import Figure, Missing, report, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Absent, Contender, turns_of
from finetune.decoding.beam import BeamSearch, BeamSettings
from finetune.language_model.build import LanguageModelConfig, make
from finetune.language_model.ngram import read_arpa
from finetune.metrics.error_rates import ErrorCounts, word_errors
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.options import parse_command, run_command
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.text import profile
from preprocessing.units import Vocabulary

DESCRIPTION = "CTC beam search with a language model beside pyctcdecode and KenLM. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(DecodingPeersConfig, program="python -m experiments.decoding_speed", description=DESCRIPTION)

    measure(config)


@dataclass(frozen=True)
class DecodingPeersConfig:
    """Whose frames are searched, and where the figures go."""

    model: str = f"wav2vec2={DEMO / 'wav2vec2'}"
    """A CTC model with letters for units, as benchmark/run.py takes it: wav2vec2=REF or lstm=FOLDER."""

    lm: Path | None = None
    """ARPA file of its words; default trigrams of the embedded training texts."""

    data: str = str(DEMO_CORPUS)
    """Corpus with the words that the model knows."""

    utterances: int = 100
    """How many, spread over the corpus."""

    beam: int = 64
    """Hypotheses that both keep."""

    rounds: int = 3
    """Rounds of each contender, taking turns, after one that warms up."""

    json: Path | None = None
    """File for the figures."""


OURS, PEER = "ours", "pyctcdecode"
TIMES_AS_FAST = 1.0
WORSE_AT_MOST = 0.5  # points of WER
WORD_BONUS = 1.5  # pyctcdecode's default
PROFILE = "librispeech"
TRAINING_TEXTS = DEMO / "corpus" / "train.jsonl"

Round = Callable[[], list[str]]


@dataclass(frozen=True)
class SearchJob:
    """A round: log-probabilities [frames, units] of each utterance, whose units, which words."""

    checkpoint: str
    arpa: Path
    log_probs: tuple[Tensor, ...]
    settings: BeamSettings


def ours(job: SearchJob) -> Round:
    search = BeamSearch(Vocabulary.load(job.checkpoint), read_arpa(job.arpa), job.settings)
    return lambda: [search.best(log_probs).text for log_probs in job.log_probs]


def pyctcdecode(job: SearchJob) -> Round:
    """Without the units that are never written, which it would take for letters."""
    try:
        import kenlm  # noqa: F401  (pyctcdecode imports without it, and then knows no language model)
        from pyctcdecode import build_ctcdecoder
    except ImportError as error:
        raise InputError("install it with `pip install --no-deps pyctcdecode pygtrie kenlm`") from error
    vocabulary, settings = Vocabulary.load(job.checkpoint), job.settings
    special = {vocabulary.blank: "", vocabulary.boundary: " "}
    written = [unit for unit in range(len(vocabulary.units)) if unit in special or unit not in vocabulary.silent]
    decoder = build_ctcdecoder(
        [special.get(unit, vocabulary.units[unit]) for unit in written],
        str(job.arpa),
        unigrams=list(read_arpa(job.arpa).words),
        alpha=settings.weight,
        beta=settings.bonus,
        unk_score_offset=settings.unknown,
    )
    arrays = [log_probs[:, written].numpy() for log_probs in job.log_probs]

    def one_round() -> list[str]:
        return [
            decoder.decode(
                array,
                beam_width=settings.width,
                beam_prune_logp=-settings.behind,
                token_min_logp=settings.unlikely,
            )
            for array in arrays
        ]

    return one_round


def measure(config: DecodingPeersConfig) -> None:
    """Search in turns, compare, report. Raises UserError, and FallsShortError where a figure does."""
    if min(config.rounds, config.beam, config.utterances) < 1:
        raise UsageError("--rounds, --beam and --utterances must be 1 or more: mend them")
    default = DecodingPeersConfig()
    if config.lm is None and (config.model, config.data) != (default.model, default.data):
        raise UsageError("--model or --data without --lm; expected a language model of its words: name an ARPA file")
    with tempfile.TemporaryDirectory() as folder:
        arpa = config.lm or Path(folder) / "trigrams.arpa"
        if config.lm is None:
            make(LanguageModelConfig(str(TRAINING_TEXTS), arpa, order=3, profile=PROFILE))
        job, references, seconds = _job(config, arpa)
        contenders: dict[str, Contender] = {OURS: ours, PEER: pyctcdecode}
        turns = turns_of(contenders, job, WARM_UP_ROUNDS + config.rounds, keep_results=True)
    mine, theirs = turns[OURS], turns[PEER]
    if isinstance(mine, Absent):
        raise InputError(f"our own side could not search: {mine.reason}")
    settings = (
        f"{len(references)} utterances, {seconds:.0f} s of audio, {config.model}; beam of {config.beam}; "
        f"{config.rounds} rounds after {WARM_UP_ROUNDS} of warm-up, a process each, one thread, wall-clock"
    )
    if isinstance(theirs, Absent):
        report("Beam search", [], [Missing(PEER, theirs.reason)], settings, config.json)
        return
    mine, theirs = mine[WARM_UP_ROUNDS:], theirs[WARM_UP_ROUNDS:]
    figures = [
        speed_up("searched", PEER, [turn.seconds for turn in mine], [turn.seconds for turn in theirs], TIMES_AS_FAST),
        fewer_errors(mine[-1].result, theirs[-1].result, references),
    ]
    same = sum(map(str.__eq__, mine[-1].result, theirs[-1].result))
    report("Beam search", figures, [], f"{settings}\nthe same text in {same} of them", config.json)


def fewer_errors(mine: list[str], theirs: list[str], references: list[str]) -> Figure:
    """Word error rates of both, and by how many points ours is the lower one."""
    normalise = profile(PROFILE)
    own, peers = (
        100.0 * sum(map(word_errors, references, map(normalise, texts)), ErrorCounts()).rate for texts in (mine, theirs)
    )
    fewer = peers - own
    return Figure("word errors", PEER, own, peers, "%", fewer, fewer, fewer, "points", -WORSE_AT_MOST)


def _job(config: DecodingPeersConfig, arpa: Path) -> tuple[SearchJob, list[str], float]:
    """What is searched, normalised references, and the audio's seconds."""
    spec = parse_models(config.model)[0]
    if spec.family + WITH_LM not in FAMILIES:
        raise UsageError(f"--model is {config.model}; expected wav2vec2=REF or lstm=FOLDER: name a CTC model")
    settings = BeamSettings(width=config.beam, bonus=WORD_BONUS)
    options = LoadOptions("cpu", None, language_model=LanguageModelOptions(arpa, settings))
    system = load_system(replace(spec, family=spec.family + WITH_LM), options)
    spoken = spread(open_corpus(config.data).utterances, config.utterances)
    waveforms = [load_waveform(utterance) for utterance in spoken]
    with torch.inference_mode():
        log_probs = [system.forward(system.features([waveform]))[0].clone() for waveform in waveforms]
    normalise = profile(PROFILE)
    job = SearchJob(spec.checkpoint, arpa, tuple(log_probs), settings)
    return job, [normalise(utterance.text) for utterance in spoken], sum(map(len, waveforms)) / SAMPLE_RATE


if __name__ == "__main__":
    run_command(main)
