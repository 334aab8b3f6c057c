"""Is the beam search with a language model as accurate as pyctcdecode with KenLM, and as fast?

Both decode the same posteriors with the same n-grams, weights and pruning. Exit code 1 if a figure misses its target.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Comparison, Findings, measured_once, speed_up
from experiments.harness.rounds import WARM_UP_ROUNDS, Implementation, Unavailable, take_turns
from preprocessing.cli.options import check_counts, run_command
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.errors import InputError, UsageError, counted

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.decoding.beam import BeamSettings

DURATION = "1 minute"
OURS, PEER = "ours", "pyctcdecode"
MINIMUM_TIMES_AS_FAST = 5.0
MAXIMUM_POINTS_WORSE = 0.1  # of WER
WORD_BONUS = 1.5  # pyctcdecode's default
PROFILE = "librispeech"
QUICK_UTTERANCES = 20

Round: TypeAlias = Callable[[], list[str]]


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Whose frames are searched."""

    renamed: ClassVar[Mapping[str, str]] = {"beam": "beam_width"}

    model: str | None = None
    """CTC model with letters as units, as for benchmark/run.py: wav2vec2=REF, whisper-ctc=FOLDER or lstm=FOLDER.
    Default: the embedded demo's wav2vec2."""

    lm: Path | None = None
    """ARPA file of its words. Default: trigrams of the embedded demo's training texts."""

    data: str | None = None
    """Corpus with the words that the model knows. Default: the embedded demo's test corpus."""

    utterances: int = 100
    """Number of utterances, spread over the corpus; with --quick at most 20."""

    beam_width: int = 64
    """Beam width of the CTC beam search, the same for both decoders."""

    rounds: int = 3
    """Rounds of each decoder, taking turns, after one warm-up round; with --quick 1."""

    def check(self) -> None:
        """Raises UsageError where numbers are out of range or a model comes without its language model."""
        flags = ("utterances", "beam_width", "rounds")
        check_counts(*((f"--{flag}", getattr(self, flag), 1) for flag in flags))
        if self.lm is None and (self.model is not None or self.data is not None):
            raise UsageError(
                "--model or --data without --lm; expected a language model of its words: name an ARPA file"
            )


@dataclass(frozen=True)
class SearchJob:
    """A round: log-probabilities [frames, units] of each utterance, whose units they are, which words there are."""

    checkpoint: str
    arpa: Path
    log_probs: "tuple[Tensor, ...]"
    settings: "BeamSettings"


def run(config: Config) -> Findings:
    """Search in turns and compare. Raises UserError where model, language model or corpus cannot be used."""
    from finetune.language_model.build import LanguageModelConfig, build_language_model
    from preprocessing.storage.data_folder import DEMO, reference_of

    config.check()
    rounds = 1 if config.quick else config.rounds
    model = config.model or f"wav2vec2={reference_of(DEMO / 'wav2vec2')}"
    with tempfile.TemporaryDirectory() as folder:
        arpa = config.lm or Path(folder) / "trigrams.arpa"
        if config.lm is None:
            build_language_model(
                LanguageModelConfig(str(DEMO / "corpus" / "train.jsonl"), arpa, order=3, profile=PROFILE)
            )
        job, references, seconds = _prepare(config, model, arpa)
        implementations: dict[str, Implementation] = {OURS: ours, PEER: pyctcdecode}
        turns = take_turns("beam search", implementations, job, WARM_UP_ROUNDS + rounds, keep_results=True)
    mine, theirs = turns[OURS], turns[PEER]
    if isinstance(mine, Unavailable):
        raise InputError(f"this project's beam search failed: {mine.reason}")
    mine = mine[WARM_UP_ROUNDS:]
    our_seconds, our_texts = [turn.seconds for turn in mine], mine[-1].result
    settings = (
        f"{len(references)} utterances, {seconds:.0f} s of audio, {model}; beam of {config.beam_width}; "
        f"{counted(rounds, 'round')} after {WARM_UP_ROUNDS} of warm-up, a process each, one thread, wall-clock"
    )
    if isinstance(theirs, Unavailable):
        settings += f"\nours: {1000 * min(our_seconds):.0f} ms at best, {_wer(our_texts, references):.1f} % word errors"
        return Findings("Beam search", settings, missing={PEER: theirs.reason})
    theirs = theirs[WARM_UP_ROUNDS:]
    their_texts = theirs[-1].result
    comparisons = [
        speed_up("beam search", PEER, our_seconds, [turn.seconds for turn in theirs], MINIMUM_TIMES_AS_FAST),
        compare_word_errors(our_texts, their_texts, references),
    ]
    same = sum(map(str.__eq__, our_texts, their_texts))
    return Findings("Beam search", f"{settings}\nthe same text in {same} of {len(references)} utterances", comparisons)


def ours(job: SearchJob) -> Round:
    """`finetune.decoding.beam`."""
    from finetune.decoding.beam import BeamSearch
    from finetune.language_model.ngram import read_arpa
    from preprocessing.units import Vocabulary

    search = BeamSearch(Vocabulary.load(job.checkpoint), read_arpa(job.arpa), job.settings)
    return lambda: [search.decode(log_probs).text for log_probs in job.log_probs]


def pyctcdecode(job: SearchJob) -> Round:
    """pyctcdecode with KenLM, without the units that are never written: it would take them for letters."""
    try:
        import kenlm  # noqa: F401  (pyctcdecode imports without it, and then has no language model)
        from pyctcdecode import build_ctcdecoder
    except ImportError as error:
        raise InputError("install it with `pip install --no-deps pyctcdecode pygtrie kenlm`") from error
    from finetune.language_model.ngram import read_arpa
    from preprocessing.units import Vocabulary

    vocabulary, settings = Vocabulary.load(job.checkpoint), job.settings
    special = {vocabulary.blank: "", vocabulary.boundary: " "}
    written = [unit for unit in range(len(vocabulary.units)) if unit in special or unit not in vocabulary.silent]
    decoder = build_ctcdecoder(
        [special.get(unit, vocabulary.units[unit]) for unit in written],
        str(job.arpa),
        unigrams=list(read_arpa(job.arpa).words),
        alpha=settings.alpha,
        beta=settings.beta,
        unk_score_offset=settings.unk_score_offset,
    )
    arrays = [log_probs[:, written].numpy() for log_probs in job.log_probs]

    def one_round() -> list[str]:
        return [
            decoder.decode(
                array,
                beam_width=settings.beam_width,
                beam_prune_logp=settings.beam_prune_logp,
                token_min_logp=settings.token_min_logp,
            )
            for array in arrays
        ]

    return one_round


def compare_word_errors(ours: Sequence[str], theirs: Sequence[str], references: Sequence[str]) -> Comparison:
    """Word error rates of both in percent, and by how many points ours is the lower one; references normalised."""
    own, peers = _wer(ours, references), _wer(theirs, references)
    return measured_once(
        "word errors",
        PEER,
        ours=own,
        theirs=peers,
        unit="%",
        advantage=peers - own,
        advantage_unit="points",
        minimum=-MAXIMUM_POINTS_WORSE,
    )


def _wer(texts: Sequence[str], references: Sequence[str]) -> float:
    from finetune.metrics.error_rates import ErrorCounts, word_errors
    from preprocessing.text import profile

    return 100.0 * sum(map(word_errors, references, map(profile(PROFILE), texts)), ErrorCounts()).rate


def _prepare(config: Config, model: str, arpa: Path) -> tuple[SearchJob, list[str], float]:
    """What is searched, the normalised references, and the audio's seconds."""
    import torch

    from benchmark.offline import DEMO_CORPUS
    from finetune.decoding.beam import BeamSettings
    from finetune.systems.base import LanguageModelOptions, LoadOptions
    from finetune.systems.families import CTC_FAMILIES
    from finetune.systems.registry import load_system, parse_models
    from preprocessing.audio import SAMPLE_RATE
    from preprocessing.batching import evenly_spaced
    from preprocessing.corpus import load_waveform, open_corpus
    from preprocessing.text import profile

    hide_loading_bars()
    spec = parse_models(model)[0]
    if spec.family not in CTC_FAMILIES:
        raise UsageError(
            f"--model is {model!r}; expected wav2vec2=REF, whisper-ctc=FOLDER or lstm=FOLDER: name a CTC model"
        )
    settings = BeamSettings(beam_width=config.beam_width, beta=WORD_BONUS)
    options = LoadOptions("cpu", None, language_model=LanguageModelOptions(arpa, settings))
    system = load_system(replace(spec, decodes_with_lm=True), options)
    count = min(config.utterances, QUICK_UTTERANCES) if config.quick else config.utterances
    utterances = evenly_spaced(open_corpus(config.data or str(DEMO_CORPUS)).utterances, count)
    waveforms = [load_waveform(utterance) for utterance in utterances]
    with torch.inference_mode():
        log_probs = [system.forward(system.features([waveform]))[0].clone() for waveform in waveforms]
    normalise = profile(PROFILE)
    job = SearchJob(spec.checkpoint, arpa, tuple(log_probs), settings)
    return job, [normalise(utterance.text) for utterance in utterances], sum(map(len, waveforms)) / SAMPLE_RATE


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
