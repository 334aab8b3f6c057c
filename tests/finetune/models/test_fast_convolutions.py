"""The fast convolutions beside transformers' own: outputs of both kinds for every family, gradients of the GPU's.

The GPU's are computed on the CPU, too, and on a GPU where there is one.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC

from finetune.models.fast import cpu as cpu_convolutions
from finetune.models.fast import rows as row_convolutions
from finetune.models.fast.cpu import FastFeatureEncoder, FastPositions
from finetune.models.fast.folding import UNCHANGED, fold_group_norm
from finetune.models.fast.rows import BlockedConvolution, RowFeatureEncoder
from finetune.models.padding_invariance import PaddingInvariance
from tests.conftest import DEVICES
from tests.finetune.models.test_padding_invariance import KINDS, plain_model
from tests.finetune.models.test_padding_invariance import SMALL as SMALL_KINDS

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


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device that the convolutions are computed on so."""
    for name in ("ROWS", "BLOCKS"):
        monkeypatch.setattr(row_convolutions, name, frozenset({"cpu", "cuda"}))
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


@pytest.mark.parametrize("seconds", [0.025, 0.0451, 3.3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("convolutions", [cpu_convolutions, row_convolutions])
def test_every_family_has_the_logits_of_the_plain_model(
    convolutions: Any, kind: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROWS", "BLOCKS"):
        monkeypatch.setattr(row_convolutions, name, frozenset({"cpu"}))
    monkeypatch.setitem(SMALL_KINDS, "num_conv_pos_embeddings", 64)
    plain, fast = plain_model(kind).eval(), plain_model(kind).eval()
    report = convolutions.replace_convolutions(fast)
    assert "feature encoder: matrix products over rows" in report
    assert isinstance(fast.base_model.feature_extractor, FastFeatureEncoder | RowFeatureEncoder)
    if kind == "wav2vec2 group":
        assert f"positions: {UNCHANGED}" not in report
    inputs = torch.randn(2, round(seconds * 16_000), generator=torch.Generator().manual_seed(2)) + 0.5
    with torch.inference_mode():
        expected = plain.base_model.feature_extractor(inputs)
        torch.testing.assert_close(fast.base_model.feature_extractor(inputs), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(fast(inputs).logits, plain(inputs).logits, atol=1e-4, rtol=1e-4)


def _positions(model: Any) -> Any:
    return model.base_model.encoder.pos_conv_embed


@pytest.mark.parametrize("frames", [1, 70, 385, 386, 1000])
@pytest.mark.parametrize("kernel", [128, 101])
def test_positions_by_spectra_are_the_same(frames: int, kernel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SMALL_KINDS, "num_conv_pos_embeddings", kernel)
    plain = _positions(plain_model("wav2vec2 group").eval())
    hidden = torch.randn(2, frames, 48, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(FastPositions(plain)(hidden), plain(hidden), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("convolutions", [cpu_convolutions, row_convolutions])
def test_what_is_unknown_stays_and_is_told(convolutions: Any) -> None:
    model = plain_model("wav2vec2 group").eval()
    model.base_model.feature_extractor.conv_layers[2].conv.padding = (1,)
    original, kind = model.base_model.feature_extractor, type(model.base_model.feature_extractor)
    report = convolutions.replace_convolutions(model)
    assert model.base_model.feature_extractor is original and type(original) is kind
    assert f"feature encoder: {UNCHANGED} (Wav2Vec2NoLayerNormConvLayer)" in report


def test_what_differs_stays_and_is_told() -> None:
    """An order of operations that the names of its layers do not tell."""
    model = plain_model("wav2vec2 layer").eval()
    model.base_model.feature_extractor.conv_layers[1].register_forward_hook(lambda _, __, hidden: hidden + 1)
    original = model.base_model.feature_extractor
    assert "(the faster one differs)" in cpu_convolutions.replace_convolutions(model)
    assert model.base_model.feature_extractor is original


@pytest.mark.parametrize("lengths", [None, [400, 397, 11]])
def test_folding_is_the_convolution_then_the_normalisation(lengths: list[int] | None) -> None:
    generator = torch.Generator().manual_seed(4)
    convolution, norm = torch.nn.Conv1d(1, 6, 10, 5), torch.nn.GroupNorm(6, 6)
    torch.nn.init.normal_(norm.weight, generator=generator)
    torch.nn.init.normal_(norm.bias, generator=generator)
    waveforms = torch.randn(3, 2_005, generator=generator) + 0.7
    windows = waveforms.unfold(1, 10, 5)
    valid = None if lengths is None else torch.tensor(lengths)
    with torch.no_grad():
        weight, bias = fold_group_norm(norm, convolution.weight[:, 0], windows, valid)
        found = (windows.double() @ weight.transpose(1, 2) + bias[:, None]).transpose(1, 2).float()
        convolved = convolution(waveforms[:, None])
        for row, n in enumerate(lengths or [windows.shape[1]] * 3):
            expected = norm(convolved[row : row + 1, :, :n])[0]
            torch.testing.assert_close(found[row, :, :n], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", [GROUP, LAYER])
@pytest.mark.parametrize("kernel", [128, 65, 19])
def test_forward_and_backward_as_transformers(device: str, norm: dict[str, Any], kernel: int) -> None:
    model = wav2vec2(norm, num_conv_pos_embeddings=kernel).to(device)
    waveforms = torch.randn(3, 9_000, generator=torch.Generator().manual_seed(1)).to(device) + 0.3

    def run(model: Any) -> Tensor:
        return model(waveforms).logits  # type: ignore[no-any-return]

    logits, expected = gradients(model, run)
    names = list(model.state_dict())
    row_convolutions.replace_convolutions(model)
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
    padding_invariance = PaddingInvariance(model)
    row_convolutions.replace_convolutions(model)
    lengths = [9_000, 7_777, 3_210]
    padded = torch.zeros(3, max(lengths), device=device)
    for row, length in zip(padded, lengths, strict=True):
        row[:length] = torch.randn(length) + 0.2
    n_samples = torch.tensor(lengths, device=device)
    n_frames = model._get_feat_extract_output_lengths(n_samples).long()
    mask = (torch.arange(max(lengths), device=device) < n_samples[:, None]).long()
    with torch.no_grad():
        padding_invariance.set_lengths(n_samples, n_frames)
        together = model(padded, attention_mask=mask).logits
        for row, length, frames, logits in zip(padded, lengths, n_frames, together, strict=True):
            assert same(logits[:frames], model(row[None, :length]).logits[0])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (4, 2), (5, 1), (7, 3), (3, 3)])
@pytest.mark.parametrize("frames", [7, 8, 30, 31])
def test_strided_convolutions_of_any_shape(kernel: int, stride: int, frames: int) -> None:
    convolution = torch.nn.Conv1d(3, 5, kernel, stride, bias=stride == 3)
    rows = torch.randn(2, frames, 3)
    expected = convolution(rows.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(row_convolutions._convolved(convolution, rows), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_as_close_as_transformers_own(device: str) -> None:
    model = wav2vec2(GROUP).to(device)
    waveforms = torch.randn(2, 9_000, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.no_grad():
        exact = model(waveforms).logits
        with torch.autocast(device, torch.bfloat16):
            theirs = (model(waveforms).logits - exact).abs().max()
            row_convolutions.replace_convolutions(model)
            ours = (model(waveforms).logits - exact).abs().max()
    assert ours <= 2 * theirs


@pytest.mark.parametrize("norm", [GROUP, LAYER])
@pytest.mark.parametrize("lengths", [[9_600], [9_600, 5_000]])
def test_bfloat16_on_a_cpu_is_as_close_as_transformers_own(norm: dict[str, Any], lengths: list[int]) -> None:
    """Of each utterance alone, and in a padded batch; positions by spectra too."""
    exact, theirs, ours = (wav2vec2(norm, num_conv_pos_embeddings=64) for _ in range(3))
    theirs.to(torch.bfloat16)
    invariance = PaddingInvariance(ours)
    told = cpu_convolutions.replace_convolutions(ours, torch.bfloat16)
    assert UNCHANGED not in told
    ours.to(torch.bfloat16)
    waveforms = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in lengths]
    inputs = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    n_samples = torch.tensor(lengths)
    n_frames = ours._get_feat_extract_output_lengths(n_samples)
    with torch.inference_mode():
        if len(lengths) > 1:
            invariance.set_lengths(n_samples, n_frames)
            positions = torch.arange(inputs.shape[1]) < n_samples[:, None]
            batch = ours(inputs.bfloat16(), attention_mask=positions).logits.float()
        else:
            batch = ours(inputs.bfloat16()).logits.float()
        for found, waveform, n in zip(batch, waveforms, n_frames.tolist(), strict=True):
            expected = exact(waveform[None]).logits[0]
            their_error = (theirs(waveform[None].bfloat16()).logits[0].float() - expected).abs().mean()
            assert (found[:n] - expected).abs().mean() <= 1.2 * their_error


def test_other_devices_and_checkpointing_are_left_to_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_convolutions, "_first_rows", lambda *_: pytest.fail("computed by rows"))
    model = wav2vec2(GROUP)
    row_convolutions.replace_convolutions(model)
    monkeypatch.setattr(row_convolutions, "ROWS", frozenset({"cuda"}))
    with monkeypatch.context() as patched:
        patched.setattr(row_convolutions, "convolve_rows", lambda *_: pytest.fail("computed by blocks"))
        assert model(torch.randn(1, 4_000)).logits.shape == (1, 12, 12)
    for name in ("ROWS", "BLOCKS"):
        monkeypatch.setattr(row_convolutions, name, frozenset({"cpu"}))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()(torch.randn(1, 4_000)).logits.sum().backward()


def test_narrow_positions_are_left_as_they_are() -> None:
    model = wav2vec2(GROUP, num_conv_pos_embeddings=15)
    row_convolutions.replace_convolutions(model)
    assert not isinstance(model.wav2vec2.encoder.pos_conv_embed.conv, BlockedConvolution)
