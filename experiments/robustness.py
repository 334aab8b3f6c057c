"""Does augmentation in training flatten the noise curve of a model, and what does it cost on clean speech?

One recipe is trained twice for each seed, with and without noise, rooms, telephone and speed, all else equal. Both are
tested clean, under noise of falling distance to the speech, in rooms and on the telephone, on the same corrupted
utterances. Noises and rooms of training are not those of the test: ESC-10's folds 1 to 3 against 4 and 5, two rooms
against the third. Differences are paired, their p-values corrected over all conditions (Holm).

    python -m experiments.robustness --docs true
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.figures import Findings, Table
from experiments.harness.speech import HELD_OUT, data_folder, require
from experiments.harness.study import StudyOptions, run_study, with_interval
from experiments.harness.trainings import (
    CONFIGS,
    Training,
    length_options,
    located,
    quick_options,
    recipe_path,
    run_trainings,
)
from experiments.harness.transcripts import Compared, CorpusUsed
from preprocessing.cli.options import check_counts, run_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.results import ConditionUsed, Sample
    from experiments.harness.transcripts import Errors
    from finetune.metrics import Rate
    from finetune.metrics.error_rates import Metric

DURATION = "45 minutes: two trainings of 20 minutes"
CONDITIONS = "clean,noise:20,noise:15,noise:10,noise:5,noise:0,reverb,telephone,speed:0.9,speed:1.1"
QUICK_CONDITIONS = "clean,noise:10"
PLAIN, AUGMENTED = "without", "with"


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


@dataclass(frozen=True)
class Level:
    """One condition. plain, augmented: error rates without and with augmentation. compared: with minus without;
    adjusted_p: corrected over all conditions.
    """

    condition: str
    description: str
    snr_db: float | None
    plain: "Rate"
    augmented: "Rate"
    compared: Compared
    adjusted_p: float


@dataclass(frozen=True)
class Results:
    """All conditions, clean first. metric: WER or CER."""

    recipe: str
    steps: int
    runs: int
    hours: float
    augmentation: list[dict[str, Any]]
    noises: int
    test: CorpusUsed
    profile: str
    levels: list[Level]
    metric: str = "WER"


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


def measure(config: Config) -> tuple[Results, str]:
    """Train both, transcribe every condition, compare. Raises UserError."""
    check_counts(("--seeds", config.seeds, 1))
    import yaml

    from benchmark.conditions import parse_conditions
    from experiments.harness.transcripts import (
        corpus_name,
        describe_test,
        metric_of,
        open_test,
        system_spec,
        transcribe,
    )
    from finetune.models.about import from_json

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
    runs = run_trainings(trainings, folder / "runs", here=config.quick, cores=config.cores)
    reference = "demo/corpus/test.jsonl" if config.quick else config.test
    utterances = open_test(located(reference), limit=10 if config.quick else None)
    noise, room = (None, None) if config.quick else _held_out(folder, config, rooms[-1])
    conditions = parse_conditions(
        QUICK_CONDITIONS if config.quick else config.conditions, seed=0, noise=noise, rooms=room
    )
    recorded = yaml.safe_load((runs[trainings[0].name] / "config.yaml").read_text(encoding="utf-8"))
    profile = recorded["data"]["profile"]
    samples = {
        name: transcribe(
            system_spec(name, f"{recorded['model']['family']}={run}"), utterances, folder / "transcripts",
            conditions=conditions,
        )
        for name, run in runs.items()
    }  # fmt: skip
    metric = metric_of(utterances, profile)
    levels = _levels([condition.used for condition in conditions], samples, profile, metric)
    about = from_json((runs[trainings[0].name] / "about.json").read_text(encoding="utf-8"))
    results = Results(
        recipe.stem, recorded["max_steps"], config.seeds, about.training.hours,
        [_without_files(entry) for entry in augmentation], len(noises),
        describe_test(corpus_name(located(reference)), utterances), profile, levels, metric.upper(),
    )  # fmt: skip
    partial = f"{config.max_steps} steps instead of the recipe's own" if config.max_steps is not None else ""
    return results, partial


def _levels(
    conditions: "Sequence[ConditionUsed]", samples: "Mapping[str, Sequence[Sample]]", profile: str, metric: "Metric"
) -> list[Level]:
    """The models without and with augmentation under each condition, p-values corrected over the conditions.

    samples: of each run, under all conditions, by the run's name.
    """
    from experiments.harness.transcripts import compare, errors_of, mean_rate
    from finetune.metrics import holm

    def errors_under(condition: str, kind: str) -> "Errors":
        runs = [own for name, own in samples.items() if name.startswith(f"{kind}-")]
        return errors_of([[one for one in own if one.condition == condition] for own in runs], profile, metric)

    plain = [errors_under(used.name, PLAIN) for used in conditions]
    augmented = [errors_under(used.name, AUGMENTED) for used in conditions]
    names = ("the model with augmentation", "the model without augmentation")
    compared = [compare(names, two, one) for one, two in zip(plain, augmented, strict=True)]
    return [
        Level(used.name, used.description, used.snr_db, mean_rate(one), mean_rate(two), difference, adjusted_p)
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
        (folder / name).mkdir(exist_ok=True)
        for path in paths:
            if not (folder / name / path.name).is_symlink():
                (folder / name / path.name).symlink_to(path)
    return folder / "test-noises", folder / "test-rooms"


def _without_files(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An augmentation with the number of its files in place of their names."""
    return {key: f"{len(value)} recordings" if key == "files" else value for key, value in entry.items()}


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    rows = [
        (
            one.condition,
            with_interval(one.plain),
            with_interval(one.augmented),
            with_interval(one.compared.difference),
            "< 0.001" if one.adjusted_p < 0.001 else f"{one.adjusted_p:.3f}",
        )
        for one in results.levels
    ]
    headings = (
        "condition",
        f"{results.metric} without, %",
        f"{results.metric} with, %",
        "change, points",
        "corrected p",
    )
    entries = "; ".join(
        ", ".join(f"{key} {value}" if key != "name" else str(value) for key, value in entry.items())
        for entry in results.augmentation
    )
    conditions = "; ".join(f"{one.condition}: {one.description}" for one in results.levels)
    settings = (
        f"{results.recipe}: {60 * results.hours:.0f} min of training speech, {results.steps} steps, "
        f"{results.runs} {'run' if results.runs == 1 else 'runs'} of each; tested on {results.test.described()}; "
        f"profile {results.profile}\nAugmentation: {entries}\n"
        f"Conditions: {conditions}"
    )
    return Findings(
        "Augmentation and noise", settings, tables=[Table(headings, rows)], answers=_answers(results),
        draw=lambda axes: _draw(axes, results),
    )  # fmt: skip


def _answers(results: Results) -> list[str]:
    from experiments.harness.transcripts import TRAINED_ONCE, sentence, settling

    answers = []
    once = f" {TRAINED_ONCE}" if results.levels[0].compared.run_error is None else ""
    better = [one for one in results.levels if one.compared.difference.high < 0 and one.adjusted_p < 0.05]
    worse = [one for one in results.levels if one.compared.difference.low > 0 and one.adjusted_p < 0.05]
    for verb, levels in (("lowers", better), ("raises", worse)):
        if levels:
            parts = [
                f"{one.condition} from {100 * one.plain.value:.1f} to {100 * one.augmented.value:.1f} %"
                for one in levels
            ]
            answers.append(
                f"Augmentation {verb} the {results.metric} significantly, after correction, under {len(levels)} of "
                f"{len(results.levels)} conditions: {', '.join(parts)}.{once}"
            )
    clean, *corrupted = results.levels

    def said(one: Level) -> str:
        different = one.adjusted_p < 0.05
        return sentence(
            one.compared, results.test, different=different, metric=results.metric, comparisons=len(results.levels)
        )

    answers.append(f"On clean speech: {said(clean)}")
    if open_ones := [one for one in corrupted if one not in better and one not in worse]:
        names = ", ".join(one.condition for one in open_ones)
        nearest = min(open_ones, key=lambda one: one.adjusted_p)
        power = settling(nearest.compared, results.test, len(results.levels), results.metric)
        answers.append(
            f"No significant difference after correction under {names}. {nearest.condition} has the lowest corrected "
            f"p of these. {power}"
        )
    if len(better) > len(worse) and clean not in worse:
        cost = 100 * clean.compared.difference.high
        names = ", ".join(one.condition for one in better)
        price = f"; on clean speech it may cost up to {cost:.1f} points" if cost > 0 else ""
        answers.append(f"Recommended for recordings like {names}: train with the augmentation below{price}.")
    elif not better:
        answers.append("Nothing here recommends this augmentation.")
    return answers


def _draw(axes: "Axes", results: Results) -> None:
    """Error rate by distance of the noise, clean at the right, with intervals; other conditions left of the curve."""
    from preprocessing.plot_style import PALETTE

    noisy = sorted((one for one in results.levels if one.snr_db is not None), key=lambda one: one.snr_db or 0.0)
    others = [one for one in results.levels if one.snr_db is None and one.condition != "clean"]
    clean = [one for one in results.levels if one.condition == "clean"]
    curve = [*noisy, *clean]
    for number, label in enumerate((PLAIN, AUGMENTED)):
        for levels, start, line in ((curve, 0, "-"), (others, len(curve) + 0.5, "")):
            rates = [one.plain if label == PLAIN else one.augmented for one in levels]
            values = [100 * one.value for one in rates]
            errors = [[100 * (one.value - one.low) for one in rates], [100 * (one.high - one.value) for one in rates]]
            places = [start + place + 0.12 * number for place in range(len(levels))]
            axes.errorbar(
                places, values, yerr=errors, color=PALETTE.of(number), marker="o", markersize=4,
                linestyle=line or "none",
                linewidth=1.4, elinewidth=0.9, label=f"{label} augmentation" if levels is curve else None,
            )  # fmt: skip
    places = [*range(len(curve)), *(len(curve) + 0.5 + place for place in range(len(others)))]
    labels = [f"{one.snr_db:g} dB" if one.snr_db is not None else one.condition for one in (*curve, *others)]
    axes.set_xticks(places, labels, rotation=20 if len(labels) > 7 else 0)
    axes.set(ylabel=f"{results.metric}, %", ylim=(0, None))
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, Results, measure, findings_of, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
