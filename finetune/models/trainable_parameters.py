"""Which part of a CTC model is trained: all but the feature encoder, LoRA beside the attention, or language adapters.

Whatever was trained, what is saved is a plain transformers model: LoRA's matrices are added into the weights that they
stand beside. MMS's adapters (Pratap et al. 2023, arXiv 2305.13516, section 4.1) are part of that model already.
"""

from typing import Any

import torch
from torch import Tensor

from finetune.config import ModelConfig
from preprocessing.cli.errors import UsageError

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")  # every projection of the attention


def choose_trained(model: Any, config: ModelConfig) -> None:
    """Freeze what the configuration leaves as it is. Raises UsageError where the model has no such part."""
    if config.adapters_only:
        _train_adapters(model, config)
    elif config.lora_rank > 0:
        _add_lora(model, config)
    elif config.freeze_feature_encoder and config.scratch is None:
        model.freeze_feature_encoder()


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


def _add_lora(model: Any, config: ModelConfig) -> None:
    """Low-rank matrices beside the attention's projections (Hu et al. 2021, arXiv 2106.09685), and the head whole."""
    from peft import LoraConfig, inject_adapter_in_model

    head_trained = [parameter.requires_grad for parameter in model.lm_head.parameters()]
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=round(config.lora_rank * config.lora_scale),
        lora_dropout=config.dropout,
        target_modules=list(LORA_TARGETS),
    )
    inject_adapter_in_model(settings, model)
    for parameter, trained in zip(model.lm_head.parameters(), head_trained, strict=True):
        parameter.requires_grad_(trained)


@torch.no_grad()
def plain_state(model: Any) -> dict[str, Tensor]:
    """The model's weights under the names of the plain model, LoRA's matrices added in."""
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
