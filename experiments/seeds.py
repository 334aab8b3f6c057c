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
from typing import TYPE_CHECKING, ClassVar

from experiments.harness.recipes import train_recipe
from experiments.harness.study import StudyOptions, differences_from_default, run_study
from experiments.harness.trainings import (
    CONFIGS,
    TINY_LSTM,
    Training,
    base_options,
    length_options,
    quick_options,
    recipe_paths,
    resolve_reference,
)
from preprocessing.cli.options import check_counts, run_command

if TYPE_CHECKING:
    from experiments.harness.comparing import Errors
    from experiments.harness.transcripts import CorpusUsed
    from experiments.study_pages.seeds import Results, Spread, Trained

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


def measure(config: Config) -> "tuple[Results, str]":
    """Train and test every recipe with every seed. Raises UserError."""
    check_counts(("--seeds", config.seeds, 3))
    from experiments.harness.comparing import errors_of
    from experiments.harness.transcripts import corpus_name, describe_test, metric_of, open_test
    from experiments.study_pages.seeds import Results, Trained

    folder = config.folder(__file__)
    recipes = {CONFIGS / "digits-lstm.yaml": "demo/corpus/test.jsonl"} if config.quick else config.recipes
    seeds = range(1, 1 + (3 if config.quick else config.seeds))
    prepared = []
    for path, reference in zip(recipe_paths(recipes, "--recipes"), recipes.values(), strict=True):
        options = {"report_to": "none"} | base_options(path, folder) | length_options(path, config.max_steps, 4)
        if config.quick:
            options = quick_options() | {"model.scratch": TINY_LSTM, "max_steps": 2, "eval_steps": 2}
        trainings = [Training(f"{path.stem}-seed-{seed}", path, options, seed) for seed in seeds]
        trainings[0].resolved(folder / "runs")  # what cannot be used is refused before the first training
        utterances = open_test(resolve_reference(reference), limit=6 if config.quick else None)
        prepared.append((path, trainings, reference, utterances))
    found = []
    for path, trainings, reference, utterances in prepared:
        runs = train_recipe(trainings, config, folder)
        base = Path(runs.config.model.base or "").name
        trained = Trained(path.stem, runs.family, base, runs.config.max_steps, runs.hours())
        test = describe_test(corpus_name(resolve_reference(reference)), utterances)
        metric = metric_of(utterances, runs.profile)
        errors = errors_of(list(runs.transcribe(utterances).values()), runs.profile, metric)
        found.append(spread_of(errors, trained, test, runs.profile, metric.upper()))
    of_default = ("recipes",) if set(config.recipes) <= set(RECIPES) else ()
    return Results(found), differences_from_default(config, "max_steps", "seeds", *of_default)


def spread_of(errors: "Errors", trained: "Trained", test: "CorpusUsed", profile: str, metric: str = "WER") -> "Spread":
    """The figures of the runs of a recipe. errors: of each run, counted by the metric, WER or CER, under the text
    profile of this name.
    """
    import numpy as np
    from scipy.stats import chi2

    from experiments.study_pages.seeds import Spread
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


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, measure, "experiments.study_pages.seeds", __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
