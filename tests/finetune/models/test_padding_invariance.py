"""Padded batches give each utterance the logits it has alone, forward and backward; labels weigh the loss."""

from typing import Any

import pytest
import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioForCTC,
    HubertConfig,
    HubertForCTC,
    UniSpeechSatConfig,
    UniSpeechSatForCTC,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerForCTC,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
)

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example, pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Module

SMALL = {
    "vocab_size": 12,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "activation_dropout": 0.0,
    "final_dropout": 0.0,
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
ADAPTER = {"add_adapter": True, "output_hidden_size": 48}
CONFORMER = LAYER | {"conformer_conv_dropout": 0.0, "max_source_positions": 50}
# each small, but with what its published configuration has and wav2vec2's has not
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "wav2vec2 group": (Wav2Vec2Config, Wav2Vec2ForCTC, {}),
    "wav2vec2 layer": (Wav2Vec2Config, Wav2Vec2ForCTC, LAYER),
    "xls-r": (Wav2Vec2Config, Wav2Vec2ForCTC, LAYER | {"num_conv_pos_embeddings": 32}),
    "mms": (Wav2Vec2Config, Wav2Vec2ForCTC, LAYER | {"adapter_attn_dim": 8}),
    "hubert base": (HubertConfig, HubertForCTC, {}),
    "hubert large": (HubertConfig, HubertForCTC, LAYER),
    "wavlm base": (WavLMConfig, WavLMForCTC, {}),
    "wavlm large": (WavLMConfig, WavLMForCTC, LAYER),
    "data2vec": (Data2VecAudioConfig, Data2VecAudioForCTC, {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 19}),
    "conformer": (Wav2Vec2ConformerConfig, Wav2Vec2ConformerForCTC, CONFORMER),
    "conformer rotary": (
        Wav2Vec2ConformerConfig,
        Wav2Vec2ConformerForCTC,
        CONFORMER | {"position_embeddings_type": "rotary"},
    ),
    "unispeech-sat": (UniSpeechSatConfig, UniSpeechSatForCTC, {"num_clusters": 4}),
}
ADAPTERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "wav2vec2 adapter": (Wav2Vec2Config, Wav2Vec2ForCTC, ADAPTER),
    "conformer adapter": (Wav2Vec2ConformerConfig, Wav2Vec2ConformerForCTC, CONFORMER | ADAPTER),
}


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    lengths = (16_000, 9_001, 23_456, 400)
    return [
        Example(i, torch.randn(n, generator=generator), (5, 6)[: 1 if n == 400 else 2], n)
        for i, n in enumerate(lengths)
    ]


def plain_model(kind: str) -> Any:
    """The same weights at each call."""
    config_class, model_class, changes = (KINDS | ADAPTERS)[kind]
    torch.manual_seed(0)
    model = model_class(config_class(**SMALL | changes))
    for parameter in model.parameters():  # biases begin as zeros, and would hide what leaks through them
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    return model


def module(kind: str) -> Wav2Vec2Module:
    return Wav2Vec2Module(plain_model(kind), ModelConfig(mask_time_prob=0.0), blank=0)


@pytest.mark.parametrize("kind", [*KINDS, *ADAPTERS])
def test_batched_logits_equal_single_ones(kind: str) -> None:
    plain, ours = plain_model(kind).eval(), module(kind).eval()
    with torch.inference_mode():
        batched, frames = ours.log_probs(pad_batch(examples()))
        for row, example in enumerate(examples()):
            alone = plain(example.inputs[None]).logits[0].log_softmax(dim=-1)
            assert frames[row] == len(alone)
            torch.testing.assert_close(batched[row, : frames[row]], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [*KINDS, *ADAPTERS])
def test_gradients_of_a_batch_are_the_sum_of_single_ones(kind: str) -> None:
    batched, single = module(kind).train(), module(kind).train()
    batched(pad_batch(examples()), None).backward()
    for example in examples():
        single(pad_batch([example]), None).backward()
    for (name, expected), found in zip(single.named_parameters(), batched.parameters(), strict=True):
        if expected.grad is not None:
            scale = expected.grad.abs().max().item() + 1e-6
            assert (found.grad - expected.grad).abs().max().item() <= 1e-3 * scale + 1e-5, name


def test_a_plain_call_after_a_padded_batch_is_a_plain_call() -> None:
    for kind in ("wav2vec2 group", "data2vec"):
        ours, inputs = module(kind).eval(), examples()[1].inputs[None]
        with torch.inference_mode():
            ours.log_probs(pad_batch(examples()))
            found, expected = ours.model(inputs).logits, plain_model(kind).eval()(inputs).logits
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # convolutions are products over rows


@pytest.mark.parametrize("kind", ["wav2vec2 group", "wav2vec2 layer", "data2vec", "wavlm base"])
def test_gradients_with_checkpointing_are_the_same(kind: str) -> None:
    """Activations are computed again on the way back, with the lengths of the batch that they belong to; convolutions
    as transformers has them.
    """
    plain, saving = module(kind).train(), module(kind).train()
    saving.model.gradient_checkpointing_enable({"use_reentrant": False})
    for ours in (plain, saving):
        ours(pad_batch(examples()), None).backward()
    for (name, expected), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if expected.grad is not None:
            largest = max(1.0, float(expected.grad.abs().max()))
            torch.testing.assert_close(found.grad, expected.grad, rtol=0.0, atol=3e-5 * largest, msg=name)


def test_padding_would_change_a_group_normalised_model_without_it() -> None:
    """The trap itself: this test fails if transformers ever becomes exact, and then our normalisation can go."""
    torch.manual_seed(0)
    plain = Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL, feat_extract_norm="group")).eval()
    batch: Batch = pad_batch(examples())
    with torch.inference_mode():
        padded = plain(batch.inputs).logits[3, :1]
        alone = plain(examples()[3].inputs[None]).logits[0]
    assert (padded - alone).abs().max() > 1e-3
