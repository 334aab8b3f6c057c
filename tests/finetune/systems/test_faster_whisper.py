"""faster-whisper on random weights, beside direct calls of it: texts, words, options and languages."""

import inspect
from pathlib import Path

import pytest
import torch

from preprocessing.errors import InputError
from tests.finetune.systems.tiny_whisper import assert_fitted, heard, load, noise


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
    assert system.facts.settings["precision"] == "float32"


@pytest.mark.parametrize("seconds", [2.0, 45.0, 75.0])
def test_faster_whisper_asked_for_words_decodes_the_same_windows(
    seconds: float, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for words, the library goes on after the last one: another text, and in silence “you”."""
    faster_whisper = pytest.importorskip("faster_whisper")
    system = load("faster-whisper", converted)
    decode, calls = faster_whisper.WhisperModel.generate_with_fallback, []

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr(faster_whisper.WhisperModel, "generate_with_fallback", counted)
    (plain,) = system.transcribe([noise(seconds, 2)], words=False)
    n_windows = len(calls)
    (timed,) = system.transcribe([noise(seconds, 2)], words=True)
    assert len(calls) == 2 * n_windows and n_windows == -(-seconds // 30)
    assert timed.text == plain.text == heard(system, [noise(seconds, 2)])[0]
    words = [word for segment in timed.segments for word in segment.words or ()]
    assert words and all(0 <= word.start <= word.end <= seconds for word in words)
    assert_fitted(timed) if seconds > 30 else None


@pytest.mark.parametrize(
    "given",
    [
        {"initial_prompt": "zero one two"},
        {"beam_size": 3},
        {"temperature": [0.0, 0.4]},
        {"vad_filter": True, "condition_on_previous_text": True},
    ],
)
def test_faster_whisper_decodes_as_the_options_say(
    converted: Path, given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reaches WhisperModel.transcribe, and that it knows every option."""
    faster_whisper = pytest.importorskip("faster_whisper")
    system = load("faster-whisper", converted, "en", **given)
    calls = []

    def transcribe(self: object, waveform: object, **options: object) -> tuple[list[object], None]:
        calls.append(options)
        return [], None

    known = set(inspect.signature(faster_whisper.WhisperModel.transcribe).parameters)
    monkeypatch.setattr(faster_whisper.WhisperModel, "transcribe", transcribe)
    heard(system, [noise(1, 2)])
    (options,) = calls
    assert set(options) <= known
    expected = {"language": "en", "beam_size": 1, "condition_on_previous_text": False, "vad_filter": False} | given
    expected |= {"temperature": given.get("temperature", [0.0]), "without_timestamps": True}
    expected["compression_ratio_threshold"] = 2.4 if "temperature" in given else None
    expected["log_prob_threshold"] = -1.0 if "temperature" in given else None
    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize("told", [None, "en"])
def test_faster_whisper_keeps_a_language_for_a_while(
    converted: Path, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster_whisper = pytest.importorskip("faster_whisper")
    system = load("faster-whisper", converted)
    monkeypatch.setitem(system._options, "language", told)  # type: ignore[attr-defined]
    languages = []

    def transcribe(self: object, waveform: object, **options: object) -> tuple[list[object], None]:
        languages.append(options["language"])
        return [], None

    monkeypatch.setattr(faster_whisper.WhisperModel, "transcribe", transcribe)
    for language in ("de", None):
        with system.in_language(language):
            heard(system, [noise(1, 2)])
        heard(system, [noise(1, 2)])
    assert languages == [told or "de", told, told, told]


def test_faster_whisper_has_as_many_threads_as_torch(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own default is four at most, beside systems with one for each core."""
    faster_whisper = pytest.importorskip("faster_whisper")
    given: list[object] = []
    loaded = faster_whisper.WhisperModel.__init__

    def load_model(self: object, *paths: object, **options: object) -> None:
        given.append(options.get("cpu_threads"))
        loaded(self, *paths, **options)

    monkeypatch.setattr(faster_whisper.WhisperModel, "__init__", load_model)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        load("faster-whisper", converted)
    finally:
        torch.set_num_threads(before)
    assert given == [7]


def test_faster_whisper_computes_in_the_type_that_is_named(converted: Path) -> None:
    system = load("faster-whisper", converted, compute_type="int8")
    assert system.facts.settings["precision"].startswith("int8")
    with pytest.raises(InputError, match=r"compute_type is 'int9'; expected one that this cpu supports, .*int8"):
        load("faster-whisper", converted, compute_type="int9")


def test_faster_whisper_refuses_a_folder_that_holds_none(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("faster-whisper", tmp_path)
