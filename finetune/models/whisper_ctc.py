"""The whisper-ctc family: Whisper's pretrained encoder under a CTC head, from a Whisper checkpoint or a saved model.

The base is any Whisper: a size's name, an OpenAI .pt file, a transformers folder or Hub id, the folder of a run of the
whisper family, or that of this one. Blocks below the trained ones are frozen, and what they make of an utterance can be
kept on the disk (`frozen_features.py`), so that a small machine computes it once. The model itself is in
`whisper_ctc_model.py`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import AutoConfig, WhisperConfig, WhisperModel

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example
from finetune.models.checkpoint_checks import checked_loading
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
from finetune.models.frame_geometry import WHISPER_CTC_STRIDE
from finetune.models.frozen_features import open_cache
from finetune.models.trainable_parameters import freeze_whisper_encoder, inject_lora, merged_state_dict
from finetune.models.whisper_ctc_model import WhisperCTCConfig, WhisperForCTC
from finetune.models.whisper_formats import is_transformers, load_model, to_transformers
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.spec_augment import SpecAugment
from preprocessing.errors import InputError, UsageError
from preprocessing.features import Features
from preprocessing.storage.model_file import loading_reason
from preprocessing.units import Vocabulary

PUBLICATION = ctc_publication(
    "finetune.models.whisper_ctc_model",
    title="Whisper's encoder with a CTC head",
    tags=("whisper", "ctc"),
    model_input="the waveform; the model computes Whisper's log-mel spectrogram",
    settings=("units", "trained_layers", "lora_rank", "spec_augment", "dropout"),
)


class WhisperCTCModule(CTCModule):
    """The training pass: waveforms, or cached states of frozen blocks -> the CTC losses summed over the batch.

    n_frozen: blocks below the trained ones. cached: whether a batch's inputs are their states [batch, states * d_model,
    frames] instead of waveforms.
    """

    model: WhisperForCTC

    def __init__(
        self, model: WhisperForCTC, spec_augment: SpecAugment | None, *, blank: int, n_frozen: int, cached: bool
    ) -> None:
        super().__init__(model, blank=blank)
        self.spec_augment = spec_augment
        self.n_frozen = n_frozen
        self.cached = cached

    def train(self, mode: bool = True) -> "WhisperCTCModule":
        """Frozen blocks stay in evaluation mode: what they compute is the same in every epoch, cached or not."""
        super().train(mode)
        for block in self.model.encoder.layers[: self.n_frozen]:
            block.eval()
        return self

    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        n_frames = self._valid_frames(batch)
        if self.cached:
            states = batch.inputs
            if self.spec_augment is not None and generator is not None:
                states = self.spec_augment(Features(states, n_frames), generator).values
            lower = list(torch.split(states.transpose(1, 2), int(self.model.config.d_model), dim=-1))
        else:
            features = self.model.features(batch.inputs, batch.lengths)
            if self.spec_augment is not None and generator is not None:
                features = self.spec_augment(features, generator)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.n_frozen == 0):
                lower = self.model.lower(features, self.n_frozen)
        return self.model.upper(lower, self.n_frozen, n_frames)

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.model.head(hidden, self._valid_frames(batch))

    def _valid_frames(self, batch: Batch) -> Tensor:
        """Those of each utterance [batch], on the model's device."""
        return self.frames(torch.tensor(batch.n_samples)).to(batch.inputs.device)

    def frames(self, n_samples: Tensor) -> Tensor:
        return self.model.n_frames(n_samples)


class WhisperCTCRecogniser(CTCRecogniser):
    """Whisper's encoder and a CTC head with their vocabulary.

    Raises UsageError where the configuration trains more blocks than the encoder has, or caches what is not frozen.
    """

    module: WhisperCTCModule

    def __init__(self, config: ModelConfig, model: WhisperForCTC, vocabulary: Vocabulary) -> None:
        n_frozen = freeze_whisper_encoder(model.encoder, model.encoder.layers, config)
        if config.lora_rank > 0:
            inject_lora(model.encoder, config)
        self._lora = config.lora_rank > 0
        model.mix.requires_grad_(model.config.mixed_layers > 1)  # unused for one layer: DDP waits for its gradient
        self._cache = open_cache(config, _frozen_weights(model, n_frozen), self._frozen_states)
        policy = config.spec_augment
        module = WhisperCTCModule(
            model,
            None if policy == "none" else SpecAugment(policy, fill="mean"),
            blank=vocabulary.blank,
            n_frozen=n_frozen,
            cached=self._cache is not None,
        )
        super().__init__(module, vocabulary)

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        inputs = waveform if self._cache is None else self._cache(waveform)
        return Example(index, inputs, labels, len(waveform))

    def _frozen_states(self, waveform: Tensor) -> Tensor:
        """[states * d_model, frames] of the frozen blocks for a waveform [samples]."""
        model = self.module.model
        features = model.features(waveform[None], torch.tensor([len(waveform)]))
        return torch.cat(model.lower(features, self.module.n_frozen), dim=-1)[0].T

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return n_samples <= self._longest() and super().fits(n_samples, labels)

    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        if n_samples > self._longest():
            return (
                f"lasts {n_samples / SAMPLE_RATE:.2f} s; expected at most the encoder's positions, "
                f"{self._longest() / SAMPLE_RATE:g} s: cut it"
            )
        return super().rejection_reason(n_samples, text, is_silence=is_silence)

    def _longest(self) -> int:
        return int(self.module.model.config.max_source_positions) * WHISPER_CTC_STRIDE

    def gradient_checkpointing_enable(self) -> None:
        self.module.model.encoder.gradient_checkpointing_enable({"use_reentrant": False})

    def layers_above(self, parameter: str) -> int:
        """0 for the head, 1 for the encoder's top block, their number + 1 for its convolutions."""
        block = re.search(r"encoder\.layers\.(\d+)\.", parameter)
        n_blocks = int(self.module.model.config.encoder_layers)
        if block is not None:
            return n_blocks - int(block[1])
        return n_blocks + 1 if "encoder.conv" in parameter else 1 if "encoder." in parameter else 0

    def save(self, folder: Path, module: nn.Module) -> None:
        model = extract_model_from_parallel(module).model
        model.save_pretrained(folder, state_dict=merged_state_dict(model) if self._lora else None)
        self.vocabulary.save(folder)


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> WhisperCTCRecogniser:
    """The recogniser that a configuration describes (see `TrainableRecogniser`); `labels` are the normalised texts of
    training.

    Raises InputError where the base cannot be loaded, UsageError on keys of --model.scratch or --model.head that
    WhisperCTCConfig does not have.
    """
    torch.manual_seed(seed)
    base = config.base
    if base is not None and _is_whisper_ctc(base):
        model, vocabulary = load_base(load, config, labels)
        _check_head(model.config, config)
        return WhisperCTCRecogniser(config, model, vocabulary)
    if base is not None and config.vocabulary != "new":
        raise UsageError(
            f"--model.vocabulary is {config.vocabulary} and --model.base {base} a Whisper, which has no units for CTC; "
            "expected new: set --model.vocabulary new"
        )
    vocabulary = new_vocabulary(config, labels)
    settings = {"dropout": config.dropout} | vocabulary_sizes(vocabulary)
    if base is None:
        model = new_model(WhisperForCTC, "--model.scratch", (config.scratch or {}) | config.head, settings)
    else:
        sizes, weights = _whisper_encoder(base)
        model = new_model(WhisperForCTC, "--model.head", config.head, settings | sizes)
        model.encoder.load_state_dict(weights)
    return WhisperCTCRecogniser(config, model, vocabulary)


def _check_head(found: WhisperCTCConfig, config: ModelConfig) -> None:
    """Raises UsageError where --model.head asks for another head than the base has."""
    for key, value in config.head.items():
        if (own := getattr(found, key, None)) != value:
            raise UsageError(
                f"--model.head sets {key} to {value}, and the head of --model.base {config.base} has {own}; expected "
                "the same, as that head is trained further: leave --model.head out, or begin with a Whisper"
            )


def load(reference: str, **changes: Any) -> WhisperForCTC:
    """A model of this family from the folder of a run or a Hub id, as `load_checkpoint` loads it."""
    return load_checkpoint(WhisperForCTC, "whisper-ctc", reference, **changes)  # type: ignore[no-any-return]


def _is_whisper_ctc(reference: str) -> bool:
    """Whether a folder or Hub id holds a model of this family."""
    if not is_transformers(reference):
        return False
    try:
        return isinstance(AutoConfig.from_pretrained(reference), WhisperCTCConfig)
    except (OSError, ValueError, StrictDataclassError):
        return False  # what is wrong with it is said where it is loaded


def _whisper_encoder(reference: str) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Sizes (keys of WhisperCTCConfig) and weights of a Whisper checkpoint's encoder, under transformers' names.

    Raises InputError where the checkpoint cannot be loaded.
    """
    names = ("num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim",
             "max_source_positions")  # fmt: skip
    if is_transformers(reference):
        try:
            config = AutoConfig.from_pretrained(reference)
            if not isinstance(config, WhisperConfig):
                raise ValueError(f"its model_type is {config.model_type}, not whisper")
            with checked_loading(reference):
                encoder = WhisperModel.from_pretrained(reference, dtype=torch.float32).encoder
        except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
            raise InputError(
                f"--model.base {reference}: cannot be loaded as a Whisper ({loading_reason(error)}); "
                "expected a size, a .pt file, a transformers folder or a Hub id: check the name and the network"
            ) from error
        return {name: getattr(config, name) for name in names}, encoder.state_dict()
    model = load_model(reference)
    dims = model.dims
    sizes = (dims.n_mels, dims.n_audio_state, dims.n_audio_layer, dims.n_audio_head, 4 * dims.n_audio_state,
             dims.n_audio_ctx)  # fmt: skip
    return dict(zip(names, sizes, strict=True)), to_transformers(model.encoder.state_dict())


def _frozen_weights(model: WhisperForCTC, n_frozen: int) -> list[tuple[str, Tensor]]:
    """What `lower` depends on: convolutions, positions, the frozen blocks, and how many states it returns."""
    states = torch.tensor([model.config.mixed_layers, n_frozen])
    parts = [
        ("conv1", model.encoder.conv1),
        ("conv2", model.encoder.conv2),
        ("positions", model.encoder.embed_positions),
    ]
    parts += [(f"layers.{place}", block) for place, block in enumerate(model.encoder.layers[:n_frozen])]
    return [("states", states)] + [
        (f"{name}.{key}", value) for name, part in parts for key, value in part.state_dict().items()
    ]
