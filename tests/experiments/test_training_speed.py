"""Fine-tuning beside transformers' Trainer, with a tiny model: both learn alike, figures are written, errors told."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import training_speed
from experiments.harness.fine_tuning import Trained, TrainingJob, Update
from experiments.harness.rounds import Unavailable, take_turns
from experiments.training_speed import DEFAULT, EQUAL_PRECISION, PEER
from preprocessing import audio
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, read_manifest, write_manifest


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four utterances of one length and one label, so that neither padding nor the weighting of losses differs."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "librispeech").mkdir()
    rows = []
    for row in read_manifest(DEMO / "corpus" / "train.jsonl")[:4]:
        waveform = audio.load(DEMO / "corpus" / row["audio"])
        path = folder / f"{row['id']}.wav"
        audio.save(path, torch.cat([waveform, waveform, waveform])[:16_000])
        rows.append({"id": row["id"], "audio": str(path), "text": "TURN ON THE LIGHT", "duration": 1.0})
    write_manifest(folder / "librispeech" / "train.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def found(speech_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("figures")
    told = ["--quick", "true", "--data_dir", speech_folder, "--steps", "1", "--rounds", "1", "--device", "cpu"]
    result = run(
        *("-m", "experiments.training_speed", *told),
        *("--warmup_steps", "1", "--json", folder / "figures.json", "--plot", folder / "loss.png"),
    )
    assert result.returncode == 0, result.stderr
    assert "prepared its input beforehand" in result.stdout
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return figures


@pytest.mark.slow
def test_both_sides_begin_with_the_same_loss(found: dict[str, Any]) -> None:
    """Two computations of one loss: transformers' own, and ours."""
    losses = {name: [update["loss"] for update in rounds[0]["updates"]] for name, rounds in found["rounds"].items()}
    theirs, ours = losses[PEER], losses[EQUAL_PRECISION]
    assert len(theirs) == len(ours) == 2
    assert ours[0] == pytest.approx(theirs[0], rel=1e-3)


@pytest.mark.slow
def test_both_sides_heard_the_same_audio(found: dict[str, Any]) -> None:
    for rounds in found["rounds"].values():
        for update in rounds[0]["updates"]:
            assert update["audio_seconds"] == pytest.approx(4.0, abs=0.02)
            assert update["padded_seconds"] == pytest.approx(4.0, abs=0.02)
            assert update["seconds"] > 0
    assert found["rounds"][PEER][0]["preparation_bytes"] > 4 * 16_000 * 4


@pytest.mark.slow
def test_a_tiny_model_is_held_to_nothing(found: dict[str, Any]) -> None:
    assert {figure["minimum"] for figure in found["figures"]} == {None}
    assert all(figure["holds"] for figure in found["figures"])


def trained(rate: float, loss: float = 3.0) -> Trained:
    update = Update(loss, audio_seconds=10.0, padded_seconds=10.2, seconds=10.0 / rate)
    return Trained((Update(loss, 10.0, 10.2, 99.0), update, update), warm_up_updates=1, held_out_loss=loss)


def job() -> TrainingJob:
    durations = tuple(8.0 + 0.01 * place for place in range(200))
    return TrainingJob(Path(), "cpu", 4, 1, 36.0, 2, durations, 500, True)


@pytest.mark.parametrize(("rate", "loss", "short"), [(4.1, 3.0, []), (3.9, 3.0, [2.0]), (1.9, 4.0, [2.0, 1.0, None])])
def test_what_falls_short_is_found(rate: float, loss: float, short: list[float | None]) -> None:
    """Warm-up is not counted: 99 s of it would change every rate."""
    sides = {PEER: [trained(2.0)] * 3, DEFAULT: [trained(rate, loss)] * 3, EQUAL_PRECISION: [trained(rate, loss)] * 3}
    figures = training_speed.compare(sides, job(), {"bf16": 300.0, "fp32": 150.0})
    assert figures[0].ours == pytest.approx(rate)
    assert [figure.minimum for figure in figures if not figure.holds] == short
    assert figures[-1].theirs == pytest.approx(100 * 42 * 2.0 / 150)


def test_padding_of_an_epoch() -> None:
    """Brute force for ours: batches of lengths that are all alike need none; the peer's last batch is no exception."""
    alike = dataclasses.replace(job(), corpus_seconds=(5.0,) * 10)
    assert training_speed.corpus_padding(alike) == (0.0, 0.0)
    mine, other = training_speed.corpus_padding(
        dataclasses.replace(job(), corpus_seconds=(1.0, 9.0), batch_seconds=9.0)
    )
    assert mine == 0.0
    assert other == pytest.approx(1.0 - 10.0 / 18.0)


def count(job: int) -> Any:
    return lambda: job + torch.get_num_threads()


def refuse(job: int) -> Any:
    raise OSError(f"no {job} here")


def surroundings(job: str) -> Any:
    return lambda: os.environ.get(job)


@pytest.mark.slow
def test_a_contender_has_an_environment_of_its_own() -> None:
    found = take_turns(
        "environments",
        {"told": surroundings, "untold": surroundings},
        "CONTENDER_IS_TOLD",
        1,
        keep_results=True,
        environments={"told": {"CONTENDER_IS_TOLD": "yes"}},
    )
    heard = {name: turns[0].result for name, turns in found.items() if not isinstance(turns, Unavailable)}
    assert heard == {"told": "yes", "untold": None}
    assert "CONTENDER_IS_TOLD" not in os.environ


@pytest.mark.slow
def test_turns_hand_results_back() -> None:
    found = take_turns("turns", {"count": count, "refuse": refuse}, 40, 2, threads=2, keep_results=True)
    assert found["refuse"] == Unavailable("no 40 here")
    turns = found["count"]
    assert not isinstance(turns, Unavailable)
    assert [turn.result for turn in turns] == [42, 42]


def test_missing_speech_is_named(tmp_path: Path) -> None:
    result = run("-m", "experiments.training_speed", "--data_dir", tmp_path, "--device", "cpu")
    assert_one_sentence(result, 2, "librispeech/train.jsonl", "--data_dir")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(speech_folder: Path) -> None:
    with pytest.raises(Exception, match="--device is cuda, but torch finds no GPU"):
        training_speed.run(training_speed.Config(data_dir=speech_folder, device="cuda", quick=True))
