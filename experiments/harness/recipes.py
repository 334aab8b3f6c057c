"""Runs of a recipe, which differ in their seeds, data or options: trained, and what they write of a test corpus.

Imports that take seconds happen where they are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.study import StudyOptions
from experiments.harness.trainings import Training, run_trainings

if TYPE_CHECKING:
    from benchmark.conditions import Condition
    from benchmark.results import Sample
    from finetune.config import TrainConfig
    from preprocessing.corpus import Utterance


@dataclass(frozen=True)
class RecipeRuns:
    """Trained runs of one recipe.

    paths: the folder of each by its name. config: of the first; the others differ in their seed, or in what the study
    varies. folder: of the study.
    """

    paths: Mapping[str, Path]
    config: "TrainConfig"
    folder: Path

    @property
    def family(self) -> str:
        """The model family of all runs."""
        return self.config.model.family

    @property
    def profile(self) -> str:
        """The text profile of the labels."""
        return self.config.data.profile

    @property
    def first(self) -> Path:
        """The folder of the first run."""
        return next(iter(self.paths.values()))

    def hours(self) -> float:
        """Hours of speech that the first run was trained on."""
        from finetune.models.about import from_json

        return from_json((self.first / "about.json").read_text(encoding="utf-8")).training.hours

    def transcribe(
        self,
        utterances: "Sequence[Utterance]",
        *,
        conditions: "Sequence[Condition] | None" = None,
        language: str | None = None,
    ) -> "dict[str, list[Sample]]":
        """What each run writes of the utterances, by its name, kept in the study's folder (`transcripts.transcribe`).

        language: of the speech, which only a Whisper is told. Raises UserError where a run cannot be loaded.
        """
        from experiments.harness.transcripts import system_spec, transcribe

        return {
            name: transcribe(
                system_spec(name, f"{self.family}={path}"),
                utterances,
                self.folder / "transcripts",
                conditions=conditions,
                language=language if self.family == "whisper" else None,
            )
            for name, path in self.paths.items()
        }


def train_recipe(trainings: Sequence[Training], options: StudyOptions, folder: Path) -> RecipeRuns:
    """Train what has not ended yet of a recipe's trainings, one or more, in the study's folder (`run_trainings`).

    Raises UsageError where the recipe cannot be used, InputError where a training fails.
    """
    config = trainings[0].resolved(folder / "runs")
    paths = run_trainings(trainings, folder / "runs", here=options.quick, cores=options.cores)
    return RecipeRuns(paths, config, folder)
