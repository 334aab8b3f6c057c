"""A part trained, a plain model saved: LoRA against peft's own merging, adapters against MMS's rule, checkpointing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCTC, Wav2Vec2FeatureExtractor

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.models import build
from finetune.models.base import Example, pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Recogniser
from preprocessing.errors import UsageError
from preprocessing.units import Vocabulary
from tests.conftest import DEMO
from tests.finetune.models.test_architectures import OTHERS, base_of
from tests.finetune.models.test_padding_invariance import KINDS, plain_model

BASE = str(DEMO / "wav2vec2")


def recogniser(base: str = BASE, **changes: object) -> Wav2Vec2Recogniser:
    built = build(ModelConfig(base=base, **{"dropout": 0.0} | changes), [], seed=0)  # type: ignore[arg-type]
    assert isinstance(built, Wav2Vec2Recogniser)
    return built


def trained(ours: Wav2Vec2Recogniser, updates: int = 3) -> Wav2Vec2Recogniser:
    generator = torch.Generator().manual_seed(0)
    batch = pad_batch([Example(i, torch.randn(16_000, generator=generator), (5, 6, 7), 16_000) for i in range(2)])
    optimiser = torch.optim.AdamW([p for p in ours.module.parameters() if p.requires_grad], lr=1e-2)
    ours.module.train()
    for _ in range(updates):
        ours.module(batch, None).backward()
        optimiser.step()
        optimiser.zero_grad()
    ours.module.eval()
    return ours


def test_lora_trains_little_and_saves_a_plain_model(tmp_path: Path) -> None:
    untouched = recogniser()
    ours = trained(recogniser(lora_rank=4))
    named = dict(ours.module.model.named_parameters())
    assert {name.split(".")[-2] if "lora" not in name else "lora" for name, p in named.items() if p.requires_grad} == {
        "lora",
        "lm_head",
    }
    ours.save(tmp_path, ours.module)
    plain = AutoModelForCTC.from_pretrained(tmp_path).eval()
    assert plain.state_dict().keys() == untouched.module.model.state_dict().keys()
    inputs = torch.randn(1, 12_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = ours.module.model(inputs).logits
        torch.testing.assert_close(plain(inputs).logits, expected, atol=1e-4, rtol=1e-4)
        assert (untouched.module.model(inputs).logits - expected).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["wavlm base", "wavlm large", "conformer", "conformer rotary", "w2v-bert"])
def test_lora_of_every_attention_computes_what_it_saves(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(tmp_path / "base", kind, monkeypatch)
    ours = recogniser(base, lora_rank=4)
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(16_000, generator=generator) for _ in range(2)]
    batch = pad_batch([ours.prepare(i, wave, (5, 6, 7)) for i, wave in enumerate(waves)])
    optimiser = torch.optim.AdamW([p for p in ours.module.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        ours.module.train()(batch, None).backward()
        optimiser.step()
    assert {name for name, p in ours.module.named_parameters() if p.requires_grad and not p.grad.any()} == set()
    ours.module.eval()
    ours.save(tmp_path / "saved", ours.module)
    plain, untouched = recogniser(str(tmp_path / "saved")), recogniser(base)
    assert plain.module.model.state_dict().keys() == untouched.module.model.state_dict().keys()
    untouched.module.model.lm_head.load_state_dict(plain.module.model.lm_head.state_dict())
    with torch.inference_mode():
        expected, found, without = (one.module.eval().log_probs(batch)[0] for one in (ours, plain, untouched))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (without - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_time_prob": 0.3},
        {"mask_time_prob": 0.0, "mask_feature_prob": 0.3, "mask_feature_length": 4},
        {"mask_time_prob": 0.3, "lora_rank": 2},
    ],
)
@pytest.mark.parametrize("kind", ["wav2vec2 group", "mms", "wavlm base", "conformer", "conformer rotary", *OTHERS])
def test_every_trained_parameter_has_a_gradient(
    kind: str, changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDP waits for ever for the gradient of a parameter that the loss does not depend on."""
    assert kind in {**KINDS, **OTHERS}
    ours = recogniser(base_of(tmp_path / "base", kind, monkeypatch), **changes)
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(16_000, generator=generator) for _ in range(2)]
    batch = pad_batch([ours.prepare(i, wave, (5, 6, 7)) for i, wave in enumerate(waves)])
    ours.module.train()(batch, generator).backward()
    assert [name for name, p in ours.module.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.fixture
def mms(tmp_path: Path) -> str:
    """A model shaped as MMS, small."""
    folder = tmp_path / "mms"
    vocabulary = Vocabulary.of_characters(["ABCDEFG"])
    plain_model("mms").save_pretrained(folder)
    vocabulary.save(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return str(folder)


def test_adapters_only_leaves_the_rest_for_every_language(mms: str, tmp_path: Path) -> None:
    before = AutoModelForCTC.from_pretrained(mms).state_dict()
    ours = trained(recogniser(mms, adapters_only=True))
    ours.save(tmp_path / "saved", ours.module)
    after = AutoModelForCTC.from_pretrained(tmp_path / "saved").state_dict()
    changed = {name for name, value in after.items() if name in before and not torch.equal(value, before[name])}
    assert changed and all("adapter_layer" in name or "lm_head" in name for name in changed)


def lora_layers(**changes: object) -> dict[str, Any]:
    """The layers with LoRA by their names."""
    from peft.tuners.lora import LoraLayer

    return {n: part for n, part in recogniser(**changes).module.named_modules() if isinstance(part, LoraLayer)}


@pytest.mark.parametrize(("alpha", "scale"), [(None, 2.0), (6, 1.5)])
def test_lora_alpha_over_its_rank_is_the_scale(alpha: int | None, scale: float) -> None:
    layers = lora_layers(lora_rank=4, lora_alpha=alpha)
    assert {value for layer in layers.values() for value in layer.scaling.values()} == {scale}


def test_lora_is_at_each_projection_of_the_attention_and_has_the_dropout() -> None:
    layers = lora_layers(lora_rank=2, dropout=0.3)
    assert {name.rpartition(".")[2] for name in layers} == {"q_proj", "k_proj", "v_proj", "out_proj"}
    dropouts = [dropout for layer in layers.values() for dropout in layer.lora_dropout.values()]
    assert {getattr(dropout, "p", 0.0) for dropout in dropouts} == {0.3}


def test_a_model_without_adapters_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no language adapters.*mms-1b-all"):
        recogniser(adapters_only=True)


def test_gradient_checkpointing_and_attention_change_nothing() -> None:
    plain, saving = recogniser(), recogniser(attn_implementation="eager")
    saving.gradient_checkpointing_enable()
    batch = pad_batch([Example(0, torch.randn(9_000), (5, 6), 9_000), Example(1, torch.randn(16_000), (5,), 16_000)])
    for ours in (plain, saving):
        for dropout in (part for part in ours.module.modules() if isinstance(part, torch.nn.Dropout)):
            dropout.p = 0.0
    losses = [ours.module.train()(batch, None) for ours in (plain, saving)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for (name, expected), found in zip(plain.module.named_parameters(), saving.module.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"family": "lstm", "lora_rank": 4}, "--model.lora_rank is 4"),
        ({"family": "lstm", "timestamp_share": 0.5}, "--model.timestamp_share is 0.5, .*; expected whisper with it"),
        ({"family": "whisper-ctc", "label_smoothing_factor": 0.1}, "--model.label_smoothing_factor is 0.1"),
        ({"family": "whisper", "attn_implementation": "eager"}, "--model.attn_implementation is eager"),
        ({"lora_rank": 4, "adapters_only": True}, "one of the two"),
        ({"lora_alpha": 8}, "--model.lora_alpha is 8 and --model.lora_rank 0"),
    ],
)
def test_contradictions_are_named(changes: dict[str, object], named: str) -> None:
    model = ModelConfig(base="x", **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=named):
        TrainConfig(output_dir=DEMO, model=model, data=DataConfig(["x"], validation="x")).check()
