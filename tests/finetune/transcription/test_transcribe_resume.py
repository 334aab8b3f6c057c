"""`python -m finetune.transcribe -o`: a run goes on only with what decides the same texts, times and probabilities."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from finetune.alignment.confidence import Calibration
from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import FOLDER, save_language_model
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.lstm import LstmModel, LstmShape
from finetune.language_model.ngram import write_arpa
from preprocessing.errors import UsageError
from preprocessing.units import Vocabulary
from tests.conftest import DEMO
from tests.finetune.transcription.transcribing import ECHO, WAV2VEC2, Echo, run

AUDIO = DEMO / "corpus" / "audio" / "test-0000.opus"
DONE = "1 of 1 recordings are done"
COMMANDS = {
    "greedy": ("{}/run", AUDIO, "-o", "{}/greedy"),
    "carried": ("wav2vec2+lm={}/run", AUDIO, "-o", "{}/carried"),
    "named": ("{}/run", AUDIO, "-o", "{}/named", "--lm", "{}/words.arpa", "--rescore", "{}/lstm"),
    "hot": ("{}/run", AUDIO, "-o", "{}/hot", "--hotwords", "alarm"),
}


def rebuild(path: Path) -> None:
    """The file written anew: other content of the same length, at another time."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"ALARM", b"LARMA"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size


def set_value(path: Path, name: str, value: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a language model, tuned weights and calibrations; its ARPA file by itself; an LSTM; and what each of
    COMMANDS wrote.
    """
    place = tmp_path_factory.mktemp("resumed")
    shutil.copytree(WAV2VEC2, place / "run")
    (place / "run" / "about.json").write_text(json.dumps({"denoise": False, "profile": "librispeech"}))
    arpa = place / "words.arpa"
    with arpa.open("w", encoding="utf-8") as file:
        write_arpa(estimate([["SET", "THE", "ALARM"], ["TURN", "THE", "LIGHT", "ON"]], 2), file)
    settings = BeamSettings(alpha=0.25, beta=1.5)
    save_language_model(place / "run", arpa, Vocabulary.load(WAV2VEC2), settings)
    for of_search in (False, True):
        Calibration("gibbs mean", 1.0, 0.0).save(place / "run", of_search=of_search)
    LstmModel(LstmShape(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ|"), True, 4, 1, 0.0)).save(place / "lstm")
    for words in COMMANDS.values():
        run(*(str(word).format(place) for word in words))
    return place


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("named", lambda place: rebuild(place / "words.arpa")),
        ("named", lambda place: rebuild(place / "lstm" / "lstm.safetensors")),
        ("carried", lambda place: rebuild(place / "run" / FOLDER / "words.arpa")),
        ("carried", lambda place: set_value(place / "run" / FOLDER / "attrs.json", "alpha", 0.75)),
        ("carried", lambda place: (place / "run" / "confidence-lm.json").unlink()),
        ("greedy", lambda place: (place / "run" / "confidence.json").unlink()),
        ("greedy", lambda place: set_value(place / "run" / "confidence.json", "scale", 2.0)),
        ("greedy", lambda place: set_value(place / "run" / "about.json", "denoise", True)),
        ("greedy", lambda place: set_value(place / "run" / "preprocessor_config.json", "do_normalize", False)),
        ("hot", lambda place: set_value(place / "run" / "about.json", "profile", "ctc:run")),
    ],
)
def test_what_decides_the_text_decides_what_is_done(
    command: str, change: Callable[[Path], Any], place: Path, tmp_path: Path, capsys: Any
) -> None:
    words = [str(word).format(place) for word in COMMANDS[command]]
    shutil.copytree(place, tmp_path / "before", copy_function=shutil.copy2)
    try:
        change(place)
        with pytest.raises(UsageError, match=r"test-0000\.txt: made from another recording or by another model"):
            run(*words)
    finally:
        shutil.copytree(tmp_path / "before", place, copy_function=shutil.copy2, dirs_exist_ok=True)
    run(*words)
    assert DONE in capsys.readouterr().err


def test_what_decides_nothing_does_not(place: Path, capsys: Any) -> None:
    """Values that are given as they are stored, files of another kind of decoding, and a note in the run's folder."""
    words = [str(word).format(place) for word in COMMANDS["carried"]]
    run(*words, "--alpha", "0.25", "--unk_score_offset", "-10", "--device", "cpu")
    assert DONE in capsys.readouterr().err
    set_value(place / "run" / "confidence.json", "offset", 3.0)
    (place / "run" / "language_model_tuning.json").write_text("{}")
    run(*words)
    assert DONE in capsys.readouterr().err
    Calibration("gibbs mean", 1.0, 0.0).save(place / "run")


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_recording_that_changes_while_it_is_transcribed_is_not_done(
    goes_on: bool, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is still being recorded, or that is moved away."""
    recording, folder = tmp_path / "call.wav", tmp_path / "texts"
    soundfile.write(recording, np.zeros(16_000), 16_000)

    def change(self: Echo, features: list[int]) -> list[int]:
        if goes_on:
            soundfile.write(recording, np.zeros(20_000), 16_000)
        else:
            recording.unlink()
        return features

    with monkeypatch.context() as patch:
        patch.setattr(Echo, "forward", change)
        run(ECHO, recording, "-o", folder)
    assert (folder / "call.txt").read_text() == "samples 16000\n"
    if goes_on:
        run(ECHO, recording, "-o", folder, "--overwrite", "true")
        assert (folder / "call.txt").read_text() == "samples 20000\n"
        assert DONE not in capsys.readouterr().err
