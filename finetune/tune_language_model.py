"""The command `python -m finetune.language_model tune`: alpha and beta chosen on validation speech.

Every point of a grid decodes all utterances; the one with the fewest word errors is taken, or in languages written
without spaces character errors (`finetune.metrics.error_rates.primary_metric`), and tested against greedy decoding
(`finetune.tuned_weights`). With `--rescore`, the weight of an LSTM that rescores the n-best lists at this point is
chosen and tested in the same way, against the point without it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.systems.search_options import check_rescore
from finetune.tuned_weights import Tuned, at_edges, choose, choose_weight, draw
from preprocessing.cli.options import check_counts
from preprocessing.errors import InputError, UsageError
from preprocessing.plot_style import check_picture_suffix

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.decoding.beam import BeamSettings
    from finetune.language_model.base import LanguageModel
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Utterance

TUNING = "language_model_tuning"  # .png and .json in the run's folder, of the language model that it carries
NOT_STORED = f"{TUNING}_not_stored"  # the same of the last one that was not put there
RESCORED_AT_ONCE = 32  # utterances, between which progress is shown
RESCORE_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
TUNING_FILES = tuple(f"{name}{suffix}" for name in (TUNING, NOT_STORED) for suffix in (".json", ".png"))


@dataclass(frozen=True)
class TuneConfig:
    """Options of `tune`."""

    renamed: ClassVar[Mapping[str, str]] = {"run": "model", "limit": "utterances", "output": "plot"}

    model: str
    """CTC model: a run's folder, another transformers folder, or a Hub id."""

    data: str
    """Validation corpus, used in neither training nor test."""

    lm: str | None = None
    """Language model: an ARPA file, or a folder or Hub id that contains one. Default: the one in MODEL."""

    alphas: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2])
    """Values of alpha to try, separated by spaces."""

    betas: list[float] = field(default_factory=lambda: [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
    """Values of beta to try, separated by spaces."""

    unk_score_offset: float | None = None
    """Log10 score added for each out-of-vocabulary word, as in pyctcdecode; it is multiplied by alpha, 0 or less; not
    tuned. Run the command again to compare values. Default: the value stored with the language model, or -10."""

    beam_width: int = 64
    """Beam width of the CTC beam search."""

    rescore: Path | None = None
    """Folder of an LSTM language model whose weight in rescoring is tuned, too, at the chosen alpha and beta."""

    rescore_weights: list[float] = field(default_factory=lambda: list(RESCORE_WEIGHTS))
    """Weights of that LSTM to try, separated by spaces."""

    utterances: int | None = None
    """Number of utterances, spread over the corpus. Default: all."""

    language: str | None = None
    """Language of an MMS model whose adapter is used, such as deu or de. Default: the model's own."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the model runs on; auto takes a GPU if there is one."""

    plot: Path | None = None
    """Picture of the error rate by alpha and beta. Default: in the run's folder, language_model_tuning.png if the
    language model is put there, too, else language_model_tuning_not_stored.png."""

    save: bool = True
    """If it lowers the errors of greedy decoding at an alpha above 0, put a word ARPA file and the tuned values into
    the run's folder, where benchmark/run.py and transformers find them. Another language model there is replaced only
    if the new one is shown to be better than none."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        check_counts(("--beam_width", self.beam_width, 1), ("--utterances", self.utterances, 2))
        weights = ("rescore_weights", self.rescore_weights)
        for flag, values in (("alphas", self.alphas), ("betas", self.betas), weights):
            if not values or sorted(set(values)) != sorted(values):
                raise UsageError(f"--{flag} is {values}; expected one value or more, each once: change it")
        for flag, values in (("alphas", self.alphas), weights):
            if min(values) < 0:
                raise UsageError(f"--{flag} has {min(values):g}; expected 0 or more: change it")
        if self.rescore is None and tuple(self.rescore_weights) != RESCORE_WEIGHTS:
            raise UsageError("--rescore_weights has no effect alone; expected --rescore with it: add it")
        check_rescore(self.rescore)
        if self.unk_score_offset is not None and not self.unk_score_offset <= 0:
            raise UsageError(f"--unk_score_offset is {self.unk_score_offset:g}; expected 0 or less: lower it")
        check_picture_suffix(self.plot, "--plot")


def tune(config: TuneConfig) -> Tuned:
    """Tries the grid, prints what was found, draws it and writes it. Raises UserError on input that cannot be used."""
    from rich.console import Console

    from finetune.decoding.beam import BeamSettings
    from finetune.decoding.language_model_folder import load_language_model, require_language_model, save_language_model
    from finetune.systems.ctc_model import load_ctc
    from preprocessing.cli.cores import keep_threads_to_quota
    from preprocessing.storage.atomic_write import write_text_atomically

    config.check()
    console = Console(highlight=False, soft_wrap=True)
    files = require_language_model(config.lm or config.model)
    keep_threads_to_quota()
    model = load_ctc(config.model, config.device, config.language)
    language_model = load_language_model(config.model, files, model.vocabulary)
    utterances = _validation_utterances(config)
    settings = files.settings(BeamSettings(beam_width=config.beam_width), ("unk_score_offset",))
    if config.unk_score_offset is not None:
        settings = replace(settings, unk_score_offset=config.unk_score_offset)
    found = _try_grid(config, model, language_model, settings, utterances, console)
    rescoring = found.rescoring.sentences(found) if found.rescoring is not None else []
    for sentence in (found.sentence(), *rescoring, *at_edges(found)):
        console.print(sentence)
    folder = Path(config.model) if Path(config.model).is_dir() else None
    name = NOT_STORED
    if config.save and folder is not None:
        reason = _why_not_stored(config, found, folder, files.path, language_model)
        if reason is None:
            chosen = replace(settings, alpha=found.alpha, beta=found.beta)
            console.print(f"written: {save_language_model(folder, files.path, model.vocabulary, chosen)}")
            name = TUNING
            (folder / f"{name}.png").unlink(missing_ok=True)  # --plot may name another place for the new one
        else:
            console.print(reason)
        record = asdict(found) | {"data": Path(config.data).name, "language_model": files.path.name}
        write_text_atomically(folder / f"{name}.json", json.dumps(record, indent=1))
        console.print(f"record: {folder / f'{name}.json'}")
    picture = config.plot or (folder / f"{name}.png" if folder else None)
    if picture is not None:
        draw(found, picture, f"{len(utterances)} utterances of {Path(config.data).name}, {files.path.name}")
        console.print(f"surface: {picture}")
    return found


def _why_not_stored(
    config: TuneConfig, found: Tuned, run: Path, ngrams: Path, language_model: "LanguageModel"
) -> str | None:
    """Why the language model and its tuned values are not put into the run's folder, and what to do instead; None where
    they are.
    """
    from finetune.decoding.language_model_folder import FOLDER, holds_another
    from finetune.language_model.ngram import NgramModel

    decode = f"decode with --lm {config.lm or config.model} --alpha {found.alpha:g} --beta {found.beta:g}"
    kept = "it is not put into the run's folder"
    if ngrams.resolve().parent == (run / FOLDER).resolve():
        kept = f"it stays in {run / FOLDER} with its former alpha and beta: decode without +lm, or remove that folder"
    if found.best >= found.greedy:
        return f"no fewer errors than without the language model: {kept}"
    if found.alpha == 0:
        return f"the fewest errors are at alpha 0, which gives the language model no weight: {kept}"
    if language_model.is_of_characters or not isinstance(language_model, NgramModel):
        return f"only a word ARPA file is put into the run's folder: {decode}"
    if not found.helps and holds_another(run, ngrams):
        return (
            f"{run / FOLDER} contains another language model, which is replaced only by one that is shown to be better "
            f"than none: tune on more speech, {decode}, or move that folder away and tune again"
        )
    return None


def _validation_utterances(config: TuneConfig) -> "Sequence[Utterance]":
    """The utterances of --data, at most --utterances of them. Raises InputError where there are fewer than two."""
    from preprocessing.batching import evenly_spaced
    from preprocessing.corpus import open_corpus

    utterances = open_corpus(config.data).require_complete().utterances
    if len(utterances) < 2:
        raise InputError(f"{config.data}: {len(utterances)} utterances; expected 2 or more: name a larger corpus")
    return utterances if config.utterances is None else evenly_spaced(utterances, config.utterances)


def _try_grid(
    config: TuneConfig, model: "CTCModel", language_model: "LanguageModel", settings: "BeamSettings",
    utterances: "Sequence[Utterance]", console: "Console",
) -> Tuned:  # fmt: skip
    """Decodes the utterances greedily and at every point of the grid."""
    from finetune.decoding.greedy import collapse
    from finetune.decoding.language_model_folder import check_spelling
    from finetune.decoding.rescoring import RescoringSearch, rescore
    from finetune.decoding.search import make_search
    from finetune.language_model.lstm import LstmModel
    from finetune.metrics.error_rates import primary_metric, utterance_errors
    from preprocessing.cli.progress import Steps
    from preprocessing.corpus import load_waveform
    from preprocessing.text.languages import common_language

    vocabulary, normalise = model.vocabulary, model.normaliser()
    references = [normalise(utterance.text) for utterance in utterances]
    language = common_language(config.language, [normalise.name], [utterance.language for utterance in utterances])
    metric = primary_metric(language, references)

    def errors_of(texts: Iterable[str]) -> list[int]:
        hypotheses = [normalise(text) for text in texts]
        return [one.errors for one in utterance_errors(references, hypotheses, metric)]

    lstm = None
    if config.rescore is not None:
        lstm = LstmModel.load(config.rescore)
        check_spelling(config.model, config.rescore, lstm, vocabulary)
    steps = Steps(console, 2 if lstm is None else 3)
    log_probs = []
    with steps.step("computing log-probabilities", len(utterances)) as advance:
        for utterance in utterances:
            try:
                log_probs.append(model.log_probs(load_waveform(utterance)))
            except InputError as error:
                raise InputError(f"{config.data}: {utterance.id}: {error}, or leave it out") from None
            advance(1)
    greedy = errors_of(vocabulary.decode(collapse(one.argmax(dim=1), vocabulary.blank)) for one in log_probs)
    search = make_search(vocabulary, language_model, settings)
    errors: dict[tuple[float, float], list[int]] = {}
    with steps.step("searching", len(config.alphas) * len(config.betas)) as advance:
        for alpha, beta in product(config.alphas, config.betas):
            point = search.with_settings(replace(settings, alpha=alpha, beta=beta))
            errors[alpha, beta] = errors_of(hypothesis.text for hypothesis in point.decode_batch(log_probs))
            advance(1)
    words = [reference.split() for reference in references]
    lengths = [len(own) if metric == "wer" else len("".join(own)) for own in words]
    speakers = [utterance.speaker for utterance in utterances]
    found = choose(errors, greedy, lengths, speakers, metric)
    if lstm is None:
        return found
    point = search.with_settings(replace(settings, alpha=found.alpha, beta=found.beta))
    rescoring, lists = RescoringSearch(point, lstm, 0.0), []
    with steps.step("rescoring", len(utterances)) as advance:
        for first in range(0, len(log_probs), RESCORED_AT_ONCE):
            lists += rescoring.n_best(log_probs[first : first + RESCORED_AT_ONCE])
            advance(len(lists) - first)
    of_weights = {w: errors_of(rescore(own, w)[0].text for own in lists) for w in config.rescore_weights}
    without = errors[found.alpha, found.beta]
    return replace(found, rescoring=choose_weight(str(config.rescore), of_weights, without, lengths, speakers))
