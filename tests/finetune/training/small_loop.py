"""A training loop over one utterance with a small model, and an evaluation for it to find."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import Examples
from finetune.training.evaluation import Evaluation, Evaluator, ValidationSample
from finetune.training.loop import TrainingLoop
from finetune.training.run_folder import RunWriter
from preprocessing.corpus import Utterance
from preprocessing.text import profile
from tests.finetune.runs import TINY


def loop_of(folder: Path, **settings: Any) -> TrainingLoop:
    """A loop over one utterance, with a small model."""
    config = TrainConfig(
        output_dir=folder,
        model=ModelConfig(scratch=TINY, dropout=0.0),
        data=DataConfig(train=["train.jsonl"], validation="dev.jsonl"),
        **settings,
    )
    recogniser = models.build(config.model, ["YES"], seed=0)
    examples = Examples([Utterance("u", "a.wav", "YES", 1.0)], [recogniser.encode("YES")], recogniser)
    evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
    return TrainingLoop(
        config, Accelerator(cpu=True), recogniser, examples, {MAIN: evaluator}, RunWriter(folder), "run"
    )


def evaluation(wer: float) -> Evaluation:
    return Evaluation(1.0, wer, 0.25, 1, 0, 0, None, (ValidationSample("u", "YES", f"{wer}", None),))
