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

from experiments.harness.speech import data_folder
from experiments.harness.study import StudyOptions, run_study
from experiments.harness.trainings import (
    ROOT,
    TINY_LSTM,
    Training,
    base_options,
    length_options,
    located,
    quick_options,
    recipe_path,
    run_trainings,
)
from experiments.harness.transcripts import Compared
from experiments.study_pages.units import NEAR, Results, Studied, Unit, findings_of
from finetune.training.log import read_log
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import UsageError, counted

if TYPE_CHECKING:
    from benchmark.results import Sample
    from experiments.harness.transcripts import Errors

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


def measure(config: Config) -> tuple[Results, str]:
    """Train, test and compare the units of each language. Raises UserError."""
    check_counts(("--seeds", config.seeds, 1))
    for name in config.languages:
        if name not in LANGUAGES:
            raise UsageError(f"--languages names {name}; expected {' or '.join(LANGUAGES)}: choose among them")
    recipe_path(config.recipe, "--recipe")
    languages = ["en"] if config.quick else config.languages
    studied = [_study(config, LANGUAGES[name], config.folder(__file__)) for name in languages]
    default = Config()
    parts = [f"{config.max_steps} steps instead of the recipe's own"] if config.max_steps else []
    parts += (
        [f"by {Path(config.recipe).stem} instead of {Path(default.recipe).stem}"]
        if config.recipe != default.recipe
        else []
    )
    parts += [f"{counted(config.seeds, 'seed')} instead of {default.seeds}"] if config.seeds < default.seeds else []
    for all_, own in ((default.languages, config.languages), (default.units, config.units)):
        left = [one for one in all_ if one not in own]
        parts += [f"without {', '.join(left)}"] if left else []
    return Results(studied), "; ".join(parts)


@dataclass(frozen=True)
class TrainingTexts:
    """The labels of the training utterances, their durations in seconds, and the words that they hold."""

    texts: Sequence[str]
    durations: Sequence[float]
    words: frozenset[str]


def _study(config: Config, language: Language, folder: Path) -> Studied:
    from experiments.harness.transcripts import describe_test, errors_of, open_test, system_spec, transcribe
    from finetune.metrics import holm
    from finetune.models.about import from_json
    from preprocessing.text import profile

    data = data_folder(config.data_dir)
    names = [CHARACTERS, "bpe-40"] if config.quick else config.units
    shared = _shared(config, language, data, folder)
    recipe = Path(located(config.recipe))
    trained: dict[str, dict[str, Path]] = {
        name: run_trainings([_training(recipe, language, name, 1, shared, data)], folder / "runs", here=config.quick,
                            cores=config.cores)
        for name in names
    }  # fmt: skip
    validation = {name: _validation_rates(runs) for name, runs in trained.items()}
    ranked = sorted(names, key=validation.__getitem__)
    best_two = ranked[:2]
    for name in best_two:
        further = [
            _training(recipe, language, name, seed, shared, data)
            for seed in range(2, 1 + (1 if config.quick else config.seeds))
        ]
        trained[name] |= run_trainings(further, folder / "runs", here=config.quick, cores=config.cores)
    test = str(ROOT / "demo" / "corpus" / "test.jsonl") if config.quick else str(data / language.folder / language.test)
    utterances = open_test(test, limit=6 if config.quick else None)
    resolved = _training(recipe, language, names[0], 1, shared, data).resolved(folder)
    samples = {
        name: [
            transcribe(system_spec(run, f"{resolved.model.family}={path}"), utterances, folder / "transcripts")
            for run, path in runs.items()
        ]
        for name, runs in trained.items()
    }
    any_run = next(iter(trained[names[0]].values()))
    normalise = profile(resolved.data.profile)
    training = _training_texts(resolved.data.train, normalise)
    errors = {name: errors_of(own, resolved.data.profile) for name, own in samples.items()}
    best = best_two[0]
    compared = {name: _compared(name, best, errors) for name in names if name != best}
    adjusted = dict(zip(compared, holm([one.p_value for one in compared.values()]), strict=True))
    units = [
        replace(
            _unit(name, trained[name], samples[name], resolved.data.profile, training),
            beside_best=compared.get(name),
            adjusted_p=adjusted.get(name),
        )
        for name in names
    ]
    unseen = sum(word not in training.words for one in utterances for word in normalise(one.text).split())
    second = best_two[-1] if len(best_two) > 1 else None
    return Studied(
        language.name, recipe.stem, resolved.model.family, language.folder if not config.quick else "demo",
        from_json((any_run / "about.json").read_text(encoding="utf-8")).training.hours, resolved.max_steps,
        _frame_seconds(any_run), describe_test(test, utterances), resolved.data.profile, unseen, units,
        None if second is None else _compared(best, second, errors),
    )  # fmt: skip


def _shared(config: Config, language: Language, data: Path, folder: Path) -> dict[str, Any]:
    """What every run of a language has over the recipe."""
    if config.quick:
        return quick_options() | {"model.scratch": TINY_LSTM}
    corpus = data / language.folder
    shared: dict[str, Any] = {
        "report_to": "none",
        "data.train": [str(corpus / "train.jsonl")],
        "data.validation": None if language.validation is None else str(corpus / language.validation),
        "data.profile": language.profile,
        "data.validation_share": 0.0 if language.validation else 0.04,
    }
    recipe = Path(located(config.recipe))
    return shared | base_options(recipe, folder) | length_options(recipe, config.max_steps, 10)


def _training(
    recipe: Path, language: Language, unit: str, seed: int, shared: Mapping[str, Any], data: Path
) -> Training:
    kind, _, size = unit.partition("-")
    options = {**shared, "model.units": kind, **({"model.units_size": int(size)} if size else {})}
    if kind == "syllables":
        options["model.units_language"] = language.hyphenation
        if language.dictionary is not None and (data / language.dictionary).is_file():
            options["model.units_dictionary"] = str(data / language.dictionary)
    return Training(f"{language.name}-{unit}-seed-{seed}", recipe, options, seed)


def _validations(runs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The evaluations of the first run."""
    return [line for line in read_log(next(iter(runs.values()))) if line["kind"] == "validation"]


def _validation_rates(runs: Mapping[str, Path]) -> tuple[float, float]:
    """WER and CER of the first run's saved model on validation; of a run of an earlier version, whose log does not name
    it, the lowest ones.
    """
    saved = [line for line in read_log(next(iter(runs.values()))) if line["kind"] == "best"]
    wers, cers = ([line[rate] for line in saved[-1:] or _validations(runs)] for rate in ("wer", "cer"))
    return min(wers), min(cers)


def _compared(first: str, second: str, errors: "Mapping[str, Errors]") -> Compared:
    from experiments.harness.transcripts import compare

    return compare((first, second), errors[first], errors[second])


def _frame_seconds(run: Path) -> float:
    from finetune.systems.ctc_model import load_ctc

    return load_ctc(str(run)).times.frame_seconds


def _training_texts(references: Sequence[str], normalise: Callable[[str], str]) -> TrainingTexts:
    from experiments.harness.transcripts import open_test

    utterances = [one for reference in references for one in open_test(located(reference))]
    texts = [normalise(one.text) for one in utterances]
    words = frozenset(word for text in texts for word in text.split())
    return TrainingTexts(texts, [one.duration for one in utterances], words)


def _unit(
    name: str, runs: Mapping[str, Path], samples: "Sequence[Sequence[Sample]]", profile: str, training: TrainingTexts
) -> Unit:
    """The figures of one unit by itself. samples: of each run, scored under the text profile of this name."""
    from experiments.harness.transcripts import errors_of, mean_rate, rtfx
    from finetune.models.about import from_json
    from preprocessing.frames import frames_needed
    from preprocessing.units import Vocabulary

    run = next(iter(runs.values()))
    vocabulary = Vocabulary.load(str(run))
    frame = _frame_seconds(run)
    encoded = [vocabulary.encode(text) for text in training.texts]
    frames = [int(seconds / frame) for seconds in training.durations]
    validations = _validations(runs)
    curve = [(int(line["step"]), float(line["cer"])) for line in validations]
    lowest = min(cer for _, cer in curve)
    errors = errors_of(samples, profile)
    unseen = mean_rate(unseen_errors(samples, profile, training.words))
    after = [step for step, cer in curve if cer > NEAR * lowest]
    converged = next(step for step, _ in curve if step > max(after, default=0))
    infeasible = sum(have < frames_needed(ids) for have, ids in zip(frames, encoded, strict=True))
    return Unit(
        name=name,
        size=vocabulary.size,
        runs=len(runs),
        wer=mean_rate(errors),
        run_wers=errors.rates(),
        cer=mean_rate(errors_of(samples, profile, "cer", spaces=True)),
        unseen=replace(unseen, high=min(unseen.high, 1.0)),  # a share
        validation_wer=_validation_rates(runs)[0],
        converged=converged,
        curve=curve,
        parameters=from_json((run / "about.json").read_text(encoding="utf-8")).parameters,
        rtfx=sum(map(rtfx, samples)) / len(samples),
        labels_per_frame=sum(map(len, encoded)) / max(sum(frames), 1),
        infeasible=infeasible / len(training.texts),
        beside_best=None,
        adjusted_p=None,
    )


def unseen_errors(samples: "Sequence[Sequence[Sample]]", profile: str, seen: Container[str]) -> "Errors":
    """Reference words that are not in `seen`, and how many of them each run did not write, by utterance."""
    from experiments.harness.transcripts import Errors
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
    run_study(Config, Results, measure, findings_of, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
