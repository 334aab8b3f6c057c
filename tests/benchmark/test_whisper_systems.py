"""The three ways to Whisper, on random weights in each one's form: batches, languages, long recordings."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import whisper
from torch import Tensor

from benchmark.systems import load_system
from benchmark.systems.base import LoadOptions, System, SystemSpec
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError
from tests.benchmark.tiny_whisper import save_tiny_whisper


def load(family: str, checkpoint: Path, language: str | None = "en") -> System:
    return load_system(SystemSpec(family, family, str(checkpoint)), LoadOptions("cpu", language))


def heard(system: System, waveforms: Sequence[Tensor]) -> list[str]:
    return system.text(system.forward(system.features(waveforms)))


def noise(seconds: float, seed: int) -> Tensor:
    """[samples], louder with each seed."""
    generator = torch.Generator().manual_seed(seed)
    return 0.02 * (1 + seed) * torch.randn(round(seconds * SAMPLE_RATE), generator=generator)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    save_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as CTranslate2 holds them."""
    converters = pytest.importorskip("ctranslate2.converters")
    folder = tmp_path_factory.mktemp("converted") / "model"
    converter = converters.TransformersConverter(str(tiny), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(folder))
    return folder


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In openai-whisper's form, its languages told apart by chance."""
    dims = whisper.ModelDimensions(
        n_mels=80,
        n_audio_ctx=1_500,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=1,
        n_vocab=51_865,
        n_text_ctx=16,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = whisper.model.Whisper(dims)
        for parameter in model.parameters():  # large enough that another sound makes another token the likeliest
            torch.nn.init.normal_(parameter, std=2.0)
    path = tmp_path_factory.mktemp("multilingual") / "model.pt"
    torch.save({"dims": dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path


def test_the_language_of_each_utterance_of_a_batch_is_detected(multilingual: Path) -> None:
    system = load("whisper", multilingual, language=None)
    assert system.facts.settings["language"] == "detected"
    times = torch.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
    tones = [0.3 * torch.sin(2 * torch.pi * hertz * times[: round(hertz) * 20]) for hertz in (200.0, 1_000.0, 3_000.0)]
    waveforms = [noise(20, 3), *tones]
    outcome = system.forward(system.features(waveforms))
    assert system.text(outcome) == [text for one in waveforms for text in heard(system, [one])]
    model = whisper.load_model(str(multilingual))
    found = []
    for waveform in waveforms:
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform))
        language = max((told := model.detect_language(mel)[1]), key=told.__getitem__)
        options = whisper.DecodingOptions(language=language, temperature=0.0, without_timestamps=True, fp16=False)
        found.append((language, whisper.decode(model, mel, options).text.strip()))
    assert len({language for language, _ in found}) > 1
    assert system.text(outcome) == [text for _, text in found]


def test_a_language_that_is_told_is_not_detected(multilingual: Path) -> None:
    assert load("whisper", multilingual, language="de").facts.settings["language"] == "de"


def test_the_pipeline_of_a_model_that_generates(tiny: Path) -> None:
    """Random weights write anything; what is tested is that batches come back whole and empty ones empty."""
    system = load("pipeline", tiny)
    found = heard(system, [noise(1, 0), torch.zeros(0), noise(2, 1)])
    assert len(found) == 3 and found[1] == ""
    assert found[::2] == heard(system, [noise(1, 0)]) + heard(system, [noise(2, 1)])
    assert system.facts.parameters > 0


@pytest.mark.parametrize("family", ["pipeline", "faster-whisper"])
def test_beyond_a_window_more_is_heard(family: str, tiny: Path, converted: Path) -> None:
    """45 s are two windows, 75 s three: not refused, and not cut off at the first."""
    system = load(family, tiny if family == "pipeline" else converted)
    lengths = [len(heard(system, [noise(seconds, 0)])[0]) for seconds in (45, 75)]
    assert 0 < lengths[0] < lengths[1]


def test_faster_whisper_writes_what_a_direct_call_does(converted: Path) -> None:
    faster_whisper = pytest.importorskip("faster_whisper")
    system = load("faster-whisper", converted)
    model = faster_whisper.WhisperModel(str(converted), device="cpu")
    for seconds in (3.0, 45.0):
        segments, _ = model.transcribe(
            noise(seconds, 2).numpy(),
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=seconds <= 30,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
        )
        expected = "".join(segment.text for segment in segments).strip()
        assert expected and heard(system, [noise(seconds, 2)]) == [expected]
    assert heard(system, [torch.zeros(0)]) == [""]
    assert system.facts.settings["precision"] == "compute_type float32"


def test_faster_whisper_knows_the_options_that_are_pinned() -> None:
    faster_whisper = pytest.importorskip("faster_whisper")
    from benchmark.systems.faster_whisper import PINNED

    known = inspect.signature(faster_whisper.WhisperModel.transcribe).parameters
    assert set(PINNED) | {"language", "without_timestamps"} <= set(known)


def test_faster_whisper_refuses_a_folder_that_holds_none(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("faster-whisper", tmp_path)
