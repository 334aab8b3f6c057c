"""The schedule against its three stages, the parameter groups against their rule, latent masks against their share."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from finetune.config import ModelConfig, OptimisationConfig
from finetune.models import build
from finetune.models.base import Example, pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Recogniser
from finetune.training.optimisation import FINAL_SHARE, make_optimiser, make_schedule, peak_share
from preprocessing.augment.spec_augment import latent_time_mask
from tests.conftest import DEMO
from tests.finetune.models.test_architectures import base_of
from tests.finetune.models.test_padding_invariance import ADAPTERS, KINDS


def recogniser() -> Wav2Vec2Recogniser:
    built = build(ModelConfig(base=str(DEMO / "wav2vec2"), freeze_feature_encoder=False), [], seed=0)
    assert isinstance(built, Wav2Vec2Recogniser)
    return built


def test_tri_stage_rises_holds_and_decays() -> None:
    config = OptimisationConfig(max_steps=1000, warmup_ratio=0.1, hold_ratio=0.4)
    shares = [peak_share(update, config) for update in range(1000)]
    assert shares[:100] == sorted(shares[:100])
    assert set(shares[100:500]) == {1.0}
    assert shares[500:] == sorted(shares[500:], reverse=True)
    assert shares[-1] == pytest.approx(FINAL_SHARE)
    assert shares[749] == pytest.approx(FINAL_SHARE**0.5)  # exponential: half-way is the square root


@pytest.mark.parametrize("schedule", ["tri-stage", "linear", "cosine"])
def test_every_schedule_rises_and_falls_and_moves_each_group_alike(schedule: str) -> None:
    config = OptimisationConfig(
        max_steps=200,
        warmup_ratio=0.1,
        hold_ratio=0.2,
        lr_scheduler_type=schedule,  # type: ignore[arg-type]
        layer_decay=0.5,
    )
    optimiser = make_optimiser(recogniser(), config)
    peaks = [group["lr"] for group in optimiser.param_groups]
    rates = []
    lambda_lr = make_schedule(optimiser, config)
    for _ in range(200):
        rates.append([rate / peak for rate, peak in zip(lambda_lr.get_last_lr(), peaks, strict=True)])
        optimiser.step()
        lambda_lr.step()
    shares = [share for share, *others in rates if others == pytest.approx([share] * len(others))]
    assert len(shares) == 200
    assert max(shares) == pytest.approx(1.0)
    assert shares[:20] == sorted(shares[:20]) and shares[59:] == sorted(shares[59:], reverse=True)
    assert shares[-1] < 0.06


def test_adam_is_that_of_wav2vec2s_recipes() -> None:
    """fairseq's examples/wav2vec/config/finetuning."""
    defaults = make_optimiser(recogniser(), OptimisationConfig()).defaults
    assert (defaults["betas"], defaults["eps"]) == ((0.9, 0.98), 1e-8)


def test_vectors_are_not_decayed() -> None:
    free, decayed = make_optimiser(recogniser(), OptimisationConfig(weight_decay=0.1)).param_groups
    assert all(p.ndim > 1 for p in decayed["params"]) and decayed["weight_decay"] == 0.1
    assert all(p.ndim == 1 for p in free["params"]) and free["weight_decay"] == 0.0


@pytest.mark.parametrize("kind", ["wav2vec2 group", "wavlm base", "conformer", "w2v-bert"])
def test_weight_decay_leaves_out_what_transformers_leaves_out(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainer also decays the one vector that is neither a bias nor of a norm: the embedding of masked frames."""
    recogniser = build(ModelConfig(base=base_of(tmp_path, kind, monkeypatch)), [], seed=0)
    names = {id(parameter): name for name, parameter in recogniser.module.named_parameters()}
    groups = make_optimiser(recogniser, OptimisationConfig(weight_decay=0.3)).param_groups
    decayed = {names[id(p)] for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    trained = {name for name, parameter in recogniser.module.named_parameters() if parameter.requires_grad}
    theirs = Trainer.get_decay_parameter_names(None, recogniser.module)
    assert decayed == {name for name in theirs if name in trained and not name.endswith("masked_spec_embed")}


def test_layers_learn_the_slower_the_deeper_they_lie() -> None:
    """The output layer at the full rate, the top transformer layer at a step below, the feature encoder lowest."""
    ours = recogniser()
    rates: dict[int, float] = {}
    for group in make_optimiser(ours, OptimisationConfig(learning_rate=1.0, layer_decay=0.8)).param_groups:
        rates |= {id(parameter): group["lr"] for parameter in group["params"]}
    model: Any = ours.module.model
    layers = model.base_model.encoder.layers
    assert rates[id(model.lm_head.weight)] == 1.0
    for index, layer in enumerate(layers):
        expected = 0.8 ** (len(layers) - index)
        assert {round(rates[id(p)], 6) for p in layer.parameters()} == {round(expected, 6)}
    below = {rates[id(p)] for p in model.base_model.feature_extractor.parameters()}
    assert {round(rate, 6) for rate in below} == {round(0.8 ** (len(layers) + 1), 6)}


@pytest.mark.parametrize("kind", [*KINDS, *ADAPTERS, "w2v-bert", "w2v-bert adapter"])
def test_a_layer_learns_the_faster_the_later_it_is_called(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which transformers calls the parts of a model: the norm after the transformer is above it."""
    ours = build(ModelConfig(base=base_of(tmp_path, kind, monkeypatch)), [], seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    called: list[int] = []
    for name, part in ours.module.named_modules():
        if not list(part.children()) and list(part.parameters()):
            above = ours.layers_above(f"{name}.weight")
            part.register_forward_hook(lambda *_, above=above: called.append(above))
    waveform = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    ours.module.eval()(pad_batch([ours.prepare(0, waveform, (5, 6))]), None)
    assert called == sorted(called, reverse=True)
    assert {*called} == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["wav2vec2 adapter", "w2v-bert adapter"])
def test_masks_cover_the_frames_of_the_transformer_not_of_an_adapter(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(tmp_path, kind, monkeypatch)
    ours = build(ModelConfig(base=base, mask_time_prob=0.3, dropout=0.0), [], seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    draw, masked = ours.module.model.base_model._mask_hidden_states, []

    def noted(hidden: torch.Tensor, **options: Any) -> torch.Tensor:
        drawn: torch.Tensor = draw(hidden, **options)
        masked.append((drawn != hidden).any(dim=-1)[0])
        return drawn

    monkeypatch.setattr(ours.module.model.base_model, "_mask_hidden_states", noted)
    batch = pad_batch([ours.prepare(0, torch.randn(32_000), (5,)), ours.prepare(1, torch.randn(20_000), (5,))])
    for seed in range(100):
        ours.module.train()(batch, torch.Generator().manual_seed(seed))
    share = torch.stack(masked).float().mean(dim=0)
    assert share[10:-10].min() > 0.1
    assert share.mean().item() == pytest.approx(0.26, abs=0.04)  # less than 0.3, as spans overlap


def test_only_the_head_learns_while_told() -> None:
    ours = recogniser()
    batch = pad_batch([Example(0, torch.randn(8_000), (5, 6), 8_000)])
    for only in (True, False):
        ours.train_head_only(only)
        ours.module.zero_grad()
        ours.module(batch, None).backward()
        below = [p.grad for name, p in ours.module.named_parameters() if "lm_head" not in name]
        assert ours.module.model.lm_head.weight.grad is not None
        assert all(gradient is None for gradient in below) == only


def test_latent_masks_cover_their_share_within_each_length() -> None:
    lengths = torch.tensor([200, 120, 7, 1])
    masks = torch.stack(
        [
            latent_time_mask(
                lengths, 200, mask_probability=0.2, mask_length=10, generator=torch.Generator().manual_seed(seed)
            )
            for seed in range(400)
        ]
    )
    for row, length in enumerate(lengths.tolist()):
        assert not masks[:, row, length:].any()
    # spans start uniformly without replacement: a frame in the middle stays free unless one of 10 starts is drawn
    expected = 1 - (1 - 4 / 191) ** 10
    assert masks[:, 0, 20:180].float().mean().item() == pytest.approx(expected, abs=0.02)
    assert not masks[:, 2:].any()  # a span would hide the whole clip
