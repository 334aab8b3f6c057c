"""wav2vec 2.0's latent masks over frames and channels against closed forms."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from preprocessing.augment.spec_augment import latent_channel_mask, latent_time_mask
from tests.known_sounds import chance
from tests.preprocessing.test_spec_augment import LEAST_P, N_DRAWS


def latent(lengths: Tensor, n_frames: int, probability: float, span: int, seed: int = 0) -> Tensor:
    return latent_time_mask(lengths, n_frames, mask_probability=probability, mask_length=span, generator=chance(seed))


def test_latent_spans_start_anywhere_without_replacement() -> None:
    """Two of five starts of spans of 2 in 6 frames: ten pairs, equally likely."""
    masks = latent(torch.full((N_DRAWS,), 6), 6, probability=2 * 2 / 6, span=2)
    expected: Counter[tuple[bool, ...]] = Counter()
    for pair in combinations(range(5), 2):
        expected[tuple(any(start <= t < start + 2 for start in pair) for t in range(6))] += 1
    observed = Counter(tuple(row) for row in masks.tolist())
    assert set(observed) == set(expected)
    counts = [observed[pattern] for pattern in expected]
    assert stats.chisquare(counts, [N_DRAWS * n / 10 for n in expected.values()]).pvalue > LEAST_P


def test_latent_frames_are_masked_as_often_as_the_closed_form_says() -> None:
    """A frame that c of n starts would cover stays open with probability C(n - c, k) / C(n, k) under k spans."""
    length, span, n_spans = 40, 5, 4
    masks = latent(torch.full((N_DRAWS,), length), length, probability=n_spans * span / length, span=span)
    n_starts = length - span + 1
    for t in range(length):
        covering = min(t, n_starts - 1) - max(t - span + 1, 0) + 1
        expected = 1.0 - math.comb(n_starts - covering, n_spans) / math.comb(n_starts, n_spans)
        error = math.sqrt(expected * (1.0 - expected) / N_DRAWS)
        assert abs(float(masks[:, t].double().mean()) - expected) < 4.5 * error


def test_the_number_of_latent_spans_is_rounded_at_random() -> None:
    masks = latent(torch.full((N_DRAWS,), 100), 100, probability=0.013, span=1)  # 1.3 spans of one frame
    n_spans = masks.sum(dim=1)
    assert set(n_spans.tolist()) == {1, 2}
    assert stats.binomtest(int((n_spans == 2).sum()), N_DRAWS, 0.3).pvalue > LEAST_P


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 80), min_size=1, max_size=6), st.floats(0.0, 1.0), st.integers(1, 12), st.integers(0, 999)
)
def test_latent_masks_stay_inside_their_utterance(lengths: list[int], probability: float, span: int, seed: int) -> None:
    n_frames = max(lengths) + 3
    masks = latent(torch.tensor(lengths), n_frames, probability, span, seed)
    assert masks.shape == (len(lengths), n_frames)
    for mask, n in zip(masks.tolist(), lengths, strict=True):
        assert not any(mask[n:])
        runs = [len(run) for run in "".join(".#"[hidden] for hidden in mask).split(".") if run]
        assert all(run >= span for run in runs)
        assert n > span or not runs


def test_latent_channels_are_masked_per_utterance() -> None:
    mask = latent_channel_mask(2_000, 64, mask_probability=0.25, mask_length=8, generator=chance())
    assert mask.shape == (2_000, 64)
    n_starts, n_spans = 57, 2
    expected = [
        1.0 - math.comb(n_starts - min(t, 56) + max(t - 7, 0) - 1, n_spans) / math.comb(n_starts, n_spans)
        for t in range(64)
    ]
    assert float(mask.double().mean()) == pytest.approx(np.mean(expected), abs=0.005)
    assert len({tuple(row) for row in mask.tolist()}) > 500
