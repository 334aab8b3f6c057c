"""Model families behind one interface; `build` makes the one that a configuration names."""

import importlib
from collections.abc import Sequence

from finetune.config import ModelConfig
from finetune.models.base import Recogniser


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> Recogniser:
    """The recogniser of a configuration; `labels` are the normalised training texts, for a new vocabulary.

    Each family is a module of that name with a function `build` that takes the same.
    """
    family = importlib.import_module(f"finetune.models.{config.family}")
    recogniser: Recogniser = family.build(config, labels, seed)
    return recogniser
