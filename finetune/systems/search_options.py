"""The options of a CTC model's beam search that `finetune.transcribe` and the benchmark share, and what `LoadOptions`
has of them.
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.options import check_counts, check_ranges
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from finetune.decoding.beam import BeamSettings
    from finetune.systems.base import LanguageModelOptions


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How CTC models are searched; in the benchmark, those of systems ending in +lm."""

    lm: Path | None = None
    """Language model: an ARPA file, or a folder or run that contains one; `python -m finetune.language_model build`
    makes one. Default: of a system +lm (wav2vec2+lm=runs/yours) the one stored with the checkpoint; otherwise none."""

    alpha: float | None = None
    """Weight of the language model's log-probability. Default: as stored with the language model by `python -m
    finetune.language_model tune`, else 0.5."""

    beta: float | None = None
    """Score added for each word (natural log); higher values give more and shorter words. Default: as stored with the
    language model, else 1."""

    unk_score_offset: float | None = None
    """Log10 score added for each out-of-vocabulary word, as in pyctcdecode; it is multiplied by alpha, 0 or less.
    Default: as stored with the language model, else -10."""

    beam_width: int = 64
    """Width of the CTC beam search."""

    hotwords: list[str] = field(default_factory=list)
    """Words that the beam search favours, with or without a language model (in the benchmark, systems ending in +lm);
    normalised by the text profile of a run's labels, for other models spelled as the model outputs them."""

    hotword_weight: float = 10.0
    """Score added for each hot word (natural log), 0 or more."""

    rescore: Path | None = None
    """Folder of an LSTM language model (`python -m finetune.language_model train`) that rescores the n-best list of a
    search with a language model."""

    rescore_weight: float = 0.3
    """Weight of that LSTM's log-probability in the rescored sum, 0 or more."""

    def check_search(self) -> None:
        """Raises UsageError naming the first option that is out of range or not finite."""
        alpha, beta, offset = self.alpha or 0.0, self.beta or 0.0, self.unk_score_offset or 0.0
        check_counts(("--beam_width", self.beam_width, 1))
        check_ranges(
            ("--alpha", alpha, "0 or more", alpha >= 0),
            ("--beta", beta, "a number", True),
            ("--unk_score_offset", offset, "0 or less", offset <= 0),
            ("--hotword_weight", self.hotword_weight, "0 or more", self.hotword_weight >= 0),
            ("--rescore_weight", self.rescore_weight, "0 or more", self.rescore_weight >= 0),
        )


SEARCH_FLAGS = tuple(option.name for option in fields(SearchOptions))


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
