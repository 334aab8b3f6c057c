"""The Whisper family: openai-whisper itself loads what is saved, and the loss is its own cross-entropy."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import sinusoids

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.base import pad_batch
from finetune.models.whisper import CHECKPOINT, FULL_CONTEXT, WhisperRecogniser
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError

DIMENSIONS = {
    "n_mels": 80,
    "n_vocab": 51864,
    "n_audio_ctx": 1500,
    "n_audio_state": 16,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_ctx": 32,
    "n_text_state": 16,
    "n_text_head": 2,
    "n_text_layer": 1,
}


def recogniser(**changes: object) -> WhisperRecogniser:
    settings: dict[str, object] = {"family": "whisper", "scratch": DIMENSIONS, "context_seconds": 2.0} | changes
    built = build(ModelConfig(**settings), [], seed=0)  # type: ignore[arg-type]
    assert isinstance(built, WhisperRecogniser)
    return built


def noise(seconds: float) -> torch.Tensor:
    return 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


def test_openai_whisper_loads_what_is_saved(tmp_path: Path) -> None:
    ours = recogniser()
    ours.save(tmp_path, ours.module)
    loaded = whisper.load_model(str(tmp_path / CHECKPOINT), device="cpu")
    assert loaded.dims.n_audio_ctx == FULL_CONTEXT
    torch.testing.assert_close(
        loaded.encoder.positional_embedding.float(), sinusoids(FULL_CONTEXT, 16), atol=1e-3, rtol=0
    )
    for name, weight in ours.module.model.state_dict().items():
        if name != "encoder.positional_embedding":
            assert torch.equal(loaded.state_dict()[name].half(), weight.half()), name


def test_a_shorter_window_sees_the_same_positions(tmp_path: Path) -> None:
    full = recogniser(context_seconds=30.0)
    full.save(tmp_path, full.module)
    short = recogniser(scratch=None, base=str(tmp_path), context_seconds=2.0)
    expected = full.module.model.encoder.positional_embedding[:100]
    torch.testing.assert_close(short.module.model.encoder.positional_embedding, expected, atol=1e-3, rtol=0)


def test_labels_are_whispers_own_sequence() -> None:
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=False)
    labels = recogniser().encode("turn on the lamp")
    assert labels[:2] == (tokenizer.sot, tokenizer.no_timestamps)
    assert labels[-1] == tokenizer.eot
    assert tokenizer.decode(list(labels[2:-1])) == " turn on the lamp"


def test_windows_are_filled_in_both_of_openai_whispers_ways() -> None:
    """As `decode` is given a silence-padded waveform, and as `transcribe` pads the log-mel with zeros."""
    ours, waveform = recogniser(), noise(0.5)
    silence = whisper.log_mel_spectrogram(torch.nn.functional.pad(waveform, (0, round(1.5 * SAMPLE_RATE))))
    by_decode, by_transcribe = (ours.prepare(index, waveform, ()).inputs for index in (0, 1))
    torch.testing.assert_close(by_decode, silence, atol=1e-4, rtol=0)
    torch.testing.assert_close(by_transcribe[:, :50], silence[:, :50], atol=1e-4, rtol=0)
    assert (by_transcribe[:, 50:] == 0).all()


def test_the_loss_is_the_sum_over_labels_whatever_the_batch() -> None:
    ours = recogniser()
    ours.module.eval()
    examples = [ours.prepare(i, noise(0.4 + 0.3 * i), ours.encode(text)) for i, text in enumerate(["on", "turn it on"])]
    with torch.inference_mode():
        together = ours.module(pad_batch(examples), None)
        alone = sum(ours.module(pad_batch([example]), None) for example in examples)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    assert ours.count_labels(pad_batch(examples)) == sum(len(example.labels) - 1 for example in examples)


def test_spec_augment_masks_speech_alone_and_in_training_alone() -> None:
    module = recogniser(spec_augment="SS").module
    batch = pad_batch([recogniser().prepare(index, noise(1.0), ()) for index in (0, 1)])
    seen: list[torch.Tensor] = []
    module.model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    labels = replace(batch, labels=torch.tensor([[1, 2]] * 2))
    for training, generator in ((True, torch.Generator().manual_seed(4)), (True, None), (False, torch.Generator())):
        module.train(training)(labels, generator)
    masked, *untouched = seen
    assert (masked[..., :100] != batch.inputs[..., :100]).float().mean() > 0.1
    assert torch.equal(masked[..., 100:], batch.inputs[..., 100:])
    assert all(torch.equal(mel, batch.inputs) for mel in untouched)


MULTILINGUAL = DIMENSIONS | {"n_vocab": 51865}  # 99 languages


def test_another_language_is_trained_and_asked_for() -> None:
    """The sequence is that of openai-whisper's decoding, which a checkpoint meets in every program that loads it."""
    ours = recogniser(scratch=MULTILINGUAL, language="de")
    labels = ours.encode("schalte das Licht an")
    options = whisper.DecodingOptions(language="de", without_timestamps=True)
    asked = whisper.decoding.DecodingTask(ours.module.model, options).initial_tokens
    assert labels[: len(asked)] == asked
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=True, language="de")
    assert tokenizer.decode(list(labels[len(asked) : -1])) == " schalte das Licht an"
    assert ours.encode("an") != recogniser(scratch=MULTILINGUAL, language="en").encode("an")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_evaluation_hears_what_decode_hears(precision: torch.dtype) -> None:
    """From one pass through the encoder: the loss of the module's own pass, the text of `whisper.decode`."""
    ours = recogniser(scratch=MULTILINGUAL | {"n_text_ctx": 64}, language="de")
    ours.module.eval()
    batch = pad_batch([ours.prepare(i, noise(0.4 + 0.3 * i), ours.encode(text)) for i, text in enumerate(["ja", "an"])])
    passes: list[int] = []
    ours.module.model.encoder.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        output = ours.evaluate(ours.module, batch)
        assert passes == [1]
        loss = float(ours.module(batch, None))
    assert output.loss == pytest.approx(loss, rel=1e-6)
    assert len(output.hypotheses) == 2
    if precision == torch.float32:
        options = whisper.DecodingOptions(language="de", without_timestamps=True, fp16=False)
        expected = [result.text for result in whisper.decode(ours.module.model, batch.inputs, options)]
        assert [heard.text for heard in output.hypotheses] == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scratch": MULTILINGUAL}, "unset .* expected the code of one of its 99 languages"),
        ({"scratch": MULTILINGUAL, "language": "German"}, "is German .* write de$"),
        ({"language": "de"}, "an English-only Whisper; expected en"),
    ],
)
def test_a_language_that_the_model_lacks_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=f"--model.language .*{said}"):
        recogniser(**changes)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    ours = recogniser()
    assert "window, 2 s" in str(ours.rejection_reason(3 * SAMPLE_RATE, "x"))
    assert "tokens" in str(ours.rejection_reason(SAMPLE_RATE, "many words " * 40))
    assert ours.rejection_reason(SAMPLE_RATE, "fine") is None
    with pytest.raises(UsageError, match="context_seconds"):
        recogniser(context_seconds=31.0)
    with pytest.raises(UsageError, match="n_audio_stat"):
        recogniser(scratch=DIMENSIONS | {"n_audio_stat": 3})
    with pytest.raises(InputError, match="nowhere"):
        recogniser(scratch=None, base="nowhere")
