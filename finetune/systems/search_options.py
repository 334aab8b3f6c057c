"""The options of a CTC model's beam search that `finetune.transcribe` and the benchmark share: checked, and as
`LoadOptions` has them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from preprocessing.cli.options import check_counts, check_ranges
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from finetune.decoding.beam import BeamSettings
    from finetune.systems.base import LanguageModelOptions


class SearchOptions(Protocol):
    """A configuration with these keys. alpha, beta, unk_score_offset: None for those stored with the language model."""

    @property
    def lm(self) -> Path | None: ...
    @property
    def alpha(self) -> float | None: ...
    @property
    def beta(self) -> float | None: ...
    @property
    def unk_score_offset(self) -> float | None: ...
    @property
    def beam_width(self) -> int: ...
    @property
    def hotwords(self) -> Sequence[str]: ...
    @property
    def hotword_weight(self) -> float: ...
    @property
    def rescore(self) -> Path | None: ...
    @property
    def rescore_weight(self) -> float: ...


def check_search_options(config: SearchOptions) -> None:
    """Raises UsageError naming the first option that is out of range or not finite."""
    alpha, beta, offset = config.alpha or 0.0, config.beta or 0.0, config.unk_score_offset or 0.0
    check_counts(("--beam_width", config.beam_width, 1))
    check_ranges(
        ("--alpha", alpha, "0 or more", alpha >= 0),
        ("--beta", beta, "a number", True),
        ("--unk_score_offset", offset, "0 or less", offset <= 0),
        ("--hotword_weight", config.hotword_weight, "0 or more", config.hotword_weight >= 0),
        ("--rescore_weight", config.rescore_weight, "0 or more", config.rescore_weight >= 0),
    )


def check_rescore(folder: Path | None) -> None:
    """Raises UsageError where --rescore names no folder of an LSTM."""
    from finetune.language_model.lstm import DESCRIPTION

    if folder is not None and not (folder / DESCRIPTION).is_file():
        raise UsageError(
            f"--rescore {folder}: has no {DESCRIPTION}; expected the folder of an LSTM: make one with "
            "`python -m finetune.language_model train`"
        )


def search_settings(config: SearchOptions) -> "BeamSettings":
    """The settings of a search without a language model."""
    from finetune.decoding.beam import BeamSettings

    return BeamSettings(
        beam_width=config.beam_width, hotwords=tuple(config.hotwords), hotword_weight=config.hotword_weight
    )


def language_model_options(config: SearchOptions) -> "LanguageModelOptions":
    """The language model and how it is searched with. Raises UsageError where --rescore names no LSTM."""
    from finetune.decoding.language_model_folder import TUNED
    from finetune.systems.base import LanguageModelOptions

    check_rescore(config.rescore)
    given = {name: value for name in TUNED if (value := getattr(config, name)) is not None}
    return LanguageModelOptions(
        config.lm,
        replace(search_settings(config), **given),
        as_stored=tuple(name for name in TUNED if name not in given),
        rescore=config.rescore,
        rescore_weight=config.rescore_weight,
    )
