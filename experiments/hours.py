"""How many hours of my speech does fine-tuning need to beat off-the-shelf Whisper?

Each family is trained on nested subsets of a corpus, with its own recipe and the same number of steps for each size. A
power law, WER = a * hours^-b, is fitted by least squares of logarithms; off-the-shelf Whisper is a horizontal line. Of
a language that is written without spaces between words, such as Japanese, CER without spaces takes WER's place. The
intervals of the exponent and of the hours at which the curve crosses Whisper come from 2,000 bootstrap draws over the
speakers (or utterances) of the test set, the same for all models, and over run-to-run variance, as measured with
several seeds of one recipe; with few speakers they are too narrow. A model beats Whisper where paired tests say so,
from the largest size down to the first that is not significant (fixed sequence), corrected for all pairs of a curve and
a Whisper; no crossing is claimed beyond ten times the data at hand.

    python -m experiments.hours --docs true
    python -m experiments.hours --data mine/train.jsonl --validation mine/dev.jsonl --test mine/test.jsonl \\
        --recipes "[configs/finetune/mine.yaml]" --whisper_models "[small]" --language de
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.figures import Findings, Table
from experiments.harness.learning_curve import REACH, Crossing, Curve, Family, learning_curves
from experiments.harness.study import StudyOptions, run_study, with_interval
from experiments.harness.trainings import (
    CONFIGS,
    ROOT,
    TINY_LSTM,
    Training,
    base_options,
    length_options,
    located,
    quick_options,
    recipe_path,
    run_trainings,
    whisper_weights,
)
from experiments.harness.transcripts import CorpusUsed
from preprocessing.cli.data_folder import expand_data_folder
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.options import check_counts, run_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.harness.transcripts import Errors
    from finetune.metrics import Rate
    from preprocessing.corpus import Corpus, Utterance

DURATION = "12 hours: four families on six sizes each; one family 2 to 4"


@dataclass(frozen=True)
class Config(StudyOptions):
    """Whose speech, which families and sizes."""

    renamed: ClassVar[Mapping[str, str]] = {"whisper": "whisper_models"}
    replaced_by_quick: ClassVar[Sequence[str]] = (
        "data", "validation", "test", "recipes", "minutes", "whisper_models", "max_steps"
    )  # fmt: skip
    small_case: ClassVar[str] = "--max_steps 20 --minutes 1,2"

    data: str = "${ASR_DATA_DIR}/librispeech/train.jsonl"
    """Training corpus; yours makes this your own learning curve."""

    validation: str | None = None
    """Validation corpus. Default: librispeech/dev.jsonl for the default data, of other data a twentieth of each
    training part, which is held out."""

    test: str = "${ASR_DATA_DIR}/librispeech/test-other.jsonl"
    """Test corpus."""

    recipes: list[str] = field(
        default_factory=lambda: [
            "configs/finetune/librispeech-mini-lstm.yaml",
            "configs/finetune/librispeech-mini-wav2vec2.yaml",
            "configs/finetune/librispeech-mini-whisper-ctc.yaml",
            "configs/finetune/librispeech-mini-whisper.yaml",
        ]
    )
    """Configurations of finetune/train.py, one a family; their data is replaced."""

    minutes: list[float] = field(default_factory=lambda: [5.0, 15.0, 30.0, 60.0, 120.0, 300.0])
    """Sizes of the parts; those beyond the corpus become all of it."""

    whisper_models: list[str] = field(default_factory=lambda: ["tiny.en", "base"])
    """Whispers as they come: sizes or files. They are looked for in $ASR_REAL_MODELS first."""

    language: str = "en"
    """Language of the speech, for Whisper and for its text profile."""

    profile: str | None = None
    """Text normalisation profile for scoring. Default: basic:LANGUAGE, which spells numbers out on both sides."""

    seeds: int = 1
    """Runs of each size."""

    max_steps: int | None = None
    """Steps of every run. Default: those of the recipe."""

    def validation_of(self) -> str | None:
        """The validation corpus; None where a share of the training data is held out."""
        default = expand_data_folder(Config.data)
        is_default = expand_data_folder(self.data) == default
        return self.validation or (default.replace("train.jsonl", "dev.jsonl") if is_default else None)


@dataclass(frozen=True)
class Line:
    """An off-the-shelf Whisper. wer: the CER where that is the metric of the results."""

    name: str
    wer: "Rate"


@dataclass(frozen=True)
class Overlap:
    """Test speakers, recordings and sentences that are also in the training data. recordings: test utterances that are,
    at least in part. sentences: those of `LONG_WORDS` words or more, which are hardly said twice by chance.
    """

    speakers: int
    recordings: int
    sentences: int


@dataclass(frozen=True)
class Results:
    """All families and Whispers on one test corpus. metric: WER or CER. overlap: None in results of earlier versions,
    which did not look for it.
    """

    corpus: str
    hours: float
    test: CorpusUsed
    profile: str
    run_spread: float
    curves: list[Curve]
    whispers: list[Line]
    missing: dict[str, str]
    metric: str = "WER"
    overlap: Overlap | None = None


def measure(config: Config) -> tuple[Results, str]:
    """Cut the parts, train, transcribe, fit. Raises UserError."""
    check_counts(("--seeds", config.seeds, 1))
    from experiments.harness.transcripts import (
        corpus_name,
        describe_test,
        errors_of,
        mean_rate,
        metric_of,
        open_test,
        system_spec,
        transcribe,
    )
    from finetune.metrics.paired_tests import RUN_SPREAD
    from preprocessing.corpus import open_corpus
    from preprocessing.text import scoring_profile

    folder = config.folder(__file__)
    if config.quick:
        demo = ROOT / "demo" / "corpus"
        config = replace(
            config, data=str(demo / "train.jsonl"), validation=None, test=str(demo / "test.jsonl"), minutes=[2.0, 6.0],
            recipes=[str(CONFIGS / "librispeech-mini-lstm.yaml")],
            whisper_models=[str(ROOT / "demo" / "whisper" / "whisper.pt")],
        )  # fmt: skip
    recipes = [recipe_path(one, "--recipes") for one in config.recipes]
    corpus = open_corpus(located(config.data))
    parts = write_parts(corpus.utterances, config.minutes, folder / "parts")
    tested = open_test(located(config.test), limit=8 if config.quick else None)
    profile = config.profile or scoring_profile(config.language)
    metric = metric_of(tested, profile, config.language)
    prepared = [(one, _trainings(config, one, parts, folder)) for one in recipes]
    resolved_of = {one: trainings[0].resolved(folder / "runs") for one, trainings in prepared}
    missing: dict[str, str] = {}
    whispers: list[tuple[str, Errors]] = []
    for size in config.whisper_models:
        weights = whisper_weights(size)
        name = Path(size).stem if size.endswith(".pt") else Path(size).name
        spec = system_spec(f"Whisper {name}", f"whisper={weights}")
        try:
            samples = transcribe(spec, tested, folder / "transcripts", language=config.language)
        except InputError as error:
            missing[spec.name] = str(error).partition(";")[0]
        else:
            whispers.append((spec.name, errors_of([samples], profile, metric, trained=False)))
    families = []
    for recipe, trainings in prepared:
        try:
            runs = run_trainings(trainings, folder / "runs", here=config.quick, cores=config.cores)
        except InputError as error:  # weights that are not to be had
            missing[recipe.stem] = str(error).partition(";")[0]
            continue
        resolved = resolved_of[recipe]
        points = []
        for hours in parts:
            names = [_name(recipe, hours, seed) for seed in range(1, config.seeds + 1)]
            samples_of = [
                transcribe(system_spec(name, f"{resolved.model.family}={runs[name]}"), tested, folder / "transcripts",
                           language=config.language if resolved.model.family == "whisper" else None)
                for name in names
            ]  # fmt: skip
            points.append((hours, errors_of(samples_of, profile, metric)))
        families.append(Family(resolved.model.family, recipe.stem, resolved.max_steps, points))
    curves = learning_curves(families, whispers)
    results = Results(
        corpus_name(located(config.data)), corpus.seconds / 3600,
        describe_test(corpus_name(located(config.test)), tested), profile, RUN_SPREAD, curves,
        [Line(name, mean_rate(errors)) for name, errors in whispers], missing, metric.upper(),
        overlap_of(tested, corpus, profile),
    )  # fmt: skip
    steps = f"{config.max_steps} steps instead of the recipes' own" if config.max_steps else ""
    fewer = _fewer(config) if config.data == expand_data_folder(Config().data) else ""
    return results, "; ".join(filter(None, [steps, fewer]))


def _fewer(config: Config) -> str:
    """What of the default study is left out."""
    left = [Path(one).stem for one in Config().recipes if one not in config.recipes]
    sizes = [f"{one:g} min" for one in Config().minutes if one not in config.minutes]
    return f"without {', '.join([*left, *sizes])}" if left or sizes else ""


def overlap_of(tested: "Sequence[Utterance]", training: "Corpus", profile: str) -> Overlap:
    """What a test set shares with the training data, sentences compared under the text profile of this name."""
    from preprocessing.corpus import Corpus
    from preprocessing.corpus.statistics import find_leaks
    from preprocessing.text import profile as profile_named

    leaks = find_leaks(Corpus("test", tuple(tested), ()), training, profile_named(profile))
    return Overlap(len(leaks.speakers), len(leaks.files), leaks.utterances_with_long_shared_text)


def write_parts(corpus: "Sequence[Utterance]", minutes: Sequence[float], folder: Path) -> dict[float, Path]:
    """Manifests of growing parts of a corpus by their hours; each holds the smaller ones, drawn at random with seed 0.

    A size beyond the corpus is the whole. Raises UsageError where audio is not in files.
    """
    import random

    from preprocessing.corpus import manifest_fields

    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(corpus, key=lambda one: one.id)
    random.Random(0).shuffle(order)
    parts: dict[float, Path] = {}
    for size in sorted(minutes):
        chosen, seconds = [], 0.0
        for one in order:
            if seconds >= 60 * size:
                break
            chosen.append(one)
            seconds += one.duration
        hours = round(seconds / 3600, 4)
        path = folder / f"{hours:g}h.jsonl"
        if hours in parts:
            continue
        rows = []
        for one in chosen:
            if isinstance(one.audio, bytes):
                raise UsageError("--data holds audio that is in no file; expected a manifest or a folder: name one")
            row = manifest_fields(replace(one, audio=str(Path(os.fspath(one.audio)).resolve())))
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        path.write_text("".join(rows), encoding="utf-8")
        parts[hours] = path
    return parts


def _name(recipe: Path, hours: float, seed: int) -> str:
    return f"{recipe.stem}-{hours:g}h-seed-{seed}"


def _trainings(config: Config, recipe: Path, parts: dict[float, Path], folder: Path) -> list[Training]:
    """Every size and seed of one recipe."""
    validation = config.validation_of()
    options: dict[str, Any] = {"report_to": "none", "data.validation": validation and located(validation)}
    options["data.validation_share"] = 0.0 if validation else 0.05
    options |= length_options(recipe, config.max_steps, 10) | base_options(recipe, folder)
    if config.quick:
        options = quick_options() | {"model.scratch": TINY_LSTM, "max_steps": 2, "eval_steps": 2}
    return [
        Training(_name(recipe, hours, seed), recipe, options | {"data.train": [str(path)]}, seed)
        for hours, path in parts.items()
        for seed in range(1, config.seeds + 1)
    ]


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    sizes = list(dict.fromkeys(point.hours for curve in results.curves for point in curve.points))
    rows = []
    for curve in results.curves:
        by_hours = {point.hours: point for point in curve.points}
        cells = [with_interval(by_hours[one].wer) if one in by_hours else "" for one in sizes]
        law = (
            ""
            if curve.exponent is None
            else f"{curve.exponent.value:.2f} [{curve.exponent.low:.2f}, {curve.exponent.high:.2f}]"
        )
        rows.append((curve.recipe, *cells, law))
    rows += [(one.name, with_interval(one.wer), *[""] * len(sizes)) for one in results.whispers]
    headings = (f"{results.metric}, %", *(f"{_duration(one)}" for one in sizes), "exponent")
    recipes = "; ".join(f"{one.recipe}: {one.family}, {one.steps} steps a size" for one in results.curves)
    settings = (
        f"Training parts of {results.corpus} ({results.hours:.1f} h); {recipes}. Tested on "
        f"{results.test.described()}; profile {results.profile}; run-to-run variance: a standard deviation of "
        f"{results.run_spread:g} * sqrt({results.metric} * (1 - {results.metric})) in exponents and crossings"
        f"{_overlap_sentence(results)}"
    )
    return Findings(
        f"{results.metric} by amount of training speech", settings, tables=[Table(headings, rows)],
        answers=_answers(results), missing=results.missing, draw=lambda axes: _draw(axes, results),
    )  # fmt: skip


def _overlap_sentence(results: Results) -> str:
    from preprocessing.corpus.statistics import LONG_WORDS

    if results.overlap is None:
        return ""
    shared, of = results.overlap, results.test
    looked_for = [(shared.recordings, of.utterances, "test utterances")]
    if of.speakers:
        looked_for.insert(0, (shared.speakers, of.speakers, "test speakers"))
    if results.metric == "WER":  # of other languages a sentence is one word
        looked_for.append((shared.sentences, of.utterances, f"test sentences of {LONG_WORDS} words or more"))
    found = [f"{count} of {total} {what}" for count, total, what in looked_for if count]
    *most, last = found or [what for _, _, what in looked_for]
    joined = f"{', '.join(most)} {'and' if found else 'or'} {last}" if most else last
    return f". {'' if found else 'No '}{joined} are also in the training data"


def _duration(hours: float) -> str:
    """
    >>> _duration(0.0125), _duration(0.025), _duration(1 / 3), _duration(4.9)
    ('45 s', '1.5 min', '20 min', '4.9 h')
    """
    if hours >= 0.95:
        return f"{hours:.1f} h"
    minutes = 60 * hours
    return (
        f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.2g} min" if minutes > 0.95 else f"{60 * minutes:.0f} s"
    )


def _answers(results: Results) -> list[str]:
    found = []
    longest = max((point.hours for curve in results.curves for point in curve.points), default=0.0)
    for curve in results.curves:
        if curve.exponent is None or curve.at_one_hour is None:
            found.append(f"{curve.recipe}: too few sizes for a curve.")
        elif curve.exponent.low <= 0:
            found.append(
                f"{curve.recipe}: no significant gain from more speech within these sizes (exponent "
                f"{curve.exponent.value:.2f} [{curve.exponent.low:.2f}, {curve.exponent.high:.2f}])."
            )
        else:
            factors = [100 * (1 - 2**-one) for one in (curve.exponent.value, curve.exponent.low, curve.exponent.high)]
            found.append(
                f"{curve.recipe}: doubling the speech lowers the {results.metric} by {factors[0]:.0f} % "
                f"[{factors[1]:.0f}, {factors[2]:.0f}], relative; with {_duration(curve.points[-1].hours)} it is "
                f"{with_interval(curve.points[-1].wer)} %."
            )
        found += [_crossing_sentence(curve, one, longest, results.metric) for one in curve.crossings]
    return found + _reservations(results)


def _reservations(results: Results) -> list[str]:
    """What the comparisons with Whisper are corrected for, and whether they speak for recipes or for single runs."""
    crossings = [one for curve in results.curves for one in curve.crossings]
    if not crossings:
        return []
    found = []
    pairs = crossings[0].comparisons
    if pairs:
        found.append(
            "Compared with Whisper by paired tests from the largest size down to the first that is not significant"
            + (f", corrected for {pairs} pairs of a curve and a Whisper." if pairs > 1 else ".")
        )
    elif any(one.measured is not None for one in crossings):
        found.append("The comparisons with Whisper are not corrected for their number.")
    if any(point.runs == 1 for curve in results.curves for point in curve.points):
        found.append(
            "Not every size was trained with several seeds: its comparison with Whisper is of that one training, not "
            "of its recipe."
        )
    return found


def _crossing_sentence(curve: Curve, one: Crossing, longest: float, metric: str) -> str:
    smallest = curve.points[0].hours
    is_below = one.hours is not None and one.hours < smallest
    pair = f"{curve.recipe} against {one.whisper}"
    if one.measured is not None:
        found = f"{curve.recipe} has a significantly lower {metric} than {one.whisper} from {_duration(one.measured)}"
        if one.measured == smallest:
            return f"{found}, the smallest size, on."
        if is_below:
            return f"{found} on; the fitted curve is below it at every size."
        if one.hours is not None and one.hours <= longest:
            return f"{found} on; the fitted curve crosses it at {_between(one, smallest)}."
        return f"{found} on."
    if curve.exponent is None:
        return f"{pair}: with {_duration(curve.points[-1].hours)} the {metric} is not significantly lower."
    if one.hours is not None and one.hours <= longest:
        fitted = "is below it at every size" if is_below else f"crosses it at {_between(one, smallest)}"
        return (
            f"{pair}: the fitted curve {fitted}, but with {_duration(curve.points[-1].hours)} the {metric} is not "
            "significantly lower."
        )
    share = f"{100 * one.reached:.0f} % of draws"
    if one.hours is None:
        return (
            f"{pair}: not within reach of this data; the extrapolated curve does not cross it within {REACH:g} times "
            f"the {_duration(longest)} at hand (it does in {share})."
        )
    if one.reached < 0.5:
        return (
            f"{pair}: not reached here; the extrapolated curve crosses it at {_between(one, smallest)}, but within "
            f"{REACH:g} times the {_duration(longest)} at hand in only {share}."
        )
    return (
        f"{pair}: not reached here; the curve crosses it at {_between(one, smallest)}, an extrapolation that assumes "
        "the power law continues to hold."
    )


def _between(one: Crossing, smallest: float) -> str:
    """The hours with their interval, which is not extrapolated below the smallest size."""

    def said(hours: float | None) -> str:
        if hours is None:
            return "beyond reach"
        return f"below {_duration(smallest)}" if hours < smallest else _duration(hours)

    return f"{said(one.hours)} [{said(one.low)} to {said(one.high)}]"


def _draw(axes: "Axes", results: Results) -> None:
    """Error rate by hours, or minutes where all are less than one, on logarithmic axes; the fitted lines, dotted beyond
    what was measured; and Whisper as horizontal lines with their intervals.
    """
    import numpy as np

    from preprocessing.plot_style import PALETTE, TICK_SIZE

    points = [point for curve in results.curves for point in curve.points]
    every = [point.hours for point in points] or [1.0]
    unit, scale = ("hours", 1.0) if max(every) >= 0.95 else ("minutes", 60.0)
    for number, curve in enumerate(results.curves):
        apart = 1.03 ** (number - (len(results.curves) - 1) / 2)  # intervals of one size stand beside each other
        across = [scale * apart * point.hours for point in curve.points]
        values = [100 * point.wer.value for point in curve.points]
        ends = [
            [100 * (p.wer.value - p.wer.low) for p in curve.points],
            [100 * (p.wer.high - p.wer.value) for p in curve.points],
        ]
        axes.errorbar(across, values, yerr=ends, fmt="o", color=PALETTE.of(number), elinewidth=1, label=curve.recipe)
        if curve.exponent is not None and curve.at_one_hour is not None:
            for start, end, style in ((min(every), max(every), "-"), (max(every), REACH * max(every), ":")):
                hours = np.geomspace(start, end, 50)
                fitted = 100 * curve.at_one_hour.value * hours**-curve.exponent.value
                axes.plot(scale * hours, fitted, color=PALETTE.of(number), lw=1, ls=style)
    for number, one in enumerate(sorted(results.whispers, key=lambda one: one.wer.value)):
        axes.axhspan(100 * one.wer.low, 100 * one.wer.high, color=PALETTE.faint, alpha=0.12, lw=0)
        axes.axhline(100 * one.wer.value, color=PALETTE.faint, lw=1)
        side, factor = ("top", 0.97) if number == 0 else ("bottom", 1.03)
        axes.text(
            scale * REACH * max(every), 100 * one.wer.value * factor, one.name, fontsize=TICK_SIZE,
            color=PALETTE.faint, ha="right", va=side,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=f"{unit} of training speech", ylabel=f"{results.metric}, %")
    rates = [*(point.wer.value for point in points), *(one.wer.value for one in results.whispers)]
    if any(rates):
        axes.set_ylim(bottom=50 * min(filter(None, rates)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.legend(frameon=False, fontsize="small", loc="lower left")


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, Results, measure, findings_of, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
