"""Selects the trained part of a model: all but the feature encoder, the upper blocks of Whisper's encoder, LoRA at the
attention, or language adapters.

Saved models are plain transformers models in each case: LoRA's matrices (Hu et al. 2021, arXiv 2106.09685) are merged
into the weights that they were added to, and the adapters of MMS (Pratap et al. 2023, arXiv 2305.13516, section 4.1)
are part of the plain model.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from finetune.config import ModelConfig
from finetune.models.architectures import architecture_of
from preprocessing.errors import UsageError

# Every projection of the attention; the second line is of conformers and w2v-BERT.
LORA_TARGETS = (
    *("q_proj", "k_proj", "v_proj", "out_proj"),
    *("linear_q", "linear_k", "linear_v", "linear_out"),
)


def select_trainable_parameters(model: Any, config: ModelConfig) -> None:
    """Sets `requires_grad` of a *ForCTC model as --model.adapters_only, language, lora_rank and freeze_feature_encoder
    ask; w2v-BERT has no feature encoder to freeze.

    LoRA's matrices are added to the model. Parameters that the output does not depend on are frozen: DDP waits for
    their gradients. Raises UsageError for adapters of a model that has none.
    """
    if config.adapters_only or config.language is not None:
        _train_adapters(model, config)
    elif config.lora_rank > 0:
        _add_lora(model, config)
    elif config.freeze_feature_encoder and config.scratch is None and hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    _freeze_unused(model, config)


def _freeze_unused(model: Any, config: ModelConfig) -> None:
    """The embedding of masked frames where none are masked, and the convolutional positions of a conformer, which
    transformers builds and never calls.
    """
    base = model.base_model
    if config.mask_time_prob == 0 and getattr(base, "masked_spec_embed", None) is not None:
        base.masked_spec_embed.requires_grad_(False)
    if model.config.model_type == "wav2vec2-conformer":
        base.encoder.pos_conv_embed.requires_grad_(False)


def _train_adapters(model: Any, config: ModelConfig) -> None:
    if getattr(model.config, "adapter_attn_dim", None) is None:
        raise UsageError(
            f"--model.adapters_only is true, but {config.base or 'the model'} has no language adapters; expected one "
            "of the MMS models: choose facebook/mms-1b-all, or set --model.lora_rank"
        )
    model.requires_grad_(False)
    if config.vocabulary == "new":
        model.init_adapter_layers()
    for parameter in model._get_adapters().values():
        parameter.requires_grad_(True)


def freeze_whisper_encoder(encoder: nn.Module, blocks: Sequence[nn.Module], config: ModelConfig) -> int:
    """Freezes the convolutions and the lowest blocks of a pretrained encoder, openai-whisper's or transformers'.

    blocks: the encoder's, all but --model.trained_layers of which are frozen, from the bottom. Returns how many are; 0
    for random weights. Raises UsageError for more trained layers than blocks, or a feature cache with nothing frozen.
    """
    n_trained = len(blocks) if config.trained_layers is None else config.trained_layers
    if n_trained > len(blocks):
        raise UsageError(
            f"--model.trained_layers is {n_trained}, but the encoder has {len(blocks)}; expected at most these: lower "
            "it"
        )
    n_frozen = len(blocks) - n_trained if config.scratch is None else 0
    if config.feature_cache is not None and n_frozen == 0:
        raise UsageError(
            "--model.feature_cache is set, but no block of a pretrained encoder is frozen; expected "
            f"--model.trained_layers below its {len(blocks)}: lower it, or leave the cache out"
        )
    if config.scratch is None and (config.freeze_feature_encoder or n_frozen > 0):
        for name in ("conv1", "conv2"):
            encoder.get_submodule(name).requires_grad_(False)
    for block in blocks[:n_frozen]:
        block.requires_grad_(False)
    return n_frozen


def inject_lora(module: nn.Module, config: ModelConfig, targets: Sequence[str] = LORA_TARGETS) -> None:
    """Adds low-rank matrices at the attention's projections of a module, in place, and freezes all else of it.

    targets: names of the projections.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank if config.lora_alpha is None else config.lora_alpha,
        lora_dropout=config.dropout,
        target_modules=list(targets),
    )
    inject_adapter_in_model(settings, module)


def _add_lora(model: Any, config: ModelConfig) -> None:
    """LoRA at the attention's projections; the output layer is trained whole, all else frozen."""
    inject_lora(model, config)
    model.lm_head.requires_grad_(True)
    if architecture_of(model.config, config.base or "the model").weights_read:
        _include_lora_in_weights(model)


def _include_lora_in_weights(model: Any) -> None:
    """Makes the `weight` of every layer with LoRA include its matrices, for attention that reads weights and never
    calls the layers. There is no dropout on LoRA's input then.
    """
    from peft.tuners.lora import Linear

    class LinearWithWeight(Linear):  # type: ignore[misc]
        @property
        def weight(self) -> Tensor:
            return self.base_layer.weight + sum(self.get_delta_weight(name) for name in self.active_adapters)  # type: ignore[no-any-return]

    for layer in model.modules():
        if type(layer) is Linear:
            layer.__class__ = LinearWithWeight


@torch.no_grad()
def merged_state_dict(model: Any) -> dict[str, Tensor]:
    """The model's state dict under the plain model's names, with LoRA's matrices added to the weights."""
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    state = {}
    for key, value in model.state_dict().items():
        if ".lora_" in key:
            continue
        name, _, kind = key.partition(".base_layer.")
        if kind == "weight":
            value = value + sum(layers[name].get_delta_weight(adapter) for adapter in layers[name].active_adapters)
        state[f"{name}.{kind}" if kind else key] = value
    return state
