"""The embedded demo is what its README says: whole, small, without leaks, loadable by the libraries alone."""

from pathlib import Path

import pytest
import torch
import whisper
from transformers import AutoModelForCTC, Wav2Vec2ForCTC

from finetune.metrics.error_rates import ErrorCounts, word_errors
from preprocessing import audio
from preprocessing.corpus import open_corpus
from tests.conftest import DEMO, read_manifest

CORPUS = DEMO / "corpus"
LARGEST_MB = 16


def test_it_is_small() -> None:
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert size <= LARGEST_MB * 1e6


def test_the_corpus_is_whole_and_without_orphans() -> None:
    rows = [row for name in ("train", "test") for row in read_manifest(CORPUS / f"{name}.jsonl")]
    assert (len(read_manifest(CORPUS / "train.jsonl")), len(read_manifest(CORPUS / "test.jsonl"))) == (400, 100)
    assert {row["audio"] for row in rows} == {f"audio/{path.name}" for path in (CORPUS / "audio").iterdir()}
    for name in ("train", "test"):
        open_corpus(str(CORPUS / f"{name}.jsonl")).require_complete()


def test_durations_are_those_of_the_audio() -> None:
    for row in read_manifest(CORPUS / "test.jsonl")[::10]:
        seconds = len(audio.load(CORPUS / row["audio"])) / audio.SAMPLE_RATE
        assert seconds == pytest.approx(row["duration"], abs=1e-3)


def test_test_voices_and_sentences_are_unseen_and_test_words_seen() -> None:
    train, test = (read_manifest(CORPUS / f"{name}.jsonl") for name in ("train", "test"))
    assert not {row["speaker"] for row in train} & {row["speaker"] for row in test}
    assert not {row["text"] for row in train} & {row["text"] for row in test}
    heard = [word for row in train for word in row["text"].split()]
    assert all(heard.count(word) >= 3 for row in test for word in row["text"].split())


def test_wav2vec2_is_a_plain_transformers_model() -> None:
    model = AutoModelForCTC.from_pretrained(DEMO / "wav2vec2")
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.dtype == torch.float32
    assert 2e6 <= model.num_parameters() <= 6e6


def test_whisper_loads_in_openai_whisper_and_mostly_hears_the_test() -> None:
    """Through openai-whisper alone: its own loader, features and decoder."""
    model = whisper.load_model(str(DEMO / "whisper" / "whisper.pt"), device="cpu")
    options = whisper.DecodingOptions(language="en", without_timestamps=True, temperature=0.0, fp16=False)
    counts = ErrorCounts()
    for row in read_manifest(CORPUS / "test.jsonl")[::5]:
        waveform = audio.load(CORPUS / row["audio"])
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform))
        counts += word_errors(row["text"], whisper.decode(model, mel, options).text)
    assert counts.rate < 0.5


def test_what_made_it_is_committed() -> None:
    for name in ("commands", "sentences", "embed"):
        assert (DEMO / "make" / f"{name}.py").is_file()
        assert f"demo.make.{name}" in (DEMO / "README.md").read_text()
    configs = Path(DEMO.parent) / "configs" / "finetune"
    for name in ("demo-wav2vec2", "demo-whisper", "demo-whisper-window"):
        assert (configs / f"{name}.yaml").is_file()
