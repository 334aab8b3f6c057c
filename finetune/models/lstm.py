"""The LSTM family: trains the model of `lstm_ctc.py`, from random weights or from a saved one.

While training, SpecAugment (Park et al. 2019) masks normalised features and their deltas with 0, their mean. Saved
folders load with transformers once `finetune.models.lstm_ctc` is imported.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example
from finetune.models.ctc import (
    CTCModule,
    CTCRecogniser,
    ctc_publication,
    load_base,
    load_checkpoint,
    new_model,
    new_vocabulary,
    vocabulary_sizes,
)
from finetune.models.lstm_ctc import LSTMForCTC
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.spec_augment import SpecAugment
from preprocessing.features import GlobalNorm
from preprocessing.units import Vocabulary

STATISTICS_SECONDS = 3600.0  # of training audio, for GlobalNorm's means and deviations

PUBLICATION = ctc_publication(
    "finetune.models.lstm_ctc",
    title="A bidirectional LSTM-CTC model",
    tags=("ctc",),
    model_input="the waveform; the model computes its own features",
    settings=("units", "spec_augment", "dropout"),
)


class LSTMModule(CTCModule):
    """The training pass of an LSTM: waveforms -> masked features -> the CTC losses summed over the batch."""

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


class LSTMRecogniser(CTCRecogniser):
    """An LSTM with its vocabulary.

    fits_statistics: whether `fit_statistics` sets the model's feature means and deviations from the training corpus.
    """

    def __init__(
        self, config: ModelConfig, model: LSTMForCTC, vocabulary: Vocabulary, *, fits_statistics: bool = False
    ) -> None:
        policy, n_orders = config.spec_augment, 1 + model.config.deltas
        spec_augment = None if policy == "none" else SpecAugment(policy, fill="zero", n_orders=n_orders)
        self._fits_statistics = fits_statistics
        super().__init__(LSTMModule(model, spec_augment, blank=vocabulary.blank), vocabulary)

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
        """0 for the output layer, 1 for the top LSTM layer, the number of layers + 1 for the subsampling."""
        layers = len(self.module.model.layers)
        layer = re.search(r"\blayers\.(\d+)\.", parameter)
        if layer is not None:
            return layers - int(layer[1])
        return 0 if ".lm_head." in parameter or ".norm_out." in parameter else layers + 1


def _first(examples: Iterable[Example], seconds: float) -> Iterator[Example]:
    """The first examples that together last `seconds` or a little more."""
    n_samples = 0
    for example in examples:
        yield example
        n_samples += example.n_samples
        if n_samples >= seconds * SAMPLE_RATE:
            return


def load(reference: str, **changes: Any) -> LSTMForCTC:
    """A model of this family from the folder of a run or a Hub id, as `load_checkpoint` loads it."""
    return load_checkpoint(LSTMForCTC, "lstm", reference, **changes)  # type: ignore[no-any-return]


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> LSTMRecogniser:
    """The recogniser that a configuration describes (see `TrainableRecogniser`); `labels` are the normalised texts of
    training.

    Raises InputError where the base cannot be loaded, UsageError on keys of --model.scratch that cannot be used.
    """
    torch.manual_seed(seed)
    if config.scratch is None:
        return LSTMRecogniser(config, *load_base(load, config, labels))
    vocabulary = new_vocabulary(config, labels)
    settings = {"dropout": config.dropout} | vocabulary_sizes(vocabulary)
    model = new_model(LSTMForCTC, "--model.scratch", config.scratch, settings)
    return LSTMRecogniser(config, model, vocabulary, fits_statistics=True)
