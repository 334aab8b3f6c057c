"""The convolutions for a GPU beside transformers' own: outputs and gradients, on the CPU, and where there is a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC

from finetune.models.fast import gpu as gpu_convolutions
from finetune.models.fast.gpu import BlockedConvolution, RowFeatureEncoder, arrange_for_gpu
from finetune.models.padding_invariance import ValidFrames

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [24] * 7,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 12,
}
GROUP: dict[str, Any] = {"feat_extract_norm": "group"}
LAYER: dict[str, Any] = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"))]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device that the convolutions are computed on so."""
    monkeypatch.setattr(gpu_convolutions, "DEVICES", frozenset({"cpu", "cuda"}))
    return str(request.param)


def wav2vec2(norm: dict[str, Any], **changes: Any) -> Any:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL | norm | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def gradients(model: Any, run: Callable[[Any], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    out = run(model)
    (out * torch.linspace(-1.0, 1.0, out.numel(), device=out.device).view(out.shape)).sum().backward()
    return out.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    return bool((found - expected).abs().max() <= tolerance * max(float(expected.abs().max()), 1.0))


@pytest.mark.parametrize("norm", [GROUP, LAYER])
@pytest.mark.parametrize("kernel", [128, 65, 19])
def test_forward_and_backward_as_transformers(device: str, norm: dict[str, Any], kernel: int) -> None:
    model = wav2vec2(norm, num_conv_pos_embeddings=kernel).to(device)
    waveforms = torch.randn(3, 9_000, generator=torch.Generator().manual_seed(1)).to(device) + 0.3

    def run(model: Any) -> Tensor:
        return model(waveforms).logits  # type: ignore[no-any-return]

    logits, expected = gradients(model, run)
    names = list(model.state_dict())
    arrange_for_gpu(model)
    assert isinstance(model.wav2vec2.feature_extractor, RowFeatureEncoder)
    assert isinstance(model.wav2vec2.encoder.pos_conv_embed.conv, BlockedConvolution)
    found_logits, found = gradients(model, run)
    assert list(model.state_dict()) == names
    assert same(found_logits, logits)
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not same(found[name], expected[name], 1e-3)]


@pytest.mark.parametrize("kind", [(Wav2Vec2ForCTC, Wav2Vec2Config), (HubertForCTC, HubertConfig)])
def test_a_padded_batch_is_each_utterance_alone(device: str, kind: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    model = kind[0](kind[1](**SMALL, **GROUP)).eval().to(device)
    frames_of = ValidFrames(model)
    arrange_for_gpu(model)
    lengths = [9_000, 7_777, 3_210]
    padded = torch.zeros(3, max(lengths), device=device)
    for row, length in zip(padded, lengths, strict=True):
        row[:length] = torch.randn(length) + 0.2
    n_samples = torch.tensor(lengths, device=device)
    n_frames = model._get_feat_extract_output_lengths(n_samples).long()
    mask = (torch.arange(max(lengths), device=device) < n_samples[:, None]).long()
    with torch.no_grad():
        frames_of.of(n_samples, n_frames)
        together = model(padded, attention_mask=mask).logits
        for row, length, frames, logits in zip(padded, lengths, n_frames, together, strict=True):
            assert same(logits[:frames], model(row[None, :length]).logits[0])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (4, 2), (5, 1), (7, 3), (3, 3)])
@pytest.mark.parametrize("frames", [7, 8, 30, 31])
def test_strided_convolutions_of_any_shape(kernel: int, stride: int, frames: int) -> None:
    convolution = torch.nn.Conv1d(3, 5, kernel, stride, bias=stride == 3)
    rows = torch.randn(2, frames, 3)
    expected = convolution(rows.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(gpu_convolutions._convolved(convolution, rows), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_as_close_as_transformers_own(device: str) -> None:
    model = wav2vec2(GROUP).to(device)
    waveforms = torch.randn(2, 9_000, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.no_grad():
        exact = model(waveforms).logits
        with torch.autocast(device, torch.bfloat16):
            theirs = (model(waveforms).logits - exact).abs().max()
            arrange_for_gpu(model)
            ours = (model(waveforms).logits - exact).abs().max()
    assert ours <= 2 * theirs


def test_other_devices_and_checkpointing_are_left_to_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_convolutions, "_first_rows", lambda *_: pytest.fail("computed by rows"))
    model = wav2vec2(GROUP)
    arrange_for_gpu(model)
    with monkeypatch.context() as patched:
        patched.setattr(gpu_convolutions, "convolve_rows", lambda *_: pytest.fail("computed by blocks"))
        assert model(torch.randn(1, 4_000)).logits.shape == (1, 12, 12)
    monkeypatch.setattr(gpu_convolutions, "DEVICES", frozenset({"cpu"}))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()(torch.randn(1, 4_000)).logits.sum().backward()


def test_narrow_positions_are_left_as_they_are() -> None:
    model = wav2vec2(GROUP, num_conv_pos_embeddings=15)
    arrange_for_gpu(model)
    assert not isinstance(model.wav2vec2.encoder.pos_conv_embed.conv, BlockedConvolution)
