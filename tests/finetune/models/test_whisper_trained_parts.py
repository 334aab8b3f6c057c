"""Parts of a Whisper that are trained: frozen blocks and their cached states, LoRA, and gradient checkpointing."""

import copy
from pathlib import Path

import pytest
import torch

from finetune.models.base import pad_batch
from finetune.models.frozen_features import FeatureCache
from finetune.models.whisper import WhisperRecogniser
from preprocessing.errors import UsageError
from tests.finetune.models.trainable_whisper import MULTILINGUAL, noise, recogniser


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run: a multilingual Whisper of random weights."""
    folder = tmp_path_factory.mktemp("base")
    ours = recogniser(scratch=MULTILINGUAL | {"n_audio_layer": 2}, language="de")
    ours.save(folder, ours.module)
    return str(folder)


def trained_parts(ours: WhisperRecogniser) -> set[str]:
    return {".".join(name.split(".")[1:4]) for name, weight in ours.module.named_parameters() if weight.requires_grad}


def from_base(base: str, **changes: object) -> WhisperRecogniser:
    return recogniser(scratch=None, base=base, language="de", **changes)


def gradients(ours: WhisperRecogniser, waveform: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    batch = pad_batch([ours.prepare(index, waveform, ours.encode("ja")) for index in (0, 1)])
    loss = ours.module.train()(batch, None)
    loss.backward()
    named = {name: weight.grad for name, weight in ours.module.named_parameters() if weight.grad is not None}
    return float(loss), named


@pytest.mark.parametrize("changes", [{}, {"trained_layers": 1}, {"lora_rank": 2, "dropout": 0.5}])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(base: str, changes: dict[str, object]) -> None:
    """LoRA's dropout is the same when a block is computed again; of an encoder block only the input is kept."""
    found, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        ours = from_base(base, **changes)
        if checkpointing:
            ours.gradient_checkpointing_enable()
        batch = pad_batch([ours.prepare(index, noise(1.0), ours.encode("ja")) for index in (0, 1)])
        n_values: list[int] = []

        def pack(saved: torch.Tensor, counted: list[int] = n_values) -> torch.Tensor:
            counted.append(saved.numel())
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            ours.module.train().encode(batch)
        torch.manual_seed(1)
        loss = ours.module(batch, None)
        loss.backward()
        named = {name: weight.grad for name, weight in ours.module.named_parameters() if weight.grad is not None}
        found.append((loss.detach(), named))
        kept.append(sum(n_values))
        assert trained_parts(ours) == {".".join(name.split(".")[1:4]) for name in named}
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)
    assert kept[1] < 0.5 * kept[0]
    copied = copy.deepcopy(ours.module)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
    assert float(copied.eval()(batch, None).detach()) != float(ours.module.eval()(batch, None).detach())


@pytest.mark.parametrize("trained_layers", [0, 1])
def test_frozen_blocks_learn_nothing_and_their_states_are_kept(base: str, tmp_path: Path, trained_layers: int) -> None:
    """Losses and gradients are those of the windows, but for the half precision of what is on the disk."""
    plain = from_base(base, trained_layers=trained_layers)
    cached = from_base(base, trained_layers=trained_layers, feature_cache=tmp_path)
    encoder = {name for name in trained_parts(plain) if name.startswith("encoder")}
    assert encoder == (
        {"encoder.blocks.1", "encoder.ln_post.weight", "encoder.ln_post.bias"} if trained_layers else set()
    )
    waveform = noise(0.7)
    (loss, expected), (found_loss, found) = gradients(plain, waveform), gradients(cached, waveform)
    assert found_loss == pytest.approx(loss, rel=1e-3)
    assert set(found) == set(expected) and len(expected) > 10
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-3 * float(gradient.abs().max()), rtol=2e-2, msg=name)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2  # a window filled with silence, and one with zeros
    again = from_base(base, trained_layers=trained_layers, feature_cache=tmp_path)
    again.module.lower = None  # type: ignore[assignment]  # not asked again
    for index in (0, 1):
        assert torch.equal(again.prepare(index, waveform, ()).inputs, cached.prepare(index, waveform, ()).inputs)


def test_spec_augment_masks_the_states_of_speech_alone(base: str, tmp_path: Path) -> None:
    """One for 20 ms, where a log-mel frame is 10 ms."""
    ours = from_base(base, trained_layers=1, feature_cache=tmp_path, spec_augment="SS")
    batch = pad_batch([ours.prepare(0, noise(1.0), ())])
    for seed in range(8):
        masked = ours.module.train()._masked(batch, torch.Generator().manual_seed(seed))
        assert not torch.equal(masked[..., :50], batch.inputs[..., :50])
        assert torch.equal(masked[..., 50:], batch.inputs[..., 50:])


def test_options_of_a_cached_state_are_part_of_its_name(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 1.0, [], lambda waveform, times: waveform[None] * times)
    for times in (1, 2, 1, 2):
        assert torch.equal(cache(torch.ones(3), times=times), torch.full((1, 3), float(times)))


@pytest.mark.parametrize("trained_layers", [None, 0])
def test_lora_is_saved_as_a_plain_model(base: str, tmp_path: Path, trained_layers: int | None) -> None:
    ours = from_base(base, lora_rank=2, trained_layers=trained_layers, dropout=0.0)
    trained = {name for name, weight in ours.module.named_parameters() if weight.requires_grad}
    assert trained and all(".lora_" in name for name in trained)
    assert {name.partition(".lora_")[0].rpartition(".")[2] for name in trained} == {"query", "key", "value", "out"}
    assert any(".encoder." in name for name in trained) == (trained_layers is None)
    assert any(".cross_attn.query." in name for name in trained)
    with torch.no_grad():
        for name, weight in ours.module.named_parameters():
            if ".lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    ours.module.eval()
    batch = pad_batch([ours.prepare(0, noise(0.7), ours.encode("ja"))])
    output = ours.evaluate(ours.module, batch)
    ours.save(tmp_path, ours.module)
    again = from_base(str(tmp_path))
    assert set(again.module.model.state_dict()) == set(from_base(base).module.model.state_dict())
    found = again.evaluate(again.module.eval(), batch)
    unchanged = from_base(base)
    difference = abs(unchanged.evaluate(unchanged.module.eval(), batch).loss - output.loss)
    assert abs(found.loss - output.loss) < 0.05 * difference  # of half precision


def test_what_cannot_be_frozen_or_kept_is_said(base: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--model\.trained_layers is 3, but the encoder has 2"):
        from_base(base, trained_layers=3)
    with pytest.raises(UsageError, match=r"--model\.feature_cache is set, but no block"):
        from_base(base, feature_cache=tmp_path)
