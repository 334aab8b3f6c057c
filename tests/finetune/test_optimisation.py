"""The schedule against its three stages, the parameter groups against their rule, latent masks against their share."""

import pytest
import torch
from torch import nn

from finetune.config import OptimisationConfig
from finetune.optimisation import FINAL_SHARE, make_optimiser, tri_stage
from preprocessing.spec_augment import latent_time_mask


def test_tri_stage_rises_holds_and_decays() -> None:
    config = OptimisationConfig(updates=1000, rise=0.1, hold=0.4)
    shares = [tri_stage(update, config) for update in range(1000)]
    assert shares[:100] == sorted(shares[:100])
    assert set(shares[100:500]) == {1.0}
    assert shares[500:] == sorted(shares[500:], reverse=True)
    assert shares[-1] == pytest.approx(FINAL_SHARE)
    assert shares[749] == pytest.approx(FINAL_SHARE**0.5)  # exponential: half-way is the square root


def test_vectors_are_not_decayed() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    module[0].weight.requires_grad_(True)
    decayed, free = make_optimiser(module, OptimisationConfig(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 3


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
