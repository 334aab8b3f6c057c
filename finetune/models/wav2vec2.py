"""wav2vec 2.0 with a CTC head, and any other *ForCTC of transformers built alike (HuBERT, WavLM, data2vec-audio).

Loads from a folder or the Hub by id, trains under the waveform and text contracts of `preprocessing`, and saves a plain
transformers folder. An utterance's logits are the same in a padded batch and alone (`models.exact`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example
from finetune.models.ctc import CTCPass, CTCRecogniser, base_vocabulary, extend_head, new_vocabulary, vocabulary_sizes
from finetune.models.fast.gpu import arrange_for_gpu
from finetune.models.padding_invariance import ValidFrames
from finetune.models.regularisation import LatentMasks, draw_cheaply
from finetune.models.trainable_parameters import choose_trained, plain_state
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.features import normalise_waveform
from preprocessing.units import Vocabulary


class CTCModule(CTCPass):
    """The training pass of a *ForCTC model: waveforms -> summed CTC loss in float32."""

    def __init__(self, model: Any, config: ModelConfig, *, blank: int) -> None:
        super().__init__(model, blank=blank)
        self._valid_frames = ValidFrames(model)
        self._masks = LatentMasks(model, config)
        arrange_for_gpu(model)

    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The transformer's output [batch, frames, channels]; the generator draws latent masks."""
        frames = self.frames(torch.tensor(batch.n_samples))
        attention_mask = None
        if any(n != batch.inputs.shape[-1] for n in batch.n_samples):  # else a plain call is exact, and faster
            positions = torch.arange(batch.inputs.shape[-1], device=batch.inputs.device)
            attention_mask = (positions < batch.lengths[:, None]).long()
            self._valid_frames.of(batch.lengths, frames.to(batch.inputs.device, non_blocking=True))
        with self._masks.drawn(frames, generator):
            return self.model.base_model(batch.inputs, attention_mask=attention_mask).last_hidden_state  # type: ignore[no-any-return]

    def frames(self, n_samples: Tensor) -> Tensor:
        """Valid frames of each utterance [batch] from its samples [batch]."""
        return self.model._get_feat_extract_output_lengths(n_samples).to(torch.long)  # type: ignore[no-any-return]


class Wav2Vec2(CTCRecogniser):
    """A *ForCTC model with its vocabulary and its feature extractor."""

    def __init__(self, config: ModelConfig, model: Any, vocabulary: Vocabulary, feature_extractor: Any) -> None:
        self._feature_extractor = feature_extractor
        if feature_extractor.sampling_rate != SAMPLE_RATE:
            raise InputError(
                f"{config.base}: expects {feature_extractor.sampling_rate} Hz; expected {SAMPLE_RATE}: use another base"
            )
        choose_trained(model, config)
        draw_cheaply(model)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if config.compile:
            model.base_model.encoder.compile(dynamic=True)
        self._lora = config.lora_rank > 0
        super().__init__(CTCModule(model, config, blank=vocabulary.blank), vocabulary)

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, model_input(waveform, self._feature_extractor.do_normalize), labels, len(waveform))

    def layers_above(self, parameter: str) -> int:
        """The output layer has none above it, the top transformer layer one, what feeds the lowest one the most."""
        layers = len(self.module.model.base_model.encoder.layers)
        place = re.search(r"encoder\.layers\.(\d+)\.", parameter)
        if place is not None:
            return layers - int(place[1])
        return 0 if ".lm_head." in parameter else layers + 1

    def save(self, folder: Path, module: nn.Module) -> None:
        ctc = self._bare(module)
        ctc.model.save_pretrained(folder, state_dict=plain_state(ctc.model) if self._lora else None)
        self.vocabulary.save(folder)
        self._feature_extractor.save_pretrained(folder)


def model_input(waveform: Tensor, normalise: bool) -> Tensor:
    """What Wav2Vec2FeatureExtractor makes of one waveform [samples]."""
    return normalise_waveform(waveform) if normalise else waveform


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> Wav2Vec2:
    """The recogniser that a configuration names; `labels` are the normalised training texts.

    Raises InputError when the base cannot be loaded or lacks a vocabulary that it should keep.
    """
    torch.manual_seed(seed)
    if config.scratch is not None:
        return _from_scratch(config, new_vocabulary(config, labels))
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    assert config.base is not None
    try:
        feature_extractor = AutoFeatureExtractor.from_pretrained(config.base)
        new = config.vocabulary == "new"
        vocabulary = new_vocabulary(config, labels) if new else base_vocabulary(config, labels)
        changes: dict[str, Any] = vocabulary_sizes(vocabulary) if new else {}
        model = AutoModelForCTC.from_pretrained(
            config.base,
            dtype=torch.float32,
            ignore_mismatched_sizes=new,
            attn_implementation=None if config.attention == "auto" else config.attention,
            **_regularisation(config),
            **changes,
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"--model.base {config.base}: cannot be loaded as a CTC model ({str(error).strip().splitlines()[0]}); "
            "expected a transformers folder or Hub id: check the name and the network"
        ) from error
    extend_head(model, len(vocabulary.units))
    return Wav2Vec2(config, model, vocabulary, feature_extractor)


def _from_scratch(config: ModelConfig, vocabulary: Vocabulary) -> Wav2Vec2:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    assert config.scratch is not None
    try:
        settings = Wav2Vec2Config(
            **config.scratch,
            **vocabulary_sizes(vocabulary),
            **_regularisation(config),
        )
        model = Wav2Vec2ForCTC(settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--model.scratch: {error}; expected keys of Wav2Vec2Config: mend them") from None
    feature_extractor = Wav2Vec2FeatureExtractor(return_attention_mask=settings.feat_extract_norm == "layer")
    return Wav2Vec2(config, model, vocabulary, feature_extractor)


def _regularisation(config: ModelConfig) -> dict[str, Any]:
    """layerdrop is 0: it breaks gradient synchronisation over several devices. The mask's probability is told so that
    the model has an embedding for masked frames; which frames are masked is drawn by us, within each utterance.
    """
    return {
        "attention_dropout": config.attention_dropout,
        "hidden_dropout": config.dropout,
        "activation_dropout": config.dropout,
        "final_dropout": config.dropout,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.0,
        "mask_time_prob": config.mask_time_probability,
        "mask_time_length": config.mask_time_length,
        "mask_feature_prob": config.mask_channel_probability,
        "mask_feature_length": config.mask_channel_length,
    }
