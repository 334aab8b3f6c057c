"""Chunks are a partition with the frames of the recording, streamed or planned, and join to the unchunked logits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from finetune.decoding.greedy import collapse
from preprocessing.segment import (
    WAV2VEC2_GRID,
    Chunking,
    FrameGrid,
    chunk_stream,
    chunks,
    keep,
    pad_or_trim,
)

LENGTHS = st.one_of(st.integers(0, 30_000), st.integers(0, 60).map(lambda n: 320 * n))
SPANS = st.one_of(st.integers(1, 12_000), st.integers(1, 20).map(lambda n: 320 * n))
CONTEXTS = st.one_of(st.integers(0, 12_000), st.sampled_from([0, 1, 80, 319, 320, 321, 400, 3_200]))
GRIDS = st.one_of(st.just(WAV2VEC2_GRID), st.builds(FrameGrid, st.integers(1, 500), st.integers(1, 900)))
CHUNKINGS = st.builds(Chunking, SPANS, CONTEXTS, GRIDS)


def indices(n_samples: int) -> Tensor:
    """A recording that says where each of its samples is."""
    return torch.arange(n_samples)


def first_samples(waveform: Tensor, grid: FrameGrid) -> Tensor:
    """A model that names the first and last sample of each frame [frames, 2]."""
    if waveform.numel() < grid.receptive_field:
        return torch.zeros(0, 2, dtype=torch.long)
    return waveform.unfold(0, grid.receptive_field, grid.stride)[:, [0, -1]]


def joined_frames(waveform: Tensor, chunking: Chunking, model: Callable[[Tensor], Tensor]) -> Tensor:
    """The frames that a model makes of the chunks of a waveform, as of one recording."""
    return torch.cat([
        keep(model(waveform[chunk.start : chunk.stop]), chunk, chunking.grid)
        for chunk in chunks(len(waveform), chunking)
    ])  # fmt: skip


@settings(max_examples=300)
@given(LENGTHS, CHUNKINGS)
def test_nothing_is_lost_or_doubled(n_samples: int, chunking: Chunking) -> None:
    planned = chunks(n_samples, chunking)
    kept = [sample for chunk in planned for sample in (chunk.keep_start, chunk.keep_stop)]
    assert kept[1:-1:2] == kept[2::2]
    assert ([kept[0], kept[-1]] if kept else [0, 0]) == [0, n_samples]
    for chunk in planned:
        assert 0 <= chunk.start <= chunk.keep_start < chunk.keep_stop <= chunk.stop <= n_samples
        assert chunk.start % chunking.grid.stride == chunk.keep_start % chunking.grid.stride == 0
        assert chunk.stop - chunk.start <= chunking.window
        assert chunk.start == 0 or chunk.keep_start - chunk.start >= chunking.context
        assert chunk.stop == n_samples or chunk.stop - chunk.keep_stop >= chunking.context
    if n_samples:
        waveform = indices(n_samples)
        joined = joined_frames(waveform, chunking, lambda part: first_samples(part, chunking.grid))
        assert torch.equal(joined, first_samples(waveform, chunking.grid))


@settings(max_examples=200)
@given(st.lists(st.integers(0, 5_000), max_size=12), CHUNKINGS)
def test_a_stream_gives_the_planned_chunks(blocks: list[int], chunking: Chunking) -> None:
    waveform = indices(sum(blocks))
    streamed = list(chunk_stream(iter(waveform.split(blocks)) if blocks else [], chunking))
    assert tuple(chunk for chunk, _ in streamed) == chunks(len(waveform), chunking)
    for chunk, heard in streamed:
        assert torch.equal(heard, waveform[chunk.start : chunk.stop])


def test_a_stream_waits_for_no_more_than_it_needs_and_holds_a_window() -> None:
    chunking = Chunking(keep=16_000, context=3_200)
    given_out = 0

    def blocks() -> Any:
        nonlocal given_out
        while True:  # without end: only a stream can be heard
            given_out += 1_000
            yield torch.zeros(1_000)

    for index, (chunk, heard) in enumerate(chunk_stream(blocks(), chunking)):
        assert given_out <= chunking.settled(index) + 1_000 <= chunk.keep_stop + 3_200 + 3_200 + 1_000
        assert heard.untyped_storage().nbytes() <= 4 * (2 * chunking.window + 1_000)
        if index == 40:
            break


def test_all_chunks_but_the_last_are_equally_long() -> None:
    planned = chunks(1_000_001, Chunking(keep=96_000, context=16_000))
    lengths = [chunk.stop - chunk.start for chunk in planned]
    assert set(lengths[:-1]) == {128_000}
    assert 128_000 - 320 < lengths[-1] <= 128_000


def test_the_grid_is_that_of_the_model() -> None:
    model = Wav2Vec2ForCTC(tiny())
    for n_samples in (400, 719, 720, 16_000, 16_001):
        assert WAV2VEC2_GRID.frames(n_samples) == int(model._get_feat_extract_output_lengths(torch.tensor(n_samples)))
    other = FrameGrid.of_convolutions((7, 5, 2), (3, 2, 2))
    convolutions = nn.Sequential(nn.Conv1d(1, 1, 7, 3), nn.Conv1d(1, 1, 5, 2), nn.Conv1d(1, 1, 2, 2))
    for n_samples in range(other.receptive_field, 200):
        assert convolutions(torch.zeros(1, 1, n_samples)).shape[-1] == other.frames(n_samples)
    with pytest.raises(RuntimeError):
        convolutions(torch.zeros(1, 1, other.receptive_field - 1))


def tiny() -> Wav2Vec2Config:
    return Wav2Vec2Config(
        vocab_size=8, hidden_size=24, num_hidden_layers=0, num_attention_heads=2, intermediate_size=24,
        conv_dim=[16] * 7, feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=7,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip


POSITIONAL_REACH = 3  # frames either side that the positional convolution sees


@pytest.mark.parametrize(("keep", "n_samples"), [(16_000, 100_003), (3_200, 40_000), (320, 9_999), (48_000, 48_000)])
def test_logits_without_attention_are_those_of_the_whole(keep: int, n_samples: int) -> None:
    """Layer-normalised convolutions and the positional one: a finite receptive field, which the context covers."""
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(tiny()).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # so that paths change often
    waveform = torch.randn(n_samples)
    chunking = Chunking(keep, (POSITIONAL_REACH + 1) * 320)
    planned = chunks(n_samples, chunking)
    starved = chunks(n_samples, Chunking(keep, 0))
    with torch.inference_mode():
        whole = model(waveform[None]).logits[0]
        joined, without = (
            joined_frames(waveform, cut, lambda part: model(part[None]).logits[0])
            for cut in (chunking, Chunking(keep, 0))
        )
    assert len(planned) > 1 or n_samples == 48_000
    assert (joined - whole).abs().max() < 1e-5
    assert collapse(joined.argmax(-1).tolist(), 0) == collapse(whole.argmax(-1).tolist(), 0)
    assert len(starved) == 1 or (without - whole).abs().max() > 1e-3  # the context is what does it


def test_parts_of_another_grid_are_refused() -> None:
    chunking = Chunking(3_200, 320)
    with pytest.raises(ValueError, match="another grid"):
        joined_frames(indices(10_000), chunking, lambda part: torch.zeros(99, 2))
    for wrong in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match="expected 1 and 0"):
            Chunking(*wrong)


@pytest.mark.parametrize("shape", [(1,), (5,), (8,), (9,), (2, 3, 5), (2, 12)])
def test_pad_or_trim_is_whispers(shape: tuple[int, ...]) -> None:
    waveform = torch.randn(shape)
    padded, n_valid = pad_or_trim(waveform, 8)
    assert torch.equal(padded, whisper.pad_or_trim(waveform, 8))
    assert n_valid == min(shape[-1], 8)
    padded.zero_()
    assert waveform.any()
    with pytest.raises(ValueError, match="expected 1 or more"):
        pad_or_trim(waveform, 0)
