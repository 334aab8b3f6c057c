"""Which confidence measure detects the wrong words of a CTC model best, and is it calibrated?

Every measure of `finetune.alignment.confidence` on the greedy words of a corpus, or with --lm on those of a beam
search: AUROC of detecting wrong words, ECE and NCE of the raw confidence, and the same after calibration (Platt) on
another corpus. The best measure has the highest calibrated NCE. Words are those that a report of the benchmark judges:
in languages written without spaces, characters. Without options, the embedded demo on two halves of its test corpus.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.options import run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from finetune.decoding.search import Search
    from finetune.metrics.error_rates import ErrorCounts, Metric
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Utterance

DURATION = "1 minute with the embedded demo"
QUICK_UTTERANCES = 20


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Whose confidence is measured, and on what."""

    model: str | None = None
    """CTC model, such as runs/mine. Default: the embedded demo's wav2vec2."""

    data: str | None = None
    """Corpus to measure on. Default: the embedded demo's test corpus."""

    fit: str | None = None
    """Corpus to fit the calibrations on, disjoint from --data. Default: every second utterance of --data; the others
    are measured."""

    noise_snr_db: float | None = None
    """Add white noise at this SNR in dB. Default: none."""

    lm: Path | None = None
    """Language model, such as words.arpa, or a run that contains one, for a beam search at its tuned weights. Default:
    greedy decoding."""

    save: bool = False
    """Write the best measure and its calibration to confidence.json in the model's folder (with --lm,
    confidence-lm.json), where finetune.transcribe, finetune.align and the benchmark read it."""


@dataclass(frozen=True)
class Judged:
    """The words written of a corpus, or its characters where the metric is the CER: for each measure their confidences,
    and whether they are right. counts: over the words, or characters, of the references."""

    confidences: dict[str, list[float]]
    correct: list[bool]
    counts: "ErrorCounts"


@dataclass(frozen=True)
class Measured:
    """One measure on the corpus that it was not fitted on."""

    measure: str
    auroc: float
    ece: float
    nce: float
    calibrated_ece: float
    calibrated_nce: float


def run(config: Config) -> Findings:
    """Judge the words of both corpora and compare the measures. Raises UserError on unusable input."""
    from benchmark.offline import DEMO_CORPUS
    from finetune.alignment.confidence import MEASURES, fit_calibration
    from finetune.metrics.calibration import error_auroc, expected_calibration_error, normalised_cross_entropy
    from finetune.metrics.error_rates import primary_metric
    from finetune.systems.ctc_model import load_ctc
    from preprocessing.corpus import open_corpus
    from preprocessing.storage.data_folder import DEMO, reference_of
    from preprocessing.text.languages import common_language

    if config.save and config.model is None:
        raise UsageError("--save true without --model; expected the model whose confidence it is: name a run's folder")
    model = load_ctc(config.model or reference_of(DEMO / "wav2vec2"))
    if config.save and not Path(model.reference).is_dir():
        raise UsageError(
            f"--save true: {model.reference} is not a folder; expected one to write to: name a run with --model"
        )
    search = None if config.lm is None else _search(model, config.lm)
    data = config.data or str(DEMO_CORPUS)
    utterances = list(open_corpus(data).utterances)
    if config.quick:
        utterances = utterances[: 2 * QUICK_UTTERANCES]
    fitted = list(open_corpus(config.fit).utterances) if config.fit else utterances[::2]
    measured_on = utterances if config.fit else utterances[1::2]
    language = common_language(None, [model.profile], [one.language for one in measured_on])
    metric = primary_metric(language, [one.text for one in measured_on])
    kind = "words" if metric == "wer" else "characters"
    with progress(f"judging {kind}", len(fitted) + len(measured_on), "utterances") as advance:
        train = judge(model, search, fitted, config.noise_snr_db, advance, metric)
        test = judge(model, search, measured_on, config.noise_snr_db, advance, metric)
    found = []
    for measure in MEASURES:
        raw = test.confidences[measure]
        calibration = fit_calibration(measure, train.confidences[measure], train.correct)
        calibrated = calibration(raw).tolist()
        found.append(
            Measured(
                measure,
                error_auroc(raw, test.correct),
                expected_calibration_error(raw, test.correct),
                normalised_cross_entropy(raw, test.correct),
                expected_calibration_error(calibrated, test.correct),
                normalised_cross_entropy(calibrated, test.correct),
            )
        )
    best = max(found, key=lambda one: one.calibrated_nce)
    calibration = fit_calibration(best.measure, train.confidences[best.measure], train.correct)
    if config.save:
        calibration.save(Path(model.reference), of_search=search is not None)
    headings = ("measure", "AUROC", "ECE", "NCE", "ECE, calibrated", "NCE, calibrated")
    rows = [
        (
            one.measure + (" *" if one is best else ""),
            f"{one.auroc:.3f}",
            f"{100 * one.ece:.1f} %",
            f"{one.nce:.3f}",
            f"{100 * one.calibrated_ece:.1f} %",
            f"{one.calibrated_nce:.3f}",
        )
        for one in found
    ]
    raw = test.confidences[best.measure]
    decoded_with = "" if config.lm is None else f" with {config.lm}"
    settings = (
        f"{model.reference}{decoded_with}, {len(test.correct)} {kind} of {data}, {sum(test.correct)} right "
        f"({metric.upper()} {100 * test.counts.rate:.1f} %); calibrated on {len(train.correct)} {kind} "
        f"of {config.fit or 'its other half'}\n* the highest calibrated NCE: sigmoid({calibration.scale:.2f} log-odds "
        f"{calibration.offset:+.2f})"
    )
    return Findings(
        f"Confidence of {kind}",
        settings,
        tables=[Table(headings, rows)],
        details={"measures": [asdict(one) for one in found], "best": asdict(calibration)},
        draw=lambda axes: _draw(axes, kind, best.measure, raw, calibration(raw).tolist(), test.correct),
    )


def _search(model: "CTCModel", reference: Path) -> "Search":
    """A beam search with a language model at its tuned weights. Raises InputError where there is none."""
    from finetune.decoding.beam import BeamSettings
    from finetune.decoding.language_model_folder import load_language_model, require_language_model
    from finetune.decoding.search import make_search

    files = require_language_model(reference)
    loaded = load_language_model(model.reference, files, model.vocabulary)
    return make_search(model.vocabulary, loaded, files.settings(BeamSettings()))


def judge(
    model: "CTCModel",
    search: "Search | None",
    utterances: "Sequence[Utterance]",
    snr_db: float | None,
    advance: Callable[[int], None],
    metric: "Metric" = "wer",
) -> Judged:
    """Decode, greedily or by a search, and say of each word whether it is right, and how confident each measure is of
    it. metric: with the CER, of each character.
    """
    import torch

    from benchmark.scoring.scripts import tokens
    from benchmark.scoring.words import tokens_of
    from finetune.alignment.confidence import MEASURES, word_confidences
    from finetune.alignment.forced import align_greedy, align_labels
    from finetune.metrics.error_rates import ErrorCounts
    from finetune.metrics.word_alignment import align
    from finetune.systems.transcript import Word
    from preprocessing.corpus import load_waveform
    from preprocessing.text import profile

    split = cache(tokens(profile(model.profile), metric))
    confidences: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    correct: list[bool] = []
    counts = ErrorCounts()
    generator = torch.Generator().manual_seed(0)
    for utterance in utterances:
        waveform = load_waveform(utterance)
        if snr_db is not None:
            noise = torch.randn(len(waveform), generator=generator) * waveform.square().mean().sqrt()
            waveform = (waveform + noise * 10 ** (-snr_db / 20)).clamp(-1, 1)
        log_probs = model.log_probs(waveform)
        if search is None:
            words = align_greedy(log_probs, model.vocabulary, model.times, splits_unspaced=True).words
        else:
            labels = list(search.decode(log_probs).labels)
            words = (
                align_labels(log_probs, labels, model.vocabulary, model.times, splits_unspaced=True).words
                if labels
                else ()
            )
        written: list[str] = []
        for measure in MEASURES:
            spelled = [
                Word(f"{' ' * word.follows_space}{word.text}", word.start, word.end, confidence)
                for word, confidence in zip(words, word_confidences(log_probs, words, measure), strict=True)
            ]
            judged = [
                (one.text, one.probability)
                for one in tokens_of(spelled, split)
                if one is not None and one.probability is not None
            ]
            written = [text for text, _ in judged]
            confidences[measure] += [confidence for _, confidence in judged]
        aligned = align(split(utterance.text), " ".join(written))
        for piece in aligned.pieces:
            correct += [piece.kind == "equal"] * len(piece.hypothesis)
        counts += aligned.counts
        advance(1)
    return Judged(confidences, correct, counts)


def _draw(
    axes: "Axes", kind: str, measure: str, raw: Sequence[float], calibrated: Sequence[float], correct: Sequence[bool]
) -> None:
    """Reliability: the share of right words by confidence, raw and calibrated; a dot's area by the number of words.

    kind: what is judged, words or characters.
    """
    from finetune.metrics.calibration import reliability
    from preprocessing.plot_style import PALETTE

    axes.plot([0, 1], [0, 1], color=PALETTE.grid, linewidth=1.0)
    for values, colour, label in ((raw, PALETTE.faint, measure), (calibrated, PALETTE.main, "calibrated")):
        bins = reliability(values, correct)
        places, heights = [one.confidence for one in bins], [one.accuracy for one in bins]
        axes.plot(places, heights, color=colour, linewidth=1.2, label=label)
        areas = [8 + 300 * one.count / len(correct) for one in bins]
        axes.scatter(places, heights, s=areas, color=colour)
    axes.set(xlabel="confidence", ylabel=f"share of right {kind}", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
