"""Dropout from 16-bit draws: the shares that the probability promises, independent draws, and everywhere in a model."""

import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from finetune.models.regularisation import BitDropout, use_bit_dropout, use_bit_dropout_in_blocks


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_shares_and_scale(p: float) -> None:
    torch.manual_seed(0)
    found = BitDropout(p)(torch.ones(1_000_003))
    assert (found == 0).double().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / 1e6) ** 0.5 + 1e-5)
    assert found.max().item() == pytest.approx(1 / (1 - p), rel=1e-3)
    assert found.mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_draws_of_one_number_do_not_hang_together() -> None:
    """Each of the four parts of 64 bits drops on its own: pairs fall together as often as chance has it."""
    torch.manual_seed(0)
    dropped = (BitDropout(0.3)(torch.ones(800_000)) == 0).double().view(-1, 8)
    pairs = dropped.T @ dropped / len(dropped)
    off_diagonal = pairs[~torch.eye(8, dtype=torch.bool)]
    assert (off_diagonal - 0.09).abs().max() < 6 * (0.09 * 0.91 / 100_000) ** 0.5


def test_gradients_pass_where_elements_stay() -> None:
    inputs = torch.randn(64, 33, requires_grad=True)
    found = BitDropout(0.2)(inputs)
    found.sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad, (found != 0) / 0.8, atol=1e-4, rtol=0)


def test_the_generator_decides() -> None:
    ones = torch.ones(1000)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(BitDropout(0.5)(ones))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything(p: float) -> None:
    assert torch.equal(BitDropout(p)(torch.ones(10)), torch.full((10,), 1.0 - p))
    assert torch.equal(BitDropout(0.5).eval()(torch.ones(10)), torch.ones(10))


def test_every_dropout_of_a_model() -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**shape, hidden_dropout=0.3, vocab_size=5))
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
    use_bit_dropout(model)
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    assert list(found) == names
    assert {type(module) for module in found.values()} == {BitDropout}
    assert model.wav2vec2.encoder.dropout.p == 0.3


def test_whispers_blocks_drop_what_transformers_drops() -> None:
    """With p 1 nothing but the residual is left; in evaluation mode nothing is dropped, block by block."""
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    encoder = WhisperEncoder(WhisperConfig(**sizes, dropout=1.0))
    hidden = torch.randn(2, 7, 32)
    expected = encoder.layers[0].train()(hidden, None)
    torch.testing.assert_close(expected, hidden)
    plain = encoder.layers[1].eval()(hidden, None)
    use_bit_dropout_in_blocks(encoder.layers)
    torch.testing.assert_close(encoder.layers[0].train()(hidden, None), expected)
    torch.testing.assert_close(encoder.layers[1].eval()(hidden, None), plain)
    assert not torch.equal(plain, hidden)
