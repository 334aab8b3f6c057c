"""SpecAugment against the paper's distributions and numpy's interpolation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from preprocessing.augment.spec_augment import (
    POLICIES,
    Draw,
    Fill,
    Policy,
    SpecAugment,
    draw,
    latent_time_mask,
    policy_named,
    warp_time,
)
from preprocessing.errors import UsageError
from preprocessing.features import Features
from tests.conftest import DEVICES
from tests.known_sounds import chance

N_DRAWS = 20_000
LEAST_P = 1e-4  # the seed is fixed: a test that passes once passes always


def features(lengths: list[int], n_bins: int = 80, seed: int = 0, n_frames: int | None = None) -> Features:
    """Features of mean 5, so that neither 0 nor the padding can be taken for them."""
    values = 5.0 + torch.randn(len(lengths), n_bins, n_frames or max(lengths), generator=chance(seed))
    batch = Features(values, torch.tensor(lengths))
    return Features(values.masked_fill(~batch.valid, 0.0), batch.n_frames)


def draws(policy: Policy, n_frames: int, n_bins: int = 80, n_draws: int = N_DRAWS, seed: int = 0) -> Draw:
    return draw(policy, torch.full((n_draws,), n_frames), n_bins, chance(seed))


def assert_distributed(observed: Tensor, expected: np.ndarray) -> None:
    """Chi-square of integers 0, 1, ... against their probabilities."""
    counts = np.bincount(observed.flatten().numpy(), minlength=len(expected))
    assert len(counts) == len(expected), f"{len(counts) - 1} was drawn; at most {len(expected) - 1} is allowed"
    assert not counts[expected == 0].any()
    possible = expected > 0
    assert stats.chisquare(counts[possible], expected[possible] * counts.sum()).pvalue > LEAST_P


def start_probabilities(longest: int, extent: int) -> np.ndarray:
    """P(start = s) where the width is uniform in {0..longest} and the start then uniform in {0..extent - width - 1}."""
    probabilities = np.zeros(extent)
    for width in range(longest + 1):
        n_starts = max(extent - width, 1)
        probabilities[:n_starts] += 1.0 / (longest + 1) / n_starts
    return probabilities


# The paper


def test_policies_are_the_papers_table_1() -> None:
    columns = ("time_warp_frames", "frequency_mask_bins", "n_frequency_masks", "time_mask_frames", "time_mask_share",
               "n_time_masks")  # fmt: skip
    table = {
        "none": (0, 0, 0, 0, 1.0, 0),
        "LB": (80, 27, 1, 100, 1.0, 1),
        "LD": (80, 27, 2, 100, 1.0, 2),
        "SM": (40, 15, 2, 70, 0.2, 2),
        "SS": (40, 27, 2, 70, 0.2, 2),
    }
    assert {name: tuple(getattr(policy, column) for column in columns) for name, policy in POLICIES.items()} == table
    assert policy_named("SS") is POLICIES["SS"]
    with pytest.raises(UsageError, match=r"unknown SpecAugment policy 'XL'; expected one of none, LB, LD, SM, SS"):
        policy_named("XL")


@pytest.mark.parametrize("name", ["LB", "LD", "SM", "SS"])
def test_frequency_masks_have_the_papers_widths_and_positions(name: str) -> None:
    policy = POLICIES[name]
    drawn = draws(policy, n_frames=500)
    assert drawn.frequency_widths.shape == (N_DRAWS, policy.n_frequency_masks)
    longest = policy.frequency_mask_bins
    assert_distributed(drawn.frequency_widths, np.full(longest + 1, 1.0 / (longest + 1)))
    assert_distributed(drawn.frequency_starts, start_probabilities(longest, 80))


@pytest.mark.parametrize(
    ("name", "n_frames", "longest"), [("LD", 300, 100), ("LB", 60, 60), ("SM", 200, 40), ("SS", 999, 70)]
)
def test_time_masks_have_the_papers_widths_and_positions(name: str, n_frames: int, longest: int) -> None:
    drawn = draws(POLICIES[name], n_frames)
    assert_distributed(drawn.time_widths, np.full(longest + 1, 1.0 / (longest + 1)))
    assert_distributed(drawn.time_starts, start_probabilities(longest, n_frames))


@pytest.mark.parametrize("name", ["LB", "SM"])
def test_the_warps_point_and_distance_are_the_papers(name: str) -> None:
    reach, n_frames = POLICIES[name].time_warp_frames, 400
    drawn = draws(POLICIES[name], n_frames)
    point, distance = drawn.warp_from.numpy(), (drawn.warp_to - drawn.warp_from).numpy()
    assert stats.kstest(point, stats.uniform(reach, n_frames - 2 * reach).cdf).pvalue > LEAST_P
    assert stats.kstest(distance, stats.uniform(-reach, 2 * reach).cdf).pvalue > LEAST_P
    assert abs(stats.spearmanr(point, distance).statistic) < 4.0 / math.sqrt(N_DRAWS)


def test_an_utterance_without_room_keeps_its_time() -> None:
    drawn = draws(POLICIES["LB"], n_frames=160, n_draws=50)
    assert not drawn.warp_from.any()
    batch = features([160] * 50)
    assert torch.equal(warp_time(batch, drawn.warp_from, drawn.warp_to).values, batch.values)


def test_masks_are_independent_of_each_other_and_across_utterances() -> None:
    drawn = draws(POLICIES["LD"], n_frames=300)
    columns = [drawn.warp_from, drawn.warp_to - drawn.warp_from]
    for widths, starts, extent in (
        (drawn.frequency_widths, drawn.frequency_starts, 80),
        (drawn.time_widths, drawn.time_starts, 300),
    ):
        columns += [*widths.T, *(starts / (extent - widths)).T]
    table = torch.stack([column.double() for column in columns], dim=1).numpy()
    both = np.concatenate([table[0::2], table[1::2]], axis=1)  # an utterance beside its neighbour in the batch
    correlations = stats.spearmanr(both).statistic - np.eye(both.shape[1])
    assert np.abs(correlations).max() < 5.0 / math.sqrt(len(both))


# Application


@settings(max_examples=60)
@given(st.sampled_from(sorted(POLICIES)), st.lists(st.integers(1, 400), min_size=1, max_size=5), st.integers(0, 999))
def test_lengths_and_caps_are_respected(name: str, lengths: list[int], seed: int) -> None:
    policy, batch = POLICIES[name], features(lengths, seed=seed)
    drawn = draw(policy, batch.n_frames, 80, chance(seed))
    tau = batch.n_frames[:, None]
    assert bool((drawn.time_starts >= 0).all() and (drawn.frequency_starts >= 0).all())
    assert bool((drawn.time_starts + drawn.time_widths <= tau).all())
    assert bool((drawn.frequency_starts + drawn.frequency_widths <= 80).all())
    assert bool((drawn.time_widths <= policy.time_mask_share * tau).all())
    assert bool((drawn.time_widths <= policy.time_mask_frames).all())
    assert not (drawn.time_mask(max(lengths)) & ~batch.valid[:, 0]).any()
    augmented = SpecAugment(policy, fill="mean")(batch, chance(seed))
    assert torch.equal(augmented.n_frames, batch.n_frames)
    assert not augmented.values.masked_fill(augmented.valid, 0.0).any()


@settings(max_examples=60)
@given(st.lists(st.integers(82, 300), min_size=1, max_size=4), st.integers(0, 999))
def test_the_warp_is_numpys_interpolation(lengths: list[int], seed: int) -> None:
    batch = features(lengths, n_bins=3, seed=seed)
    drawn = draw(POLICIES["SM"], batch.n_frames, 3, chance(seed))
    warped = warp_time(batch, drawn.warp_from, drawn.warp_to)
    for row, n in enumerate(lengths):
        frames, source, target = np.arange(n), float(drawn.warp_from[row]), float(drawn.warp_to[row])
        origins = np.interp(frames, [0.0, target, n - 1.0], [0.0, source, n - 1.0])
        expected = np.stack([np.interp(origins, frames, values) for values in batch.utterance(row).numpy()])
        np.testing.assert_allclose(warped.utterance(row).numpy(), expected, atol=1e-3)
        assert torch.equal(warped.values[row, :, n:], batch.values[row, :, n:])


def test_the_warp_moves_the_moment_it_names() -> None:
    values = torch.zeros(1, 1, 200)
    values[0, 0, 120] = 1.0
    warped = warp_time(Features.of(values), torch.tensor([120.0]), torch.tensor([90.0]))
    assert int(warped.values.argmax()) == 90


@pytest.mark.parametrize("fill", ["mean", "zero"])
@pytest.mark.parametrize("name", ["LB", "SS"])
def test_masked_places_hold_the_fill_and_no_other_place_changes(name: str, fill: Fill) -> None:
    batch = features([300, 200, 90])
    augment, drawn = SpecAugment(name, fill=fill), draw(POLICIES[name], batch.n_frames, 80, chance(3))
    augmented, warped = augment.apply_draw(batch, drawn), warp_time(batch, drawn.warp_from, drawn.warp_to)
    for row, n in enumerate([300, 200, 90]):
        hidden = torch.zeros(80, n, dtype=torch.bool)
        for start, width in zip(drawn.frequency_starts[row], drawn.frequency_widths[row], strict=True):
            hidden[start : start + width] = True
        for start, width in zip(drawn.time_starts[row], drawn.time_widths[row], strict=True):
            hidden[:, start : start + width] = True
        assert 0 < hidden.sum() < hidden.numel()
        expected = float(warped.utterance(row).mean()) if fill == "mean" else 0.0
        assert torch.allclose(augmented.utterance(row)[hidden], torch.tensor(expected), atol=1e-4)
        assert torch.equal(augmented.utterance(row)[~hidden], warped.utterance(row)[~hidden])


def test_a_frequency_mask_hides_the_same_bins_in_every_order() -> None:
    """Features with two orders of deltas: what is hidden of 80 bins is drawn as of 80 bins alone."""
    one, three = (SpecAugment("LD", fill="zero", n_orders=n_orders) for n_orders in (1, 3))
    batch = features([300, 90])
    orders = Features(batch.values.repeat(1, 3, 1), batch.n_frames)
    for seed in range(5):
        expected = one(batch, chance(seed)).values
        assert torch.equal(three(orders, chance(seed)).values, expected.repeat(1, 3, 1))


def test_a_batch_is_its_utterances_one_by_one() -> None:
    lengths = [300, 170, 90, 1]
    batch, augment = features(lengths), SpecAugment("LD", fill="mean")
    drawn = draw(POLICIES["LD"], batch.n_frames, 80, chance(5))
    together = augment.apply_draw(batch, drawn)
    for row, n in enumerate(lengths):
        own = Draw(*(getattr(drawn, name)[row : row + 1] for name in Draw.__slots__))
        alone = augment.apply_draw(Features.of(batch.utterance(row)), own)
        assert torch.allclose(together.utterance(row), alone.utterance(0), atol=1e-5)
        assert n == alone.values.shape[-1]


@pytest.mark.parametrize("device", DEVICES)
def test_the_seed_decides_and_nothing_else_does(device: str) -> None:
    batch, augment = features([300, 170, 90]).to(device), SpecAugment("LD", fill="zero")
    before = torch.get_rng_state()
    first = augment(batch, chance(1))
    assert torch.equal(first.values, augment(batch, chance(1)).values)
    assert not torch.equal(first.values, augment(batch, chance(2)).values)
    assert torch.equal(before, torch.get_rng_state())
    wider = augment(features([300, 170, 90], n_frames=400).to(device), chance(1))  # more padding, the same masks
    assert torch.equal((wider.values[..., :300] == 0) & batch.valid, (first.values == 0) & batch.valid)
    assert torch.allclose(first.to("cpu").values, augment(batch.to("cpu"), chance(1)).values, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_draws_happen_on_the_generators_device(device: str) -> None:
    on_device = torch.Generator(device).manual_seed(0)
    augmented = SpecAugment("SS", fill="mean")(features([300, 90]).to(device), on_device)
    assert augmented.values.device.type == device
    mask = latent_time_mask(
        torch.tensor([50, 30], device=device), 50, mask_probability=0.5, mask_length=5, generator=on_device
    )
    assert mask.device.type == device


def test_none_and_evaluation_change_nothing() -> None:
    batch = features([300, 90])
    assert torch.equal(SpecAugment("none", fill="mean")(batch, chance()).values, batch.values)
    assert SpecAugment("LD", fill="mean").eval()(batch, chance()) is batch


def test_gradients_reach_what_is_heard_alone() -> None:
    batch = features([200, 90])
    values = batch.values.requires_grad_()
    augment = SpecAugment(Policy(0, 27, 2, 40, 1.0, 2), fill="zero")
    augmented = augment(Features(values, batch.n_frames), chance())
    augmented.values.sum().backward()
    assert values.grad is not None
    assert torch.equal((values.grad == 0) & batch.valid, (augmented.values.detach() == 0) & batch.valid)
