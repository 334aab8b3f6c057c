"""Which output units suit a CTC model: characters, syllables, BPE or words?

The same acoustic model, data, steps and seed for every kind of unit; only the output layer differs. The two kinds with
the lowest validation WER are trained with further seeds, so that the effect of the unit can be separated from
run-to-run variance. Measured are WER, CER, errors on words unseen in training, how fast the model learns, its size, the
speed of greedy decoding, labels a frame, and the share of training utterances that have fewer frames than CTC needs,
which are left out.

    python -m experiments.units --docs true --cores 1
    python -m experiments.units --recipe configs/finetune/german-whisper-ctc.yaml --languages "[de]" --max_steps 400
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.recipes import RecipeRuns, train_recipe
from experiments.harness.speech import data_folder
from experiments.harness.study import StudyOptions, differences_from_default, run_study
from experiments.harness.trainings import (
    ROOT,
    TINY_LSTM,
    Training,
    base_options,
    length_options,
    quick_options,
    recipe_path,
    resolve_reference,
)
from finetune.training.log import read_log
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from benchmark.results import Sample
    from experiments.harness.comparing import Errors
    from experiments.study_pages.units import Results, Studied, Unit

DURATION = "14 hours: ten trainings of an hour in English, ten of 20 minutes in German"
CHARACTERS = "characters"


@dataclass(frozen=True)
class Language:
    """A corpus of one language below the data folder. hyphenation, dictionary: of its syllables."""

    name: str
    folder: str
    test: str
    profile: str
    hyphenation: str
    dictionary: str | None
    validation: str | None


LANGUAGES = {
    one.name: one
    for one in (
        Language("en", "librispeech", "test-other.jsonl", "librispeech", "en_US", "text/cmudict.dict.gz", "dev.jsonl"),
        Language("de", "german", "test.jsonl", "basic:de", "de_DE", None, None),
    )
}


@dataclass(frozen=True)
class Config(StudyOptions):
    """Which units on which data."""

    renamed: ClassVar[Mapping[str, str]] = {"data": "data_dir"}
    replaced_by_quick: ClassVar[Sequence[str]] = ("languages", "units", "seeds", "max_steps", "data_dir")
    small_case: ClassVar[str] = "--max_steps 20 --units characters --seeds 1"

    languages: list[str] = field(default_factory=lambda: ["en", "de"])
    """Languages to train on: en (LibriSpeech, 4.9 h) and de (German, 1 h)."""

    units: list[str] = field(
        default_factory=lambda: [CHARACTERS, "syllables", "bpe-100", "bpe-500", "bpe-1000", "words"]
    )
    """Kinds of units; a number after a dash is the vocabulary size."""

    seeds: int = 3
    """Runs of the two kinds with the lowest validation WER; the others have one."""

    recipe: str = "configs/finetune/librispeech-mini-lstm.yaml"
    """Configuration of finetune/train.py of a CTC family; its data and units are replaced."""

    max_steps: int | None = None
    """Steps of every run. Default: those of the recipe."""

    data_dir: Path | None = None
    """Folder of real speech. Default: $ASR_DATA_DIR, else data."""

    @property
    def names(self) -> Sequence[str]:
        """The kinds of units that are trained."""
        return [CHARACTERS, "bpe-40"] if self.quick else self.units

    def test_of(self, language: Language) -> str:
        """The test corpus of a language."""
        demo, corpus = ROOT / "demo" / "corpus", data_folder(self.data_dir) / language.folder
        return str(demo / "test.jsonl" if self.quick else corpus / language.test)


def measure(config: Config) -> "tuple[Results, str]":
    """Train, test and compare the units of each language. Raises UserError."""
    from experiments.harness.transcripts import open_test
    from experiments.study_pages.units import Results

    check_counts(("--seeds", config.seeds, 1))
    for name in config.languages:
        if name not in LANGUAGES:
            raise UsageError(f"--languages names {name}; expected {' or '.join(LANGUAGES)}: choose among them")
    recipe_path(config.recipe, "--recipe")
    languages = [LANGUAGES[name] for name in (["en"] if config.quick else config.languages)]
    folder = config.folder(__file__)
    for language in languages:  # what cannot be used is refused before the first training
        open_test(config.test_of(language), limit=1)
        for name in config.names:
            _training(config, language, name, 1, folder).resolved(folder / "runs")
    studied = [_study(config, language, folder) for language in languages]
    return Results(studied), differences_from_default(config, "max_steps", "recipe", "seeds", "languages", "units")


@dataclass(frozen=True)
class TrainingTexts:
    """The labels of the training utterances, their durations in seconds, and the words that they hold."""

    texts: Sequence[str]
    durations: Sequence[float]
    words: frozenset[str]


def _study(config: Config, language: Language, folder: Path) -> "Studied":
    from experiments.harness.comparing import compare, errors_of
    from experiments.harness.transcripts import corpus_name, describe_test, open_test
    from experiments.study_pages.units import Studied
    from finetune.metrics import holm
    from preprocessing.text import profile

    names = config.names

    def trained_with(name: str, n_seeds: int) -> RecipeRuns:
        seeds = range(1, 1 + n_seeds)
        return train_recipe([_training(config, language, name, seed, folder) for seed in seeds], config, folder)

    trained = {name: trained_with(name, 1) for name in names}
    validation = {name: _validation_rates(runs.first) for name, runs in trained.items()}
    best_two = sorted(names, key=validation.__getitem__)[:2]
    trained |= {name: trained_with(name, 1 if config.quick else config.seeds) for name in best_two}
    test = config.test_of(language)
    utterances = open_test(test, limit=6 if config.quick else None)
    samples = {name: list(runs.transcribe(utterances).values()) for name, runs in trained.items()}
    any_of = trained[names[0]]
    normalise = profile(any_of.profile)
    training = _training_texts(any_of.config.data.train, normalise)
    errors = {name: errors_of(own, any_of.profile) for name, own in samples.items()}
    best, *second = best_two
    compared = {name: compare((name, best), errors[name], errors[best]) for name in names if name != best}
    adjusted = dict(zip(compared, holm([one.p_value for one in compared.values()]), strict=True))
    units = [
        replace(
            _unit(name, trained[name], samples[name], training),
            beside_best=compared.get(name),
            adjusted_p=adjusted.get(name),
        )
        for name in names
    ]
    unseen = sum(word not in training.words for one in utterances for word in normalise(one.text).split())
    return Studied(
        language=language.name,
        recipe=Path(config.recipe).stem,
        family=any_of.family,
        corpus=language.folder if not config.quick else "demo",
        hours=any_of.hours(),
        steps=any_of.config.max_steps,
        frame_seconds=_frame_seconds(any_of.first),
        test=describe_test(corpus_name(test), utterances),
        profile=any_of.profile,
        unseen_words=unseen,
        units=units,
        compared=compare((best, second[0]), errors[best], errors[second[0]]) if second else None,
    )


def _shared(config: Config, language: Language, folder: Path) -> dict[str, Any]:
    """What every run of a language has over the recipe."""
    if config.quick:
        return quick_options() | {"model.scratch": TINY_LSTM}
    corpus = data_folder(config.data_dir) / language.folder
    shared: dict[str, Any] = {
        "report_to": "none",
        "data.train": [str(corpus / "train.jsonl")],
        "data.validation": None if language.validation is None else str(corpus / language.validation),
        "data.profile": language.profile,
        "data.validation_share": 0.0 if language.validation else 0.04,
    }
    recipe = Path(resolve_reference(config.recipe))
    return shared | base_options(recipe, folder) | length_options(recipe, config.max_steps, 10)


def _training(config: Config, language: Language, unit: str, seed: int, folder: Path) -> Training:
    kind, _, size = unit.partition("-")
    data, shared = data_folder(config.data_dir), _shared(config, language, folder)
    options = {**shared, "model.units": kind, **({"model.units_size": int(size)} if size else {})}
    if kind == "syllables":
        options["model.units_language"] = language.hyphenation
        if language.dictionary is not None and (data / language.dictionary).is_file():
            options["model.units_dictionary"] = str(data / language.dictionary)
    return Training(f"{language.name}-{unit}-seed-{seed}", Path(resolve_reference(config.recipe)), options, seed)


def _validations(run: Path) -> list[dict[str, Any]]:
    """The evaluations of a run."""
    return [line for line in read_log(run) if line["kind"] == "validation"]


def _validation_rates(run: Path) -> tuple[float, float]:
    """WER and CER of the run's saved model on validation; of a run of an earlier version, whose log does not name it,
    the lowest ones.
    """
    saved = [line for line in read_log(run) if line["kind"] == "best"]
    wers, cers = ([line[rate] for line in saved[-1:] or _validations(run)] for rate in ("wer", "cer"))
    return min(wers), min(cers)


def _frame_seconds(run: Path) -> float:
    from finetune.systems.ctc_model import load_ctc

    return load_ctc(str(run)).times.frame_seconds


def _training_texts(references: Sequence[str], normalise: Callable[[str], str]) -> TrainingTexts:
    from experiments.harness.transcripts import open_test

    utterances = [one for reference in references for one in open_test(resolve_reference(reference))]
    texts = [normalise(one.text) for one in utterances]
    words = frozenset(word for text in texts for word in text.split())
    return TrainingTexts(texts, [one.duration for one in utterances], words)


def _unit(name: str, runs: RecipeRuns, samples: "Sequence[Sequence[Sample]]", training: TrainingTexts) -> "Unit":
    """The figures of one unit by itself. samples: of each run, scored under the text profile of the labels."""
    from experiments.harness.comparing import errors_of, mean_rate
    from experiments.harness.transcripts import rtfx
    from experiments.study_pages.units import Unit
    from finetune.models.about import from_json
    from preprocessing.frames import frames_needed
    from preprocessing.units import Vocabulary

    run, profile = runs.first, runs.profile
    vocabulary = Vocabulary.load(str(run))
    frame = _frame_seconds(run)
    encoded = [vocabulary.encode(text) for text in training.texts]
    frames = [int(seconds / frame) for seconds in training.durations]
    validations = _validations(run)
    curve = [(int(line["step"]), float(line["cer"])) for line in validations]
    errors = errors_of(samples, profile)
    unseen = mean_rate(unseen_errors(samples, profile, training.words))
    infeasible = sum(have < frames_needed(ids) for have, ids in zip(frames, encoded, strict=True))
    return Unit(
        name=name,
        size=vocabulary.size,
        runs=len(runs.paths),
        wer=mean_rate(errors),
        run_wers=errors.rates(),
        cer=mean_rate(errors_of(samples, profile, "cer", spaces=True)),
        unseen=replace(unseen, high=min(unseen.high, 1.0)),  # a share
        validation_wer=_validation_rates(run)[0],
        converged=converged_step(curve),
        curve=curve,
        parameters=from_json((run / "about.json").read_text(encoding="utf-8")).parameters,
        rtfx=sum(map(rtfx, samples)) / len(samples),
        labels_per_frame=sum(map(len, encoded)) / max(sum(frames), 1),
        infeasible=infeasible / len(training.texts),
        beside_best=None,
        adjusted_p=None,
    )


def converged_step(curve: Sequence[tuple[int, float]]) -> int | None:
    """The step from which the CER of a curve of (step, CER) stays within NEAR of its lowest; None where it is above
    that at the end.

    >>> converged_step([(10, 0.9), (20, 0.32), (30, 0.3), (40, 0.31)]), converged_step([(10, 0.3), (20, 0.4)])
    (20, None)
    """
    from experiments.study_pages.units import NEAR

    bound = NEAR * min(cer for _, cer in curve)
    last_above = max((step for step, cer in curve if cer > bound), default=-1)
    return next((step for step, _ in curve if step > last_above), None)


def unseen_errors(samples: "Sequence[Sequence[Sample]]", profile: str, seen: Container[str]) -> "Errors":
    """Reference words that are not in `seen`, and how many of them each run did not write, by utterance."""
    from experiments.harness.comparing import Errors
    from finetune.metrics.word_alignment import align
    from preprocessing.text import profile as profile_named

    normalise = profile_named(profile)
    runs: list[list[int]] = []
    lengths: list[int] = []
    for own in samples:
        missed = []
        lengths = []
        for one in own:
            pairs = align(normalise(one.reference), normalise(one.hypothesis)).pairs
            new = [(reference, hypothesis) for reference, hypothesis in pairs if reference and reference not in seen]
            missed.append(sum(reference != hypothesis for reference, hypothesis in new))
            lengths.append(len(new))
        runs.append(missed)
    return Errors(runs, lengths, [one.speaker for one in samples[0]])


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, measure, "experiments.study_pages.units", __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
