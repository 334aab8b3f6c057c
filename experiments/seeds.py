"""How large is run-to-run variance, and what does it do to significance tests?

Each recipe is trained with several seeds, which change the initial weights of new layers, the order of the data, masks,
dropout and the validation split where a recipe holds one out. Every pair of its runs is then compared by the
benchmark's own test, which takes utterances (speakers where there are enough) as random and the two models as fixed:
each pair that it finds different is a false positive.

    python -m experiments.seeds --docs true
    python -m experiments.seeds --recipes "{configs/finetune/mine.yaml: mine/test.jsonl}" --seeds 5
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.harness.figures import Findings, Table
from experiments.harness.study import StudyOptions, run_study, with_interval
from experiments.harness.trainings import (
    CONFIGS,
    TINY_LSTM,
    Training,
    length_options,
    located,
    quick_options,
    recipe_path,
    run_trainings,
)
from experiments.harness.transcripts import CorpusUsed
from preprocessing.cli.options import check_counts, run_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.harness.transcripts import Errors
    from finetune.metrics import Rate

DURATION = "5 hours: five runs of 20 minutes on digits, five of 40 on one hour of German"
RECIPES = {
    "configs/finetune/digits.yaml": "${ASR_DATA_DIR}/digits/test.jsonl",
    "configs/finetune/german.yaml": "${ASR_DATA_DIR}/german/test.jsonl",
}
SEEDS = 5


@dataclass(frozen=True)
class Config(StudyOptions):
    """Which recipes, and how often."""

    replaced_by_quick: ClassVar[Sequence[str]] = ("recipes", "seeds", "max_steps")
    small_case: ClassVar[str] = "--max_steps 20 --seeds 3"

    recipes: dict[str, str] = field(default_factory=lambda: dict(RECIPES))
    """Configurations of finetune/train.py, each with its test corpus."""

    seeds: int = SEEDS
    """Runs of each recipe, with seeds from 1 on."""

    max_steps: int | None = None
    """Steps of every run, which the learning rate schedule is fitted to. Default: those of the recipe."""


@dataclass(frozen=True)
class Trained:
    """What all runs of a recipe share. base: "" from random weights. hours: of training speech."""

    recipe: str
    family: str
    base: str
    steps: int
    hours: float


@dataclass(frozen=True)
class Spread(Trained):
    """The runs of one recipe. Rates are fractions: of words, or of characters where the metric is CER.

    wers: of each run with its interval. deviation: between runs, with its 95 % interval (chi-squared). apart: what 95
    of 100 pairs of runs differ by at most. pairs, called_different: pairs of runs, and those that the paired test calls
    different (p < 0.05, uncorrected). paired_error: the median standard error of a pair's difference, which is all that
    resampling utterances knows of it.
    """

    test: CorpusUsed
    profile: str
    wers: "list[Rate]"
    deviation: "Rate"
    apart: float
    pairs: int
    called_different: int
    paired_error: float
    metric: str = "WER"

    @property
    def mean(self) -> float:
        """The mean error rate of the runs."""
        return sum(one.value for one in self.wers) / len(self.wers)


@dataclass(frozen=True)
class Results:
    """All recipes."""

    spreads: list[Spread]


def measure(config: Config) -> tuple[Results, str]:
    """Train and test every recipe with every seed. Raises UserError."""
    check_counts(("--seeds", config.seeds, 3))
    import yaml

    from experiments.harness.transcripts import (
        corpus_name,
        describe_test,
        errors_of,
        metric_of,
        open_test,
        system_spec,
        transcribe,
    )

    folder = config.folder(__file__)
    recipes = {CONFIGS / "digits-lstm.yaml": "demo/corpus/test.jsonl"} if config.quick else config.recipes
    seeds = range(1, 1 + (3 if config.quick else config.seeds))
    prepared = []
    for recipe, reference in recipes.items():
        path = recipe_path(recipe, "--recipes")
        options: dict[str, Any] = {"report_to": "none"} | length_options(path, config.max_steps, 4)
        if config.quick:
            options = quick_options() | {"model.scratch": TINY_LSTM, "max_steps": 2, "eval_steps": 2}
        trainings = [Training(f"{path.stem}-seed-{seed}", path, options, seed) for seed in seeds]
        trainings[0].resolved(folder / "runs")  # what cannot be used is refused before the first training
        utterances = open_test(located(reference), limit=6 if config.quick else None)
        prepared.append((path, trainings, reference, utterances))
    found = []
    for path, trainings, reference, utterances in prepared:
        runs = run_trainings(trainings, folder / "runs", here=config.quick, cores=config.cores)
        recorded = yaml.safe_load((next(iter(runs.values())) / "config.yaml").read_text(encoding="utf-8"))
        family, profile = recorded["model"]["family"], recorded["data"]["profile"]
        samples = [
            transcribe(system_spec(name, f"{family}={run}"), utterances, folder / "transcripts")
            for name, run in runs.items()
        ]
        trained = Trained(
            path.stem, family, Path(recorded["model"]["base"] or "").name, recorded["max_steps"],
            _hours_of_training(next(iter(runs.values()))),
        )  # fmt: skip
        test = describe_test(corpus_name(located(reference)), utterances)
        metric = metric_of(utterances, profile)
        found.append(spread_of(errors_of(samples, profile, metric), trained, test, profile, metric.upper()))
    shorter = f"every run has {config.max_steps} steps instead of its recipe's own" if config.max_steps else ""
    fewer = f"{config.seeds} seeds instead of {SEEDS}" if config.seeds < SEEDS else ""
    left_out = [Path(one).stem for one in RECIPES if one not in config.recipes]
    others = f"without {', '.join(left_out)}" if left_out and set(config.recipes) <= set(RECIPES) else ""
    return Results(found), "; ".join(filter(None, [shorter, fewer, others]))


def spread_of(errors: "Errors", trained: Trained, test: CorpusUsed, profile: str, metric: str = "WER") -> Spread:
    """The figures of the runs of a recipe. errors: of each run, counted by the metric, WER or CER, under the text
    profile of this name.
    """
    import numpy as np
    from scipy.stats import chi2

    from finetune.metrics import Rate, matched_pairs, rate, resample, run_margin, standard_error

    resampling = resample(errors.speakers, seed=0)
    rates, n = errors.rates(), errors.n_runs
    deviation = float(np.std(rates, ddof=1))
    low, high = (deviation * ((n - 1) / float(chi2.ppf(share, n - 1))) ** 0.5 for share in (0.975, 0.025))
    pairs = list(combinations(errors.runs, 2))
    return Spread(
        **vars(trained),
        test=test,
        profile=profile,
        wers=[rate(run, errors.lengths, resampling) for run in errors.runs],
        deviation=Rate(deviation, low, high),
        apart=run_margin(deviation, n),
        pairs=len(pairs),
        called_different=sum(matched_pairs(one, two, errors.lengths, resampling) < 0.05 for one, two in pairs),
        paired_error=float(
            np.median([standard_error(one, two, errors.lengths, resampling).value for one, two in pairs])
        ),
        metric=metric,
    )


def _hours_of_training(run: Path) -> float:
    """Hours of speech that a run was trained on."""
    from finetune.models.about import from_json

    return from_json((run / "about.json").read_text(encoding="utf-8")).training.hours


def findings_of(results: Results) -> Findings:
    """The table, the answers and the picture."""
    headings = (
        "recipe", f"{_metrics(results.spreads)} of the runs, %", "deviation, points", "95 % of seed pairs within",
        "significant pairs", "standard error from the test set",
    )  # fmt: skip
    rows = []
    answers = []
    for one in results.spreads:
        values = sorted(rate.value for rate in one.wers)
        rows.append(
            (
                one.recipe,
                f"{100 * values[0]:.1f} to {100 * values[-1]:.1f}, mean {100 * one.mean:.1f}",
                with_interval(one.deviation),
                f"{100 * one.apart:.1f} points ({100 * one.apart / max(one.mean, 1e-9):.0f} %)",
                f"{one.called_different} of {one.pairs}",
                f"{100 * one.paired_error:.1f} points",
            )
        )
        answers += _answers(one)
    settings = "\n".join(
        f"{one.recipe}: {one.family} from {one.base or 'random weights'}, {60 * one.hours:.0f} min of training speech, "
        f"{one.steps} steps, {len(one.wers)} seeds; tested on {one.test.described()}; profile {one.profile}"
        for one in results.spreads
    )
    return Findings(
        "Runs of one recipe", settings, tables=[Table(headings, rows)], answers=answers,
        draw=lambda axes: _draw(axes, results.spreads),
    )  # fmt: skip


def _metrics(spreads: Sequence[Spread]) -> str:
    """WER, CER, or both names where the recipes' differ."""
    return " or ".join(dict.fromkeys(one.metric for one in spreads))


def _answers(one: Spread) -> list[str]:
    values = [100 * rate.value for rate in one.wers]
    found = [
        f"{one.recipe}: over {len(values)} seeds the {one.metric} ranges from {min(values):.1f} to "
        f"{max(values):.1f} %, a standard deviation of {with_interval(one.deviation)} points. A difference below "
        f"{100 * one.apart:.1f} points between two systems trained like this is within run-to-run variance: compare "
        "several seeds of each."
    ]
    false = one.called_different / one.pairs
    expected = "within the nominal 5 %" if false <= 0.05 else f"{100 * false:.0f} % instead of the nominal 5 %"
    found.append(
        f"{one.recipe}: the paired test over {one.test.unit}s finds {one.called_different} of {one.pairs} pairs of "
        f"runs significantly different, {expected}, although all have the same recipe (pairs share runs, so this rate "
        f"is coarse). The standard error of a difference is {100 * one.paired_error:.1f} points from the test set and "
        f"{100 * 2**0.5 * one.deviation.value:.1f} points from the seeds."
    )
    if one.deviation.high > 2 * one.deviation.low:
        found.append(
            f"{one.recipe}: the interval of the deviation from {len(values)} runs spans a factor of "
            f"{one.deviation.high / max(one.deviation.low, 1e-9):.1f}; estimating it within 20 % takes about 50 runs."
        )
    return found


def _draw(axes: "Axes", spreads: Sequence[Spread]) -> None:
    """The error rate of each run with its interval, a group a recipe, and the mean as a line."""
    from preprocessing.plot_style import PALETTE

    place = 0.0
    ticks = []
    for number, one in enumerate(spreads):
        first = place
        for rate in sorted(one.wers, key=lambda rate: rate.value):
            values = [100 * end for end in (rate.low, rate.high)]
            axes.plot([place, place], values, color=PALETTE.of(number), linewidth=1.2, alpha=0.5)
            axes.plot(place, 100 * rate.value, "o", color=PALETTE.of(number))
            place += 1
        axes.plot([first - 0.4, place - 0.6], [100 * one.mean] * 2, color=PALETTE.ink, linewidth=0.8)
        ticks.append(((first + place - 1) / 2, f"{one.recipe}, {len(one.wers)} seeds"))
        place += 1
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set(ylabel=f"{_metrics(spreads)}, %", ylim=(0, None))


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, Results, measure, findings_of, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
