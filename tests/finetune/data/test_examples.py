"""Batches are planned by durations, so audio that is not as long as its manifest says is set aside when decoded."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

from finetune.config import DataConfig, ModelConfig
from finetune.data.corpora import open_corpora
from finetune.data.examples import ExampleKey, Examples
from finetune.data.streaming import interleave
from finetune.models import build
from finetune.models.base import Example
from preprocessing.corpus import Reject, Utterance, open_corpus
from tests.conftest import DEMO
from tests.finetune.runs import TINY_WHISPER


class AsItIs:
    """What Examples asks of a recogniser."""

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, waveform, labels, len(waveform))

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return True


WHISPER = ModelConfig(family="whisper", scratch=TINY_WHISPER, timestamp_share=1.0)


@pytest.mark.parametrize(
    ("model", "stated", "seconds", "labels"),
    [
        (ModelConfig(base=str(DEMO / "wav2vec2")), 1.0, 0.91, (5, 6) * 23),  # an infinite loss
        (WHISPER, 30.0, 30.07, (50257, 50362, 1, 50256)),  # an end time beyond Whisper's last one
    ],
    ids=["too short", "too long"],
)
def test_audio_that_does_not_fit_its_labels_as_its_duration_does_is_a_reject(
    tmp_path: Path, model: ModelConfig, stated: float, seconds: float, labels: tuple[int, ...]
) -> None:
    recogniser = build(model, [], seed=0)
    assert recogniser.fits(round(stated * 16_000), labels)
    utterances = examples(tmp_path, seconds, duration=stated).utterances
    assert utterances[0].duration == stated
    found = Examples(utterances, [labels], recogniser)[ExampleKey(0)]
    assert isinstance(found, Reject)
    assert found.reason.startswith(f"the audio holds {seconds:.3f} s, too long for the model or too short for its ")
    assert f"expected the {stated:.3f} s that its corpus states" in found.reason


def examples(folder: Path, seconds: float, **fields: object) -> Examples:
    soundfile.write(folder / "a.wav", 0.1 * np.sin(np.arange(round(16_000 * seconds)) / 20), 16_000)
    row = {"id": "a", "audio": "a.wav", "text": "x"} | fields
    (folder / "m.jsonl").write_text(json.dumps(row))
    return Examples(open_corpus(str(folder / "m.jsonl")).utterances, [(1,)], AsItIs())  # type: ignore[arg-type]


@pytest.mark.parametrize(("stated", "seconds"), [(3.0, 2.0), (2.0, 3.0), (1.0, 1.11), (20.0, 20.45)])
def test_a_duration_that_lies_is_a_reject(tmp_path: Path, stated: float, seconds: float) -> None:
    found = examples(tmp_path, seconds, duration=stated)[ExampleKey(0)]
    assert isinstance(found, Reject)
    assert found.where == "a"
    assert found.reason.startswith(f"manifest says {stated:.2f} s, the audio holds {seconds:.2f} s; expected")


def test_training_counts_by_the_file_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples(tmp_path, 3.33, duration=2.1)
    reference = str(tmp_path / "m.jsonl")
    (corpus,) = open_corpora(DataConfig(train=[reference])).train
    assert [utterance.duration for utterance in corpus.utterances] == [3.33]
    assert "the stated duration of 1 utterance, such as 'a', is not the file's" in capsys.readouterr().err
    (streamed,) = interleave([reference])
    assert isinstance(streamed, Utterance) and streamed.duration == 3.33


@pytest.mark.parametrize(("stated", "seconds"), [(2.0, 2.0), (1.0, 1.09), (1.0, 0.91), (20.0, 20.35)])
def test_a_duration_near_enough_is_an_example(tmp_path: Path, stated: float, seconds: float) -> None:
    found = examples(tmp_path, seconds, duration=stated)[ExampleKey(0)]
    assert isinstance(found, Example)


def test_a_part_is_as_long_as_its_part(tmp_path: Path) -> None:
    assert isinstance(examples(tmp_path, 2.0, start=0.5, stop=1.5, duration=2.0)[ExampleKey(0)], Example)
    assert isinstance(examples(tmp_path, 2.0, start=0.5, stop=1.5, duration=1.0)[ExampleKey(0)], Example)
    beyond = examples(tmp_path, 1.0, start=0.5, stop=2.0, duration=1.5)[ExampleKey(0)]
    assert isinstance(beyond, Reject)
    assert "manifest says 1.50 s, the audio holds 0.50 s" in beyond.reason


def test_a_missing_file_is_a_reject_when_decoded(tmp_path: Path) -> None:
    found = examples(tmp_path, 1.0, audio="gone.wav", duration=1.0)[ExampleKey(0)]
    assert isinstance(found, Reject)
    assert "no such file" in found.reason
