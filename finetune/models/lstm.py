"""The LSTM-CTC family: trains `models.lstm_ctc` from random weights, or on from a folder or Hub id of its own.

SpecAugment hides features after normalisation, where 0 is their mean, while training alone and by the loop's generator.
wav2vec 2.0's latent masks have no place here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoConfig

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example
from finetune.models.ctc import CTCPass, CTCRecogniser, base_vocabulary, extend_head, new_vocabulary, vocabulary_sizes
from finetune.models.lstm_ctc import LSTMConfig, LSTMForCTC
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.spec_augment import SpecAugment
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.features import GlobalNorm
from preprocessing.units import Vocabulary

STATISTICS_SECONDS = 3600.0  # of training audio that GlobalNorm's statistics are taken of


class LSTMPass(CTCPass):
    """The training pass of an LSTM: waveforms -> features, masked -> summed CTC loss in float32."""

    def __init__(self, model: LSTMForCTC, spec_augment: SpecAugment | None, *, blank: int) -> None:
        super().__init__(model, blank=blank)
        self.spec_augment = spec_augment

    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        features = self.model.features(batch.inputs, batch.lengths)
        if self.spec_augment is not None and generator is not None:
            features = self.spec_augment(features, generator)
        return self.model.encode(features)  # type: ignore[no-any-return]

    def frames(self, n_samples: Tensor) -> Tensor:
        return self.model.n_frames(n_samples)  # type: ignore[no-any-return]


class LSTM(CTCRecogniser):
    """An LSTM with its vocabulary. `fits_statistics`: its normalisation still lacks those of the training corpus."""

    def __init__(
        self, config: ModelConfig, model: LSTMForCTC, vocabulary: Vocabulary, *, fits_statistics: bool = False
    ) -> None:
        spec_augment = None if config.spec_augment == "none" else SpecAugment(config.spec_augment, fill="zero")
        if config.freeze_feature_encoder and config.scratch is None:
            model.subsampling.requires_grad_(False)
        self._fits_statistics = fits_statistics
        super().__init__(LSTMPass(model, spec_augment, blank=vocabulary.blank), vocabulary)

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, waveform, labels, len(waveform))

    def fit_statistics(self, examples: Iterable[Example]) -> None:
        norm = self.module.model.norm
        if not self._fits_statistics or not isinstance(norm, GlobalNorm):
            return
        fitted = GlobalNorm.fit(
            self.module.model.raw_features(example.inputs[None], torch.tensor([example.n_samples]))
            for example in _first(examples, STATISTICS_SECONDS)
        )
        norm.load_state_dict(fitted.state_dict())

    def layers_above(self, parameter: str) -> int:
        """The output layer has none above it, the top LSTM layer one, the subsampling the most."""
        layers = len(self.module.model.layers)
        place = re.search(r"\blayers\.(\d+)\.", parameter)
        if place is not None:
            return layers - int(place[1])
        return 0 if ".lm_head." in parameter or ".norm_out." in parameter else layers + 1


def _first(examples: Iterable[Example], seconds: float) -> Iterator[Example]:
    """Examples until they make up so many seconds of audio."""
    heard = 0
    for example in examples:
        yield example
        heard += example.n_samples
        if heard >= seconds * SAMPLE_RATE:
            return


def load(reference: str, **changes: Any) -> LSTMForCTC:
    """The model of a run's folder or a Hub id, in float32 on the CPU; changes: keys of LSTMConfig.

    A head of another size than the saved one begins anew. Raises InputError where there is no such model.
    """
    try:
        config = AutoConfig.from_pretrained(reference)
        if not isinstance(config, LSTMConfig):
            raise ValueError(f"its model_type is {config.model_type}, not {LSTMConfig.model_type}")
        return LSTMForCTC.from_pretrained(  # type: ignore[no-any-return]
            reference, dtype=torch.float32, ignore_mismatched_sizes="vocab_size" in changes, **changes
        )
    except (OSError, ValueError, StrictDataclassError) as error:
        raise InputError(
            f"{reference}: cannot be loaded as an LSTM-CTC model ({str(error).strip().splitlines()[0]}); expected the "
            "folder of a run with --model.family lstm, or a Hub id of one: check the name and the network"
        ) from error


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> LSTM:
    """The recogniser that a configuration names; `labels` are the normalised training texts.

    Raises UserError where the base or the keys of `scratch` cannot be used.
    """
    torch.manual_seed(seed)
    if config.scratch is not None:
        vocabulary = new_vocabulary(config, labels)
        model = _from_scratch(config.scratch, {"dropout": config.dropout} | vocabulary_sizes(vocabulary))
        return LSTM(config, model, vocabulary, fits_statistics=True)
    assert config.base is not None
    if config.vocabulary != "new":
        model, vocabulary = load(config.base, dropout=config.dropout), base_vocabulary(config, labels)
        extend_head(model, len(vocabulary.units))
        return LSTM(config, model, vocabulary)
    vocabulary = new_vocabulary(config, labels)
    return LSTM(config, load(config.base, dropout=config.dropout, **vocabulary_sizes(vocabulary)), vocabulary)


def _from_scratch(scratch: dict[str, Any], decided: dict[str, Any]) -> LSTMForCTC:
    """A new model; `decided` are keys of LSTMConfig that other options say."""
    own = [field.name for field in fields(LSTMConfig) if field.name in LSTMConfig.__annotations__]
    free = [name for name in own if name not in decided]
    unknown = sorted(set(scratch) - set(free))
    if unknown:
        raise UsageError(
            f"--model.scratch holds {', '.join(unknown)}; expected keys of LSTMConfig that no other option sets: "
            f"choose among {', '.join(free)}"
        )
    try:
        return LSTMForCTC(LSTMConfig(**scratch, **decided))
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise UsageError(f"--model.scratch: {str(error).strip().splitlines()[-1].strip()}") from None
