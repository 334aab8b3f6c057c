"""Model families behind one interface (`base.TrainableRecogniser`, whose docstring says how to add one).

The families are the names that `ModelConfig.family` allows; each is the module of that name here, with _ for -.
"""

import importlib
from collections.abc import Sequence
from typing import Any, get_args

from finetune.config import ModelConfig
from finetune.models.base import Publication, TrainableRecogniser
from preprocessing.errors import InputError

FAMILIES: tuple[str, ...] = get_args(ModelConfig.__annotations__["family"])


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> TrainableRecogniser:
    """The recogniser that a configuration describes, on the CPU.

    labels: the normalised training texts, for families that make their units from them. seed: of random weights. Raises
    UserError where the checkpoint or the configuration cannot be used.
    """
    recogniser: TrainableRecogniser = _module(config.family).build(config, labels, seed)
    return recogniser


def publication(family: str) -> Publication:
    """What the Hub and the model card say of a family's models. Raises InputError where there is no such family."""
    if family not in FAMILIES:
        raise InputError(
            f"model family {family!r} is unknown; expected one of {', '.join(FAMILIES)}: train with one of them"
        )
    found: Publication = _module(family).PUBLICATION
    return found


def _module(family: str) -> Any:
    return importlib.import_module(f"finetune.models.{family.replace('-', '_')}")
