"""Does augmentation in training flatten the noise curve of a model, and what does it cost on clean speech?

One recipe is trained twice for each seed, with and without noise, rooms, telephone and speed, all else equal. Both are
tested clean, under noise of falling distance to the speech, in rooms and on the telephone, on the same corrupted
utterances. Noises and rooms of training are not those of the test: ESC-10's folds 1 to 3 against 4 and 5, two rooms
against the third. Differences are paired, their p-values corrected over all conditions (Holm).

    python -m experiments.robustness --docs true
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.recipes import train_recipe
from experiments.harness.speech import HELD_OUT, data_folder, require
from experiments.harness.study import StudyOptions, differences_from_default, run_study
from experiments.harness.trainings import (
    CONFIGS,
    Training,
    length_options,
    quick_options,
    recipe_path,
    resolve_reference,
)
from preprocessing.cli.options import check_counts, run_command

if TYPE_CHECKING:
    from benchmark.results import ConditionUsed, Sample
    from experiments.harness.comparing import Errors
    from experiments.study_pages.robustness import Level, Results
    from finetune.metrics.error_rates import Metric

DURATION = "45 minutes: two trainings of 20 minutes"
CONDITIONS = "clean,noise:20,noise:15,noise:10,noise:5,noise:0,reverb,telephone,speed:0.9,speed:1.1"
QUICK_CONDITIONS = "clean,noise:10"


@dataclass(frozen=True)
class Config(StudyOptions):
    """What is trained, and what it is tested on."""

    renamed: ClassVar[Mapping[str, str]] = {"data": "data_dir"}
    replaced_by_quick: ClassVar[Sequence[str]] = ("recipe", "data_dir", "test", "conditions", "max_steps")
    small_case: ClassVar[str] = "--max_steps 20 --conditions clean,noise:10"

    recipe: Path = Path("configs/finetune/digits.yaml")
    """Configuration of finetune/train.py that is trained without and with augmentation."""

    data_dir: Path | None = None
    """Folder of real speech with noise/*.ogg and rir/*.wav. Default: $ASR_DATA_DIR, else data."""

    test: str = "${ASR_DATA_DIR}/digits/test.jsonl"
    """Test corpus of both."""

    conditions: str = CONDITIONS
    """Conditions of the test, as for benchmark/run.py."""

    seeds: int = 1
    """Runs of each recipe, with seeds from 1 on; from 2 on, the interval covers run-to-run variance too."""

    max_steps: int | None = None
    """Steps of both. Default: those of the recipe."""


def augmentation_of(noises: Sequence[Path], rooms: Sequence[Path]) -> list[dict[str, Any]]:
    """The augmentation that is tried, with noises and rooms of training; generated noise, and no rooms, without any."""
    noise: dict[str, Any] = {"name": "noise", "snr_db": [0, 25], "probability": 0.6}
    noise |= {"files": [str(path) for path in noises]} if noises else {"colour": "pink"}
    reverb = [{"name": "reverb", "files": [str(path) for path in rooms], "probability": 0.3}] if rooms else []
    return [
        {"name": "speed", "factors": [0.9, 1.0, 1.1]},
        *reverb,
        noise,
        {"name": "telephone", "probability": 0.2},
    ]


def measure(config: Config) -> "tuple[Results, str]":
    """Train both, transcribe every condition, compare. Raises UserError."""
    check_counts(("--seeds", config.seeds, 1))
    from benchmark.conditions import parse_conditions
    from experiments.harness.transcripts import corpus_name, describe_test, metric_of, open_test
    from experiments.study_pages.robustness import AUGMENTED, PLAIN, Results

    folder = config.folder(__file__)
    noises, rooms = ([], []) if config.quick else _recordings(config)
    augmentation = augmentation_of(noises, rooms[:-1])
    recipe = CONFIGS / "digits.yaml" if config.quick else recipe_path(config.recipe, "--recipe")
    shared: dict[str, Any] = {"report_to": "none"} | length_options(recipe, config.max_steps, 10)
    if config.quick:
        shared = quick_options() | {"max_steps": 1, "eval_steps": 1}
    trainings = [
        Training(f"{name}-seed-{seed}", recipe, shared | {"data.augment": own}, seed)
        for seed in range(1, config.seeds + 1)
        for name, own in ((PLAIN, []), (AUGMENTED, augmentation))
    ]
    reference = "demo/corpus/test.jsonl" if config.quick else config.test
    utterances = open_test(resolve_reference(reference), limit=10 if config.quick else None)
    noise, room = (None, None) if config.quick else _held_out(folder, config, rooms[-1])
    conditions = parse_conditions(
        QUICK_CONDITIONS if config.quick else config.conditions, seed=0, noise=noise, rooms=room
    )
    runs = train_recipe(trainings, config, folder)
    samples = runs.transcribe(utterances, conditions=conditions)
    metric = metric_of(utterances, runs.profile)
    results = Results(
        recipe=recipe.stem,
        steps=runs.config.max_steps,
        runs=config.seeds,
        hours=runs.hours(),
        augmentation=[_without_files(entry) for entry in augmentation],
        noises=len(noises),
        test=describe_test(corpus_name(resolve_reference(reference)), utterances),
        profile=runs.profile,
        levels=_levels([condition.used for condition in conditions], samples, runs.profile, metric),
        metric=metric.upper(),
    )
    return results, differences_from_default(config, "max_steps", "conditions")


def _levels(
    conditions: "Sequence[ConditionUsed]", samples: "Mapping[str, Sequence[Sample]]", profile: str, metric: "Metric"
) -> "list[Level]":
    """The models without and with augmentation under each condition, p-values corrected over the conditions.

    samples: of each run, under all conditions, by the run's name.
    """
    from experiments.harness.comparing import compare, errors_of, mean_rate
    from experiments.study_pages.robustness import AUGMENTED, PLAIN, Level
    from finetune.metrics import holm

    def errors_under(condition: str, kind: str) -> "Errors":
        runs = [own for name, own in samples.items() if name.startswith(f"{kind}-")]
        return errors_of([[one for one in own if one.condition == condition] for own in runs], profile, metric)

    plain = [errors_under(used.name, PLAIN) for used in conditions]
    augmented = [errors_under(used.name, AUGMENTED) for used in conditions]
    names = ("the model with augmentation", "the model without augmentation")
    compared = [compare(names, two, one) for one, two in zip(plain, augmented, strict=True)]
    return [
        Level(
            condition=used.name,
            description=used.description,
            snr_db=used.snr_db,
            plain=mean_rate(one),
            augmented=mean_rate(two),
            compared=difference,
            adjusted_p=adjusted_p,
        )
        for used, one, two, difference, adjusted_p in zip(
            conditions, plain, augmented, compared, holm([one.p_value for one in compared]), strict=True
        )
    ]


def _recordings(config: Config) -> tuple[list[Path], list[Path]]:
    """Noises for training, and all rooms, the last of which is the test's. Raises UsageError where one is missing."""
    folder = data_folder(config.data_dir)
    noises, rooms = (require(folder / name, "noise and rooms").resolve() for name in ("noise", "rir"))
    return [one for one in sorted(noises.glob("*.ogg")) if not HELD_OUT.search(one.name)], sorted(rooms.glob("*.wav"))


def _held_out(folder: Path, config: Config, room: Path) -> tuple[Path, Path]:
    """Folders of the noises and of the room of the test, as links."""
    noises = [one.resolve() for one in sorted((data_folder(config.data_dir) / "noise").glob("*.ogg"))]
    linked = {"test-noises": [one for one in noises if HELD_OUT.search(one.name)], "test-rooms": [room]}
    for name, paths in linked.items():
        shutil.rmtree(folder / name, ignore_errors=True)  # links into another data folder
        (folder / name).mkdir()
        for path in paths:
            (folder / name / path.name).symlink_to(path)
    return folder / "test-noises", folder / "test-rooms"


def _without_files(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An augmentation with the number of its files in place of their names."""
    return {key: f"{len(value)} recordings" if key == "files" else value for key, value in entry.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, measure, "experiments.study_pages.robustness", __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
