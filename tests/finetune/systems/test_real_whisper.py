"""OpenAI's Whisper itself: its published accuracy on real speech, and its encoder under a CTC head."""

from pathlib import Path

import jiwer
import pytest
import torch
import whisper

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.whisper_ctc import WhisperCTCRecogniser
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from preprocessing.batching import evenly_spaced
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.text import profile


@pytest.mark.slow
def test_tiny_en_makes_its_usual_errors_on_hard_speakers(real_models: Path, speech: Path) -> None:
    """14.6 % is published for test-other; these 20 of its utterances are harder, 19.0 % on a CPU in float32."""
    utterances = evenly_spaced(open_corpus(str(speech / "librispeech" / "test-other.jsonl")).utterances, 20)
    (spec,) = parse_models(f"tiny=whisper:{real_models / 'tiny.en.pt'}")
    system = load_system(spec, LoadOptions("cpu", "en"))
    normalise = profile("whisper-english")
    hypotheses = []
    for first in range(0, len(utterances), 4):
        waveforms = [load_waveform(utterance) for utterance in utterances[first : first + 4]]
        hypotheses += system.text(system.forward(system.features(waveforms)))
    wer = jiwer.wer([normalise(utterance.text) for utterance in utterances], [normalise(text) for text in hypotheses])
    assert 0.17 <= wer <= 0.21


@pytest.mark.slow
@pytest.mark.parametrize("model", ["whisper:{}/tiny.en.pt", "faster-whisper:{}/faster/tiny.en"])
def test_word_times_of_a_long_recording_skip_no_speech(model: str, real_models: Path, speech: Path) -> None:
    """After a pause of 20 s openai-whisper's word_timestamps puts words at the end of the file, and loses the rest."""
    (chapter,) = open_corpus(str(speech / "long-form" / "test.jsonl")).utterances
    waveform = load_waveform(chapter)
    recording = torch.cat(
        [waveform[30 * 16_000 : 45 * 16_000], torch.zeros(20 * 16_000), waveform[45 * 16_000 :][: 15 * 16_000]]
    )
    if model.startswith("faster"):
        pytest.importorskip("faster_whisper")
    system = load_system(parse_models(f"tiny={model.format(real_models)}")[0], LoadOptions("cpu", "en"))
    (plain,) = system.transcribe([recording], words=False)
    (timed,) = system.transcribe([recording], words=True)
    assert timed.text == plain.text
    words = [word for segment in timed.segments for word in segment.words or ()]
    assert " ".join("".join(word.word for word in words).split()) == " ".join(timed.text.split())
    spoken = sum(word.end - word.start for word in words if word.end <= 15.5 or word.start >= 34.5)
    assert spoken > 0.9 * sum(word.end - word.start for word in words), "words stand where there is speech"


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny.en", "base"])
def test_its_encoder_is_the_one_under_the_ctc_head(real_models: Path, size: str) -> None:
    path = str(real_models / f"{size}.pt")
    ours = build(ModelConfig(family="whisper-ctc", base=path, vocabulary="new"), ["YES"], seed=0)
    assert isinstance(ours, WhisperCTCRecogniser)
    model = ours.module.eval().model
    waveform = 0.1 * torch.randn(30 * 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = whisper.load_model(path, device="cpu").encoder(whisper.log_mel_spectrogram(waveform)[None])
        lower = model.lower(model.features(waveform[None], torch.tensor([len(waveform)])), 0)
        found = model.upper(lower, 0, torch.tensor([1500]))
    assert float((found - theirs).abs().max()) < 1e-2 * float(theirs.abs().max())
