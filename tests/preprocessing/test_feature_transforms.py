"""Deltas and normalisation against torchaudio and numpy; padding never reaches what is heard."""

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from preprocessing.features import Deltas, Features, GlobalNorm, UtteranceNorm
from tests.preprocessing.test_features import DEVICES, distance


@pytest.mark.parametrize("n_neighbours", [1, 2, 4])
def test_deltas_are_torchaudios(n_neighbours: int) -> None:
    values = torch.randn(2, 13, 30, generator=torch.Generator().manual_seed(0))
    ours = Deltas(2, n_neighbours)(Features.of(values)).values
    deltas = torchaudio.functional.compute_deltas(values, 2 * n_neighbours + 1)
    theirs = torch.cat([values, deltas, torchaudio.functional.compute_deltas(deltas, 2 * n_neighbours + 1)], dim=1)
    assert distance(ours, theirs) < 1e-5


def test_deltas_of_a_parabola_are_its_derivatives() -> None:
    frames = torch.arange(20.0)
    features = Deltas(2)(Features.of((0.5 * frames.square())[None]))
    assert torch.allclose(features.values[0, 1, 2:-2], frames[2:-2])
    assert torch.allclose(features.values[0, 2, 4:-4], torch.ones(12))


@pytest.mark.parametrize("transform", [Deltas(2), Deltas(1, 3), UtteranceNorm(), UtteranceNorm(scale=False)], ids=repr)
@pytest.mark.parametrize("device", DEVICES)
def test_padding_never_reaches_deltas_or_norms(transform: nn.Module, device: str) -> None:
    n_frames = torch.tensor([40, 1, 3, 17])
    values = torch.randn(4, 5, 40, generator=torch.Generator().manual_seed(0))  # in the padding too
    batch = transform(Features(values, n_frames).to(device)).to("cpu")
    for row, n in enumerate(n_frames.tolist()):
        alone = transform(Features.of(values[row, :, :n]).to(device)).to("cpu")
        assert distance(batch.utterance(row), alone.utterance(0)) < 1e-5
        assert not batch.values[row, :, n:].any()


def test_utterance_norm_is_numpys() -> None:
    values = 3.0 + 2.0 * torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    values[3] = 7.0  # a bin that never changes
    array = values.numpy()
    centred = array - array.mean(axis=1, keepdims=True)
    assert distance(UtteranceNorm(scale=False)(Features.of(values)).utterance(0), centred) < 1e-5
    deviation = array.std(axis=1, keepdims=True)
    deviation[3] = 1.0
    assert distance(UtteranceNorm()(Features.of(values)).utterance(0), centred / deviation) < 1e-5


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), min_size=1, max_size=4), st.integers(0, 99))
def test_global_norm_is_numpys_whatever_the_batches(batches: list[list[int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.tensor([1.0, 100.0, 0.01])[:, None]
    corpus = [
        Features(1_000.0 + scales * torch.randn(len(lengths), 3, 30, generator=generator), torch.tensor(lengths))
        for lengths in batches
    ]
    frames = torch.cat([features.utterance(row) for features in corpus for row in range(len(features.values))], dim=1)
    norm = GlobalNorm.fit(corpus)
    array = frames.double().numpy()
    np.testing.assert_allclose(norm.mean.numpy(), array.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(norm.deviation.numpy(), np.maximum(array.std(axis=1), 1e-5), rtol=1e-4, atol=1e-7)


def test_global_norm_travels_with_the_weights() -> None:
    norm = GlobalNorm.fit([Features.of(torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0)])
    other = GlobalNorm(torch.zeros(5), torch.ones(5))
    other.load_state_dict(norm.state_dict())
    features = Features(torch.ones(1, 5, 4), torch.tensor([3]))
    assert torch.equal(other(features).values, norm(features).values)
    assert not norm(features).values[0, :, 3].any()
    with pytest.raises(ValueError, match="the corpus has no frame"):
        GlobalNorm.fit([])
