"""`finetune.recogniser`: arrays and files through a loaded model, as docs/transcribe.md shows it."""

import io
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from finetune.recogniser import Recogniser, load
from finetune.systems.transcript import Segment, Transcript, Word
from finetune.transcribe import main
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError
from preprocessing.errors import UsageError, UserError
from tests.conftest import DEMO, ROOT
from tests.finetune.transcription.transcribing import Echo

WAV2VEC2 = str(DEMO / "wav2vec2")
RECORDING = DEMO / "corpus" / "audio" / "test-0000.opus"
ECHO = f"{Echo.__module__}:Echo"


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return load(WAV2VEC2)


@pytest.mark.parametrize("model", ["wav2vec2", "whisper"])
def test_the_code_of_the_page_runs(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "transcribe.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(from finetune\.recogniser.*?)```", page, re.DOTALL)
    assert found is not None
    main([str(DEMO / model), str(RECORDING)])
    text = capsys.readouterr().out.strip()
    code = found[1].replace("runs/yours", str(DEMO / model))
    exec(compile(code, "docs/transcribe.md", "exec"), {"waveform": audio.load(RECORDING).numpy()})
    printed, confidence = capsys.readouterr().out.strip().rsplit(" ", 1)
    assert printed == text
    assert 0.0 < float(confidence) < 1.0


def test_an_array_is_transcribed_as_its_file_is(recogniser: Recogniser, tmp_path: Path) -> None:
    waveform = audio.load(RECORDING)
    integers = (waveform.numpy() * 32768).astype(np.int16)
    loud = np.stack([integers, np.zeros_like(integers)], axis=1)
    expected = recogniser.transcribe(RECORDING)
    assert expected.text and expected.confidence
    swapped = (integers.astype(">i2"), waveform.numpy().astype(">f4"))
    for array in (waveform, waveform.numpy(), waveform.double().numpy(), integers, integers[:, None], loud, *swapped):
        channel = 0 if array is loud else None
        assert recogniser.transcribe(array, SAMPLE_RATE, channel=channel) == expected
    for rate in (8_000, 44_100):
        file = io.BytesIO()
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32)
        soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
        assert recogniser.transcribe(samples, rate) == recogniser.transcribe(file.getvalue())


def test_calls_from_several_threads_give_what_they_give_one_after_the_other(recogniser: Recogniser) -> None:
    recordings = [RECORDING.with_name(f"test-000{number}.opus") for number in range(4)] * 4
    expected = [recogniser.transcribe(one) for one in recordings]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(recogniser.transcribe, recordings)) == expected


def test_without_words_there_is_no_confidence(recogniser: Recogniser) -> None:
    expected = recogniser.transcribe(RECORDING)
    found = recogniser.transcribe(RECORDING, words=False)
    assert (found.text, found.confidence) == (expected.text, None)


def test_a_long_array_is_transcribed_in_pieces() -> None:
    found = load(ECHO, language="de").transcribe(np.zeros(5 * SAMPLE_RATE, np.float32), SAMPLE_RATE)
    lengths = [int(length) for length in re.findall(r"\d+", found.text)]
    assert len(lengths) > 1 and sum(lengths) == 5 * SAMPLE_RATE
    assert (found.segments[0].start, found.segments[-1].end, found.language) == (0.0, 5.0, "de")


@pytest.mark.parametrize(
    ("array", "rate", "reason"),
    [
        (np.zeros(100, np.float32), None, "without sample_rate"),
        (str(RECORDING), SAMPLE_RATE, "sample_rate beside a file"),
        (np.zeros((2, 16_000), np.float32), SAMPLE_RATE, r"shape \(2, 16000\).*transpose"),
        (np.zeros((1, 1, 1), np.float32), SAMPLE_RATE, "shape"),
        (torch.zeros(100, dtype=torch.float16), SAMPLE_RATE, "array of float16"),
        (torch.zeros(100, dtype=torch.bfloat16), SAMPLE_RATE, "array of bfloat16"),
        ([0.0] * 100, SAMPLE_RATE, "a list; expected an array"),
        (np.zeros(100, np.float32), 44.1, r"sample_rate 44\.1; expected a whole number .*not kHz"),
        (np.zeros(100, np.float32), float("nan"), "sample_rate nan; expected a whole number"),
        (np.zeros(100, np.float32), "16000", "sample_rate '16000'; expected a whole number"),
        (np.zeros(100, np.uint8), SAMPLE_RATE, "array of uint8"),
        (np.zeros(0, np.float32), SAMPLE_RATE, "without samples"),
        (np.full(100, np.nan, np.float32), SAMPLE_RATE, "NaN"),
        (np.full(100, 12_000.0), SAMPLE_RATE, "full scale"),
        (np.zeros(100, np.float32), 0, "sample_rate 0; expected a whole number from 1"),
        (np.zeros(100, np.float32), 10**6, "sample_rate 1000000; expected a whole number from 1"),
    ],
)
def test_an_array_that_is_no_recording_is_refused(array: Any, rate: Any, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        load(ECHO).transcribe(array, rate)


def test_options_are_those_of_the_command() -> None:
    with pytest.raises(UsageError, match="language model"):
        load(f"wav2vec2+lm={WAV2VEC2}")
    with pytest.raises(UsageError, match="precision"):
        load("pocketsphinx", precision="bfloat16")
    with pytest.raises(UserError, match="no/such/folder"):
        load("no/such/folder")
    with pytest.raises(UsageError, match=r"--lm nope\.arpa: no such file"):
        load(Path(WAV2VEC2), lm="nope.arpa")
    with pytest.raises(UsageError, match=r"load has no option 'foo'; expected some of language, .*rescore_weight"):
        load(WAV2VEC2, foo=1)
    for option, argument in (("channel", "channel"), ("word_timestamps", "words")):
        with pytest.raises(
            UsageError, match=rf"load has no option '{option}'.*expected transcribe\({argument}=\.\.\.\)"
        ):
            load(WAV2VEC2, **{option: 0})
    with pytest.raises(UsageError, match="load has no option 'output_dir'"):
        load(WAV2VEC2, output_dir="out")
    with pytest.raises(UsageError, match="device is 'gpu'; expected one of auto, cpu, cuda"):
        load(WAV2VEC2, device="gpu")
    assert load(Path(WAV2VEC2), hotwords="BLINDS").transcribe(RECORDING).text


def test_the_confidence_is_that_of_the_least_certain_word() -> None:
    words = (Word(" A", 0.0, 0.1, 0.9), Word(" B", 0.1, 0.2, 0.4), Word(" C", 0.2, 0.3, None))
    segments = (Segment(0.0, 0.1, " A", words[:1]), Segment(0.1, 0.3, " B C", words[1:]))
    assert Transcript("A B C", segments).confidence == 0.4
    assert Transcript("A", (Segment(0.0, 0.1, " A"),)).confidence is None
    assert Transcript("").confidence is None


@pytest.mark.parametrize(
    ("trained", "said"), [("", "writes\n"), ("en", "writes, which was trained on en\n"), ("de-CH", "")]
)
def test_a_language_that_changes_nothing_is_said(
    trained: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(WAV2VEC2, tmp_path / "run")
    if trained:
        (tmp_path / "run" / "about.json").write_text(json.dumps({"training": {"languages": [trained]}}))
    for call in (
        lambda: load(tmp_path / "run", language="de"),
        lambda: main([str(tmp_path / "run"), str(RECORDING), "--language", "de"]),
    ):
        call()
        note = "--language de is only the name of the language in the results: it changes nothing in what wav2vec2 run "
        assert (f"note: {note}{said}" in capsys.readouterr().err) == bool(said)
    load(WAV2VEC2)
    load(ECHO, language="de")
    assert "--language" not in capsys.readouterr().err
