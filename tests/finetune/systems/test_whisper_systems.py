"""openai-whisper on random weights: batches, languages, options, long recordings; and the other ways to it alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
import whisper

from finetune.systems.base import System
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from tests.finetune.systems.tiny_whisper import assert_fitted, heard, load, noise, save_openai


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai(tmp_path_factory.mktemp("english") / "tiny.en.pt", 51_864)


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multilingual, with smaller weights: a beam search finds a likelier text than the greedy one."""
    return save_openai(tmp_path_factory.mktemp("undecided") / "model.pt", 51_865, std=0.4)


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


def test_a_language_holds_for_a_while_where_none_is_told(multilingual: Path) -> None:
    """Of a window and of a long recording; what is told stays."""
    system = load("whisper", multilingual, language=None)
    waveforms = [noise(3, 3), noise(31, 3)]

    def languages(system: System) -> list[str | None]:
        return [system.transcribe([one], words=False)[0].language for one in waveforms]

    detected = languages(system)
    for language in ("en", "de"):
        with system.in_language(language):
            assert languages(system) == [language, language]
            assert heard(system, waveforms[:1]) == heard(load("whisper", multilingual, language), waveforms[:1])
        with system.in_language(None):
            assert languages(system) == detected
    told = load("whisper", multilingual, language="de")
    with told.in_language("en"):
        assert languages(told) == ["de", "de"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"initial_prompt": "zero one two"}, {"prompt": "zero one two"}),
        ({"beam_size": 3}, {"beam_size": 3}),
    ],
)
def test_openai_whisper_decodes_as_the_options_say(
    undecided: Path, given: dict[str, object], expected: dict[str, object]
) -> None:
    """In a batch as in a direct call of each, and otherwise than without the option."""
    system = load("whisper", undecided, **given)
    model = whisper.load_model(str(undecided))
    options = whisper.DecodingOptions(language="en", temperature=0.0, without_timestamps=True, fp16=False, **expected)
    waveforms = [noise(seconds, seed) for seconds, seed in ((3, 2), (20, 3), (0.5, 1))]
    windows = [whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform)) for waveform in waveforms]
    found = heard(system, waveforms)
    assert found == [whisper.decode(model, window, options).text.strip() for window in windows]
    assert found != heard(load("whisper", undecided), waveforms)
    for name, value in given.items():
        assert system.facts.settings[name] == str(value)


def test_temperature_fallback_is_whispers_own(multilingual: Path) -> None:
    """No longer in batches: each recording is decoded again at the next temperature where its text is improbable."""
    system = load("whisper", multilingual, temperature=[0.0, 0.6])
    assert not system.batched and system.facts.settings["batch"] == "one at a time"
    model = whisper.load_model(str(multilingual))
    for seconds in (2, 35):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            (found,) = heard(system, [noise(seconds, 2)])
            torch.manual_seed(1)
            expected = whisper.transcribe(
                model, noise(seconds, 2), language="en", temperature=(0.0, 0.6), best_of=5, fp16=False,
                condition_on_previous_text=False, without_timestamps=seconds <= 30,
            )  # fmt: skip
        assert found == expected["text"].strip()
    assert heard(system, [torch.zeros(0)]) == [""]
    assert system.facts.settings["temperature"].startswith("0, then 0.6 where compression ratio > 2.4")


def test_word_times_leave_the_text_of_long_recordings_as_it_is(multilingual: Path) -> None:
    """openai-whisper's own word_timestamps moves its windows, and with them the text."""
    system = load("whisper", multilingual)
    recording = noise(70, 2)
    (plain,) = system.transcribe([recording], words=False)
    (timed,) = system.transcribe([recording], words=True)
    assert timed.text == plain.text == heard(system, [recording])[0] != ""
    for segment in timed.segments:
        assert segment.words and "".join(word.word for word in segment.words).strip() == segment.text.strip()
        times = [(word.start, word.end) for word in segment.words]
        assert all(0 <= start <= end <= 70 for start, end in times), times
    assert_fitted(timed)


def test_a_sampling_temperature_draws(multilingual: Path) -> None:
    system = load("whisper", multilingual, temperature=50.0)
    with torch.random.fork_rng():
        texts = set()
        for seed in range(3):
            torch.manual_seed(seed)
            texts |= set(heard(system, [noise(2, 2)]))
    assert len(texts) > 1 and system.facts.settings["decoding"] == "sampling"


def test_a_language_that_the_model_does_not_know_is_refused(english: Path, multilingual: Path, tiny: Path) -> None:
    assert load("whisper", english, "en").facts.settings["language"] == "en"
    assert load("whisper", english, None).facts.settings["language"] == "en"
    with pytest.raises(InputError, match=r"is an English-only Whisper, and the language is de; expected en: name a"):
        load("whisper", english, "de")
    with pytest.raises(InputError, match=r"the language is 'german'; expected the code of one of the 99 languages"):
        load("whisper", multilingual, "german")


@pytest.mark.parametrize("seconds", [3, 31])
def test_probabilities_that_are_not_numbers_are_one_sentence(seconds: int, english: Path) -> None:
    system: Any = load("whisper", english)
    with torch.no_grad():
        system._model.decoder.ln.bias[0] = torch.nan
    for attempt in (lambda: heard(system, [noise(seconds, 3)]), lambda: system.transcribe([noise(seconds, 3)])):
        with pytest.raises(InputError, match="gives NaN log-probabilities"):
            attempt()


def test_sizes_are_known_by_their_dimensions(multilingual: Path) -> None:
    from finetune.systems.whisper import size_of

    def dims(state: int, layers: int, text_layers: int, n_vocab: int, n_mels: int = 80) -> whisper.ModelDimensions:
        return whisper.ModelDimensions(n_mels, 1500, state, 6, layers, n_vocab, 448, state, 6, text_layers)

    assert size_of(dims(384, 4, 4, 51_864)) == "tiny.en"
    assert size_of(dims(512, 6, 6, 51_865)) == "base"
    assert size_of(dims(1280, 32, 32, 51_865)) == "large"
    assert size_of(dims(1280, 32, 32, 51_866, 128)) == "large-v3"
    assert size_of(dims(1280, 32, 4, 51_866, 128)) == "turbo"
    assert load("whisper", multilingual).facts.settings["size"] == "1 and 1 layers of 16"


@pytest.mark.parametrize("family", ["pipeline", "faster-whisper"])
def test_beyond_a_window_more_is_heard(family: str, tiny: Path, converted: Path) -> None:
    """45 s are two windows, 75 s three: not refused, and not cut off at the first."""
    system = load(family, tiny if family == "pipeline" else converted)
    lengths = [len(heard(system, [noise(seconds, 0)])[0]) for seconds in (45, 75)]
    assert 0 < lengths[0] < lengths[1]


def test_segments_of_long_recordings_are_fitted(multilingual: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose windows overlap where one was timed beyond the next one's beginning."""
    system = load("whisper", multilingual)
    words = [{"word": f" {n}", "start": 0.9 * n, "end": 0.9 * n + 0.9, "probability": 0.5} for n in range(31)]
    segments = [
        {"start": 0.0, "end": 28.0, "text": "".join(str(one["word"]) for one in words), "words": words},
        {"start": 27.0, "end": 29.0, "text": " end", "words": [{**words[0], "start": 27.0, "end": 29.0}]},
    ]
    told = {"text": "told", "language": "en", "segments": [{**one, "avg_logprob": -1.0} for one in segments]}
    monkeypatch.setattr(system, "_long", lambda waveform: told)
    monkeypatch.setattr(system, "_time_words", lambda waveform, outcome: None)
    (found,) = system.transcribe([torch.zeros(31 * SAMPLE_RATE)])
    assert_fitted(found)
    assert len(found.segments) > 4 and [one.end for one in found.segments[-2:]] == [27.0, 29.0]


@pytest.mark.parametrize("n_samples", [160, 200, 319, 320])
@pytest.mark.parametrize("family", ["whisper", "faster-whisper"])
def test_less_than_a_frame_of_the_encoder_has_word_times_too(
    family: str, n_samples: int, multilingual: Path, converted: Path
) -> None:
    system = load(family, converted if family == "faster-whisper" else multilingual)
    (found,) = system.transcribe([noise(1, 2)[:n_samples]])
    assert found.text == heard(system, [noise(1, 2)[:n_samples]])[0]
    times = [time for one in (*found.segments, *(w for s in found.segments for w in s.words or ())) for time in
             (one.start, one.end)]  # fmt: skip
    assert times and all(0 <= time <= n_samples / SAMPLE_RATE for time in times)


def test_both_whispers_describe_their_decoding_alike(converted: Path, multilingual: Path) -> None:
    ours, faster = (load(family, path).facts.settings for family, path in
                    (("whisper", multilingual), ("faster-whisper", converted)))  # fmt: skip
    assert set(ours) - set(faster) == {"size"} and set(faster) <= set(ours)
    assert {key for key in faster if faster[key] != ours[key]} == {"library", "batch"}
