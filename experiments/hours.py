"""How many hours of my speech does fine-tuning need to beat off-the-shelf Whisper?

Each family is trained on nested subsets of a corpus, with its own recipe and the same number of steps for each size. A
power law, WER = a * hours^-b, is fitted by least squares of logarithms, of (errors + 0.5) / (words + 1), which is never
0; off-the-shelf Whisper is a horizontal line. Of a language that is written without spaces between words, such as
Japanese, CER without spaces takes WER's place. The intervals of the exponent and of the hours at which the curve
crosses Whisper come from 2,000 bootstrap draws over the speakers (or utterances) of the test set, the same for all
models, and over run-to-run variance, as measured with several seeds of one recipe; with few speakers they are too
narrow. A model beats Whisper where paired tests say so, from the largest size down to the first that is not significant
(fixed sequence), corrected for all pairs of a curve and a Whisper; no crossing is claimed beyond ten times the data at
hand.

    python -m experiments.hours --docs true
    python -m experiments.hours --data mine/train.jsonl --validation mine/dev.jsonl --test mine/test.jsonl \\
        --recipes "[configs/finetune/mine.yaml]" --whisper_models "[small]" --language de
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.recipes import train_recipe
from experiments.harness.study import StudyOptions, differences_from_default, run_study
from experiments.harness.trainings import (
    CONFIGS,
    ROOT,
    TINY_LSTM,
    Training,
    base_options,
    length_options,
    quick_options,
    recipe_paths,
    resolve_reference,
    whisper_weights,
)
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.atomic_write import write_json_lines
from preprocessing.storage.data_folder import expand_data_folder

if TYPE_CHECKING:
    from experiments.harness.comparing import Errors
    from experiments.study_pages.hours import Overlap, Results
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


def measure(config: Config) -> "tuple[Results, str]":
    """Cut the parts, train, transcribe, fit. Raises UserError."""
    check_counts(("--seeds", config.seeds, 1))
    from experiments.harness.comparing import errors_of, mean_rate
    from experiments.harness.learning_curve import Family, learning_curves
    from experiments.harness.transcripts import (
        corpus_name,
        describe_test,
        metric_of,
        open_test,
        system_spec,
        transcribe,
    )
    from experiments.study_pages.hours import Line, Results
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
    recipes = recipe_paths(config.recipes, "--recipes")
    corpus = open_corpus(resolve_reference(config.data))
    parts = write_parts(corpus.utterances, config.minutes, folder / "parts")
    tested = open_test(resolve_reference(config.test), limit=8 if config.quick else None)
    profile = config.profile or scoring_profile(config.language)
    metric = metric_of(tested, profile, config.language)
    prepared = [(one, _trainings(config, one, parts, folder)) for one in recipes]
    for _, trainings in prepared:
        trainings[0].resolved(folder / "runs")  # what cannot be used is refused before the first training
    missing: dict[str, str] = {}

    def leave_out(name: str, error: InputError) -> None:
        """Say at once, and in the findings, what is not measured: the rest takes hours."""
        missing[name] = str(error).partition(";")[0].removeprefix(f"{name}: ")
        print(f"{name} is missing: {missing[name]}", file=sys.stderr, flush=True)

    whispers: list[tuple[str, Errors]] = []
    for size in config.whisper_models:
        weights = whisper_weights(size)
        name = Path(size).stem if size.endswith(".pt") else Path(size).name
        spec = system_spec(f"Whisper {name}", f"whisper={weights}")
        try:
            samples = transcribe(spec, tested, folder / "transcripts", language=config.language)
        except InputError as error:
            leave_out(spec.name, error)
        else:
            whispers.append((spec.name, errors_of([samples], profile, metric, trained=False)))
    families = []
    for recipe, trainings in prepared:
        try:
            runs = train_recipe(trainings, config, folder)
        except InputError as error:  # weights that are not to be had
            leave_out(recipe.stem, error)
            continue
        samples_of = runs.transcribe(tested, language=config.language)
        points = []
        for hours in parts:
            own = [samples_of[_name(recipe, hours, seed)] for seed in range(1, config.seeds + 1)]
            points.append((hours, errors_of(own, profile, metric)))
        families.append(Family(runs.family, recipe.stem, runs.config.max_steps, points))
    results = Results(
        corpus=corpus_name(resolve_reference(config.data)),
        hours=corpus.seconds / 3600,
        test=describe_test(corpus_name(resolve_reference(config.test)), tested),
        profile=profile,
        run_spread=RUN_SPREAD,
        curves=learning_curves(families, whispers),
        whispers=[Line(name, mean_rate(errors)) for name, errors in whispers],
        missing=missing,
        metric=metric.upper(),
        overlap=overlap_of(tested, corpus, profile),
    )
    of_default = ("recipes", "minutes") if config.data == expand_data_folder(Config().data) else ()
    return results, differences_from_default(config, "max_steps", *of_default, units={"minutes": "min"})


def overlap_of(tested: "Sequence[Utterance]", training: "Corpus", profile: str) -> "Overlap":
    """What a test set shares with the training data, sentences compared under the text profile of this name."""
    from experiments.study_pages.hours import Overlap
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
            rows.append(manifest_fields(replace(one, audio=str(Path(os.fspath(one.audio)).resolve()))))
        write_json_lines(path, rows)
        parts[hours] = path
    return parts


def _name(recipe: Path, hours: float, seed: int) -> str:
    return f"{recipe.stem}-{hours:g}h-seed-{seed}"


def _trainings(config: Config, recipe: Path, parts: dict[float, Path], folder: Path) -> list[Training]:
    """Every size and seed of one recipe."""
    validation = config.validation_of()
    options: dict[str, Any] = {"report_to": "none", "data.validation": validation and resolve_reference(validation)}
    options["data.validation_share"] = 0.0 if validation else 0.05
    options |= length_options(recipe, config.max_steps, 10) | base_options(recipe, folder)
    if config.quick:
        options = quick_options() | {"model.scratch": TINY_LSTM, "max_steps": 2, "eval_steps": 2}
    return [
        Training(_name(recipe, hours, seed), recipe, options | {"data.train": [str(path)]}, seed)
        for hours, path in parts.items()
        for seed in range(1, config.seeds + 1)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, measure, "experiments.study_pages.hours", __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
