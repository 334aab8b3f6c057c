"""Model families behind one interface; `build` makes the one that a configuration names."""

from collections.abc import Sequence

from finetune.config import ModelConfig
from finetune.models.base import Recogniser


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> Recogniser:
    """The recogniser of a configuration; `labels` are the normalised training texts, for a new vocabulary."""
    if config.family == "whisper":
        from finetune.models import whisper

        return whisper.build(config, seed)
    from finetune.models import wav2vec2

    return wav2vec2.build(config, labels, seed)
