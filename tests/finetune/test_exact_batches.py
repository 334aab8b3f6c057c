"""Padded batches give each utterance the logits it has alone, forward and backward; labels weigh the loss."""

import pytest
import torch
from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC

from finetune.config import ModelConfig
from finetune.models.base import Batch, Example, pad_batch
from finetune.models.wav2vec2 import CTCModule

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
KINDS = [
    (Wav2Vec2Config, Wav2Vec2ForCTC, "group", False),
    (Wav2Vec2Config, Wav2Vec2ForCTC, "layer", True),
    (HubertConfig, HubertForCTC, "group", False),
]


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    lengths = (16_000, 9_001, 23_456, 400)
    return [
        Example(i, torch.randn(n, generator=generator), (5, 6)[: 1 if n == 400 else 2], n)
        for i, n in enumerate(lengths)
    ]


def module(kind: int) -> CTCModule:
    config_class, model_class, norm, stable = KINDS[kind]
    torch.manual_seed(0)
    model = model_class(config_class(**SMALL, feat_extract_norm=norm, do_stable_layer_norm=stable))
    return CTCModule(model, ModelConfig(mask_time_probability=0.0), blank=0)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_batched_logits_equal_single_ones(kind: int) -> None:
    config_class, model_class, norm, stable = KINDS[kind]
    torch.manual_seed(0)
    plain = model_class(config_class(**SMALL, feat_extract_norm=norm, do_stable_layer_norm=stable)).eval()
    ours = module(kind).eval()
    with torch.inference_mode():
        batched, frames = ours.log_probs(pad_batch(examples()))
        for row, example in enumerate(examples()):
            alone = plain(example.inputs[None]).logits[0].log_softmax(dim=-1)
            assert frames[row] == len(alone)
            torch.testing.assert_close(batched[row, : frames[row]], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_gradients_of_a_batch_are_the_sum_of_single_ones(kind: int) -> None:
    batched, single = module(kind).train(), module(kind).train()
    batched(pad_batch(examples()), None).backward()
    for example in examples():
        single(pad_batch([example]), None).backward()
    for (name, expected), found in zip(single.named_parameters(), batched.parameters(), strict=True):
        if expected.grad is not None:
            scale = expected.grad.abs().max().item() + 1e-6
            assert (found.grad - expected.grad).abs().max().item() <= 1e-3 * scale + 1e-5, name


def test_padding_would_change_a_group_normalised_model_without_it() -> None:
    """The trap itself: this test fails if transformers ever becomes exact, and then our normalisation can go."""
    torch.manual_seed(0)
    plain = Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL, feat_extract_norm="group")).eval()
    batch: Batch = pad_batch(examples())
    with torch.inference_mode():
        padded = plain(batch.inputs).logits[3, :1]
        alone = plain(examples()[3].inputs[None]).logits[0]
    assert (padded - alone).abs().max() > 1e-3
