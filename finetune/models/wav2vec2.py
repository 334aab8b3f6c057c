"""The wav2vec2 family: *ForCTC models of transformers built as wav2vec 2.0 (Baevski et al. 2020), among them HuBERT,
WavLM, data2vec-audio, XLS-R, MMS and w2v-BERT 2.0; `architectures` lists them.

A model comes from a folder, the Hub or random weights, and is saved as a plain transformers folder. An utterance has
the same logits in a padded batch as alone (`padding_invariance`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from accelerate.utils import extract_model_from_parallel
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from torch import Tensor, nn

from finetune.config import ModelConfig
from finetune.models.architectures import (
    ModelInput,
    architecture_of,
    latent_frames,
    log_mel_frames,
    n_frames,
    register_own_models,
)
from finetune.models.base import Batch, Example, Publication
from finetune.models.checkpoint_checks import checked_loading
from finetune.models.ctc import (
    CTCModule,
    CTCRecogniser,
    base_vocabulary,
    extend_head,
    new_model,
    new_vocabulary,
    renew_head,
    vocabulary_sizes,
)
from finetune.models.fast import rows
from finetune.models.fast.packing import pack_layers
from finetune.models.language_adapters import ADAPTER
from finetune.models.padding_invariance import PaddingInvariance
from finetune.models.regularisation import LatentMasks, use_bit_dropout
from finetune.models.trainable_parameters import merged_state_dict, select_trainable_parameters
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.model_file import find_model_file, loading_reason
from preprocessing.units import Vocabulary

RECOMPILE_LIMIT = 64  # of torch.compile, whose own is 8

PUBLICATION = Publication(
    title="A CTC model of transformers",
    library="transformers",
    tags=("ctc",),
    files=(
        "model*.safetensors",
        "adapter.*.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "preprocessor_config.json",
        "vocab.json",
        "units.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ),
    model_input="the waveform, as the model's own feature extractor makes it",
    settings=(
        "vocabulary",
        "language",
        "freeze_feature_encoder",
        "mask_time_prob",
        "mask_time_length",
        "mask_feature_prob",
        "dropout",
        "attention_dropout",
        "lora_rank",
        "lora_alpha",
        "adapters_only",
    ),
    usage="""\
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model="REPO")
print(recognise("speech.wav")["text"])  # paths need the ffmpeg program""",
)


class Wav2Vec2Module(CTCModule):
    """The training pass of a *ForCTC model: waveforms -> the CTC losses summed over the batch, a float32 scalar."""

    def __init__(self, model: Any, config: ModelConfig, *, blank: int) -> None:
        super().__init__(model, blank=blank)
        self._architecture = architecture_of(model.config, config.base or "the model")
        self._padding_invariance = PaddingInvariance(model)
        self._masks = LatentMasks(model, config)
        self._batch_norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm1d)]
        if not self._architecture.log_mel:
            rows.replace_convolutions(model)
        self._packed_layers = pack_layers(model) if config.attn_implementation == "auto" else None

    def train(self, mode: bool = True) -> Self:
        """As of nn.Module; batch normalisation keeps the base's statistics, as those of a batch would be its padding's
        and its neighbours' too.
        """
        super().train(mode)
        for norm in self._batch_norms:
            norm.eval()
        return self

    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The transformer's output [batch, frames, channels]. `generator` draws the masks; None masks nothing."""
        frames = latent_frames(self.model, self._architecture, torch.tensor(batch.n_samples))
        inputs, attention_mask = batch.inputs, None
        if len(set(batch.n_samples)) > 1 or batch.inputs.shape[-1] != self._input_length(batch.n_samples[0]):
            # else no padding: a plain call is faster
            positions = torch.arange(inputs.shape[-1], device=inputs.device)
            attention_mask = (positions < batch.lengths[:, None]).long()
            self._padding_invariance.set_lengths(batch.lengths, frames.to(inputs.device, non_blocking=True))
            if self._packed_layers is not None:
                self._packed_layers.set_lengths(frames)
        if self._architecture.log_mel:
            inputs = inputs.transpose(1, 2)
        with self._masks.applied(frames, generator):
            return self.model.base_model(inputs, attention_mask=attention_mask).last_hidden_state  # type: ignore[no-any-return]

    def _input_length(self, n_samples: int) -> int:
        return log_mel_frames(n_samples) if self._architecture.log_mel else n_samples

    def frames(self, n_samples: Tensor) -> Tensor:
        """Valid output frames of each utterance [batch], from its samples [batch]."""
        return n_frames(self.model, self._architecture, n_samples)


class Wav2Vec2Recogniser(CTCRecogniser):
    """A *ForCTC model with its vocabulary and its feature extractor.

    Raises InputError where the model is not for 16 kHz, UsageError where the configuration trains a part that it lacks.
    """

    def __init__(self, config: ModelConfig, model: Any, vocabulary: Vocabulary, feature_extractor: Any) -> None:
        self._feature_extractor = feature_extractor
        reference = config.base or "the model"
        self._model_input = ModelInput(feature_extractor, architecture_of(model.config, reference), reference)
        self._language = config.language
        select_trainable_parameters(model, config)
        use_bit_dropout(model)
        self._lora = config.lora_rank > 0
        super().__init__(Wav2Vec2Module(model, config, blank=vocabulary.blank), vocabulary)

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, self._model_input(waveform), labels, len(waveform))

    def gradient_checkpointing_enable(self) -> None:
        self.module.model.gradient_checkpointing_enable({"use_reentrant": False})

    def compile(self) -> None:
        # all layers are of one code, which is compiled for each way that they are called: packed or not, with or
        # without gradients or masks, in training or evaluation; beyond its limit, torch would compute uncompiled
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
        for layer in self.module.model.base_model.encoder.layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)

    def layers_above(self, parameter: str) -> int:
        """0 for the output layer and an adapter below it, 1 for the top transformer layer and a norm after it, their
        number + 1 for what feeds the lowest.
        """
        config = self.module.model.config
        layers = len(self.module.model.base_model.encoder.layers)
        layer = re.search(r"encoder\.layers\.(\d+)\.", parameter)
        if layer is not None:
            return layers - int(layer[1])
        if re.search(r"\.(lm_head|adapter|intermediate_ffn)\.", parameter):
            return 0
        norm_is_last = getattr(config, "do_stable_layer_norm", False) or config.model_type == "wav2vec2-conformer"
        return 1 if ".encoder.layer_norm." in parameter and norm_is_last else layers + 1

    def save(self, folder: Path, module: nn.Module) -> None:
        model = extract_model_from_parallel(module).model
        model.save_pretrained(folder, state_dict=merged_state_dict(model) if self._lora else None)
        self.vocabulary.save(folder)
        self._feature_extractor.save_pretrained(folder)
        if self._language is not None:
            adapters = {name: weight.detach().contiguous() for name, weight in model._get_adapters().items()}
            save_file(adapters, folder / ADAPTER.format(self._language), metadata={"format": "pt"})


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> Wav2Vec2Recogniser:
    """The recogniser that a configuration describes (see `TrainableRecogniser`); `labels` are the normalised texts of
    training.

    Raises InputError where the base cannot be loaded or lacks a vocabulary that it should keep, UsageError on keys of
    --model.scratch that Wav2Vec2Config does not have.
    """
    torch.manual_seed(seed)
    if config.scratch is not None:
        return _from_scratch(config, new_vocabulary(config, labels))
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    assert config.base is not None
    try:
        _check_base(config)
        feature_extractor = AutoFeatureExtractor.from_pretrained(config.base)
        new = config.vocabulary == "new"
        vocabulary = new_vocabulary(config, labels) if new else base_vocabulary(config, labels)
        changes: dict[str, Any] = vocabulary_sizes(vocabulary) if new else {}
        if config.language is not None and not new:
            changes["target_lang"] = config.language
        with checked_loading(config.base):
            model = AutoModelForCTC.from_pretrained(
                config.base,
                dtype=torch.float32,
                ignore_mismatched_sizes=new or "target_lang" in changes,
                **_options_of_loading(config),
                **changes,
            )
    except (OSError, ValueError, RuntimeError, ImportError, StrictDataclassError) as error:
        raise InputError(
            f"--model.base {config.base}: cannot be loaded as a CTC model ({loading_reason(error)}); "
            "expected a transformers folder or Hub id: check the name and the network"
        ) from error
    if new and config.language is None and not config.adapters_only:  # which draw the output layer with the adapters
        renew_head(model, config.base, vocabulary)
    extend_head(model, len(vocabulary.units))
    return Wav2Vec2Recogniser(config, model, vocabulary, feature_extractor)


def _check_base(config: ModelConfig) -> None:
    """Raises UserError where the base is of an architecture that is not supported, or has no adapter of the language
    that the configuration names.
    """
    from transformers import AutoConfig

    register_own_models()
    base = AutoConfig.from_pretrained(config.base)
    architecture_of(base, str(config.base))
    if config.language is None:
        return
    if getattr(base, "adapter_attn_dim", None) is None:
        raise UsageError(
            f"--model.language is {config.language}, but {config.base} has no language adapters; expected one of the "
            "MMS models with it: choose facebook/mms-1b-all, or leave it out"
        )
    adapter = ADAPTER.format(config.language)
    if config.vocabulary != "new" and find_model_file(str(config.base), adapter) is None:
        raise InputError(
            f"--model.base {config.base}: has no {adapter}; expected the adapter of "
            f"--model.language {config.language}: check the code of three letters, or set --model.vocabulary new to "
            "train a new one"
        )


def _from_scratch(config: ModelConfig, vocabulary: Vocabulary) -> Wav2Vec2Recogniser:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    assert config.scratch is not None
    fixed = vocabulary_sizes(vocabulary) | _options_of_loading(config)
    model = new_model(Wav2Vec2ForCTC, "--model.scratch", config.scratch, fixed)
    feature_extractor = Wav2Vec2FeatureExtractor(return_attention_mask=model.config.feat_extract_norm == "layer")
    return Wav2Vec2Recogniser(config, model, vocabulary, feature_extractor)


def _options_of_loading(config: ModelConfig) -> dict[str, Any]:
    """The keys of a transformers configuration for attention, dropout and masks.

    layerdrop is 0, as it breaks gradient synchronisation over several devices. `mask_time_prob` only makes the model
    keep an embedding for masked frames: LatentMasks draws which frames are masked.
    """
    return {
        "attn_implementation": None if config.attn_implementation == "auto" else config.attn_implementation,
        "attention_dropout": config.attention_dropout,
        "hidden_dropout": config.dropout,
        "activation_dropout": config.dropout,
        "final_dropout": config.dropout,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.0,
        "mask_time_prob": config.mask_time_prob,
        "mask_time_length": config.mask_time_length,
        "mask_feature_prob": config.mask_feature_prob,
        "mask_feature_length": config.mask_feature_length,
    }
