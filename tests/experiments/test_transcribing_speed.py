"""Transcribing beside its peers: all write the same words, and what falls short is found."""

from pathlib import Path

import pytest
import torch

from experiments import transcribing_speed as transcribing
from experiments.transcribing_speed import (
    AS_IT_COMES,
    BATCHED,
    OURS,
    TranscribingJob,
    compare_seconds,
    ours,
    pipeline_as_it_comes,
    plain_call,
    words_apart,
)
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO


def test_one_at_a_time_the_peers_write_the_same_words() -> None:
    paths = tuple(sorted((DEMO / "corpus" / "audio").rglob("*.*"))[:4])
    job = TranscribingJob(str(DEMO / "wav2vec2"), paths, "cpu")
    mine = ours(job)()
    assert all(mine)
    assert mine == plain_call(job)()
    assert mine == pipeline_as_it_comes(job)()


@pytest.mark.parametrize(("theirs", "holds"), [(2.6, True), (2.4, False)])
def test_a_floor_is_met_or_not(theirs: float, holds: bool) -> None:
    seconds = {OURS: [1.0, 1.0], AS_IT_COMES: [theirs] * 2, BATCHED: [0.1, 0.1]}
    beside_pipeline, beside_batches = compare_seconds(seconds, transcribing.MINIMUM_RATIOS["cpu"])
    assert beside_pipeline.advantage == pytest.approx(theirs)
    assert beside_pipeline.holds is holds
    assert beside_batches.holds


@pytest.mark.parametrize(
    ("mine", "apart"),
    [(["A B", "C D"], 0.0), (["A X", "C D"], 25.0), (["A", "C D E"], 50.0), (["", ""], 100.0)],
)
def test_words_apart(mine: list[str], apart: float) -> None:
    found = words_apart(mine, ["A B", "C D"], AS_IT_COMES)
    assert found.advantage == pytest.approx(apart)
    assert found.holds is (apart <= 0.1)


def test_words_where_the_peer_heard_none_count() -> None:
    assert words_apart(["X", "A B"], ["", "A B"], AS_IT_COMES).advantage == pytest.approx(50.0)


def test_random_weights_are_the_same_each_time(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name in ("one", "two"):
        transcribing.save_random(tmp_path / name, tiny=True)
    assert torch.equal(torch.get_rng_state(), before)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_missing_speech_is_named(tmp_path: Path) -> None:
    result = run("-m", "experiments.transcribing_speed", "--data_dir", tmp_path, "--device", "cpu")
    assert_one_sentence(result, 2, "librispeech/test-other.jsonl", "--data_dir")
