"""The LSTM-CTC model: exact in batches, against torch's own packed LSTM, saved and loaded by transformers."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchaudio.compliance import kaldi
from transformers import AutoModelForCTC

from finetune.models.base import Example, pad_batch
from finetune.models.lstm import LSTMModule
from finetune.models.lstm_ctc import BidirectionalLayer, LSTMConfig, LSTMForCTC, make_extractor, mirror_of
from finetune.training.precision import lstm_computes_bfloat16_on_cpu
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import GlobalNorm
from tests.conftest import DEMO, read_manifest
from tests.known_sounds import white

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"hidden_size": 24, "num_layers": 2, "conv_channels": 8, "vocab_size": 12, "dropout": 0.0}
KINDS = [
    {},
    {"subsampling_factor": 4, "normalisation": "global"},
    {"features": "mfcc", "deltas": 2, "subsampling": "stack", "subsampling_factor": 4},
    {"features": "kaldi_fbank", "n_mels": 23, "deltas": 1, "subsampling_factor": 1},
    {"subsampling": "stack", "subsampling_factor": 2},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


def model(kind: dict[str, object]) -> LSTMForCTC:
    torch.manual_seed(0)
    built = LSTMForCTC(LSTMConfig(**SMALL, **kind))
    if isinstance(built.norm, GlobalNorm):
        built.norm.mean.normal_()
        built.norm.deviation.uniform_(0.5, 2.0)
    nn.init.normal_(built.lm_head.weight, std=0.1)  # or logits would be too small to differ
    return built


def examples() -> list[Example]:
    """Speech: features of white noise hardly vary, and dividing by that blows their rounding up."""
    rows = read_manifest(DEMO / "corpus" / "train.jsonl")[:4]
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in rows]
    lengths = (16_000, 9_001, 23_456, 2_400)
    cut = [waveform[8_000 : 8_000 + n] for waveform, n in zip(waveforms, lengths, strict=True)]
    return [Example(i, w, (5, 6), len(w)) for i, w in enumerate(cut)]


def test_a_forget_gate_begins_open() -> None:
    lstm = model({}).layers[0].forwards
    gates = lstm.bias_ih_l0.view(4, -1)  # input, forget, cell, output
    assert gates.unique(dim=1).flatten().tolist() == [0.0, 1.0, 0.0, 0.0] and not lstm.bias_hh_l0.any()


def test_dropout_is_before_each_layer_and_the_output() -> None:
    parts = LSTMForCTC(LSTMConfig(**SMALL | {"dropout": 0.3})).named_modules()
    dropped = {name: part.p for name, part in parts if isinstance(part, nn.Dropout)}
    assert dropped == {"layers.0.dropout": 0.3, "layers.1.dropout": 0.3, "dropout": 0.3}


def test_kaldis_features_are_those_of_16_bit_integers() -> None:
    """Its floor of energies lies far above those of quiet speech between -1 and 1."""
    quiet = audio.quantise(0.01 * white(8_000))
    found = make_extractor(LSTMConfig(features="mfcc", n_mels=23))(quiet)
    torch.testing.assert_close(found, kaldi.mfcc(32_768 * quiet[None], dither=0.0).T, atol=1e-3, rtol=0)


@kinds
def test_batched_logits_equal_single_ones(kind: dict[str, object]) -> None:
    ours = LSTMModule(model(kind).eval(), None, blank=0)
    with torch.inference_mode():
        batched, frames = ours.log_probs(pad_batch(examples()))
        for row, example in enumerate(examples()):
            alone = ours.model(example.inputs[None]).logits[0].log_softmax(dim=-1)
            assert frames[row] == len(alone)
            torch.testing.assert_close(batched[row, : frames[row]], alone, atol=1e-5, rtol=0)


@kinds
def test_gradients_of_a_batch_are_the_sum_of_single_ones(kind: dict[str, object]) -> None:
    batched, single = (LSTMModule(model(kind).train(), None, blank=0) for _ in range(2))
    n_labels = sum(len(example.labels) for example in examples())  # the loop weighs by labels
    (batched(pad_batch(examples()), None) / n_labels).backward()
    for example in examples():
        (single(pad_batch([example]), None) / n_labels).backward()
    for (name, expected), found in zip(single.named_parameters(), batched.parameters(), strict=True):
        assert expected.grad is not None and expected.grad.abs().max() > 0, name
        # each is a sum over hundreds of frames, in another order
        largest = expected.grad.abs().max().item()
        assert (found.grad - expected.grad).abs().max().item() <= 3e-5 * max(largest, 1.0), name


def test_a_layer_is_torchs_bidirectional_lstm_over_packed_sequences() -> None:
    torch.manual_seed(0)
    layer, oracle = BidirectionalLayer(7, 5, 0.0), nn.LSTM(7, 5, batch_first=True, bidirectional=True)
    weights = dict(layer.forwards.named_parameters())
    weights |= {f"{name}_reverse": weight for name, weight in layer.backwards.named_parameters()}
    oracle.load_state_dict(weights)
    frames, n_frames = torch.randn(4, 11, 7), torch.tensor([4, 11, 1, 8])
    packed = pack_padded_sequence(layer.norm(frames), n_frames, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(oracle(packed)[0], batch_first=True)
    found = layer(frames, mirror_of(n_frames, 11))
    for row, n in enumerate(n_frames.tolist()):
        torch.testing.assert_close(found[row, :n], expected[row, :n], atol=1e-6, rtol=0)


@kinds
def test_the_stated_output_length_is_the_real_one(kind: dict[str, object]) -> None:
    ours = model(kind).eval()
    shortest = ours.extractor.shortest
    with torch.inference_mode():
        for n_samples in (shortest, 401, 480, 559, 560, 561, 719, 720, 880, 1_040, 1_200, 2_345, 16_000):
            expected = int(ours.n_frames(torch.tensor([n_samples])))
            assert ours(torch.ones(1, n_samples)).logits.shape == (1, expected, SMALL["vocab_size"])
    assert ours.n_frames(torch.tensor([shortest - 1, 0])).tolist() == [0, 0]
    a_second = 100 if ours.config.features == "log_mel" else 98
    assert ours.n_frames(torch.tensor([SAMPLE_RATE])) == -(-a_second // ours.config.subsampling_factor)


@kinds
def test_transformers_loads_what_is_saved(kind: dict[str, object], tmp_path: Path) -> None:
    """To the bit: weights, corpus statistics, and the filters that no file holds."""
    ours = model(kind).eval()
    ours.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = AutoModelForCTC.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, LSTMForCTC)
    batch = pad_batch(examples())
    mask = (torch.arange(batch.inputs.shape[1]) < batch.lengths[:, None]).long()
    with torch.inference_mode():
        assert torch.equal(loaded(batch.inputs, mask).logits, ours(batch.inputs, mask).logits)


@pytest.mark.skipif(not lstm_computes_bfloat16_on_cpu(), reason="oneDNN's LSTM has no bfloat16 on this processor")
def test_lower_precision_keeps_the_loss() -> None:
    ours = LSTMModule(model({}).eval(), None, blank=0)
    with torch.inference_mode():
        expected = ours(pad_batch(examples()), None)
        with torch.autocast("cpu", torch.bfloat16):
            found = ours(pad_batch(examples()), None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)
