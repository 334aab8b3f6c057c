"""The three ways to Whisper, on random weights in each one's form: batches, languages, options, long recordings."""

import inspect
import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import whisper
from torch import Tensor
from whisper.tokenizer import get_tokenizer

from finetune.models.whisper_formats import complete_generation
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.facts import SystemOptions
from finetune.systems.registry import load_system
from finetune.systems.transcript import MAX_SEGMENT_CHARACTERS, MAX_SEGMENT_SECONDS, Transcript
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from tests.finetune.systems.tiny_whisper import save_tiny_whisper


def load(family: str, checkpoint: Path, language: str | None = "en", **options: object) -> System:
    given = LoadOptions("cpu", language, system=SystemOptions(**options))  # type: ignore[arg-type]
    return load_system(SystemSpec(family, family, str(checkpoint)), given)


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
    return save_openai(tmp_path_factory.mktemp("multilingual") / "model.pt", 51_865)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai(tmp_path_factory.mktemp("english") / "tiny.en.pt", 51_864)


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multilingual, with smaller weights: a beam search finds a likelier text than the greedy one."""
    return save_openai(tmp_path_factory.mktemp("undecided") / "model.pt", 51_865, std=0.4)


def save_openai(path: Path, n_vocab: int, std: float = 2.0) -> Path:
    dims = whisper.ModelDimensions(
        n_mels=80,
        n_audio_ctx=1_500,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=1,
        n_vocab=n_vocab,
        n_text_ctx=16,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = whisper.model.Whisper(dims)
        for parameter in model.parameters():  # large enough that another sound makes another token the likeliest
            torch.nn.init.normal_(parameter, std=std)
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


def assert_fitted(transcript: Transcript) -> None:
    """Segments in order that fit subtitles, or have one word."""
    assert len(transcript.segments) > 1
    assert all(before.end <= max(before.start, after.start) for before, after in pairwise(transcript.segments))
    for segment in transcript.segments:
        fits = (
            segment.end - segment.start <= MAX_SEGMENT_SECONDS and len(segment.text.strip()) <= MAX_SEGMENT_CHARACTERS
        )
        assert fits or (segment.words and len(segment.words) == 1)


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


def test_the_pipeline_of_a_model_that_generates(tiny: Path) -> None:
    """Random weights write anything; what is tested is that batches come back whole and empty ones empty."""
    system = load("pipeline", tiny)
    found = heard(system, [noise(1, 0), torch.zeros(0), noise(2, 1)])
    assert len(found) == 3 and found[1] == ""
    assert found[::2] == heard(system, [noise(1, 0)]) + heard(system, [noise(2, 1)])
    assert system.facts.parameters > 0


def test_a_pipelines_transcript_is_the_benchmarks_in_one_language(tiny: Path) -> None:
    """Over a window too: whole, in the language of its first window or in the one that holds for a while."""
    system = load("pipeline", tiny, language=None)
    assert system.longest_piece_seconds > 45
    waveforms = [noise(3, 3), noise(2, 0)]
    detected = [transcript.language for transcript in system.transcribe(waveforms)]
    assert detected == [system.transcribe([one])[0].language for one in waveforms]
    (long,) = system.transcribe([noise(45, 3)])
    assert [long.text] == heard(system, [noise(45, 3)]) and long.language in ("en", "de")
    times = [time for segment in long.segments for time in (segment.start, segment.end)]
    assert times and times == sorted(times) and times[0] >= 0.0 and times[-1] <= 45.0
    for language in ("en", "de"):
        told = load("pipeline", tiny, language)
        assert told.facts.settings["language"] == language
        with system.in_language(language):
            assert [one.language for one in system.transcribe(waveforms)] == [language] * 2
            assert heard(system, waveforms) == heard(told, waveforms)
        with told.in_language("en"):
            assert told.transcribe(waveforms[:1])[0].language == language
    assert [one.language for one in system.transcribe(waveforms)] == detected
    with pytest.raises(InputError, match="the language is 'fr'; expected the code of one of the 2 languages"):
        load("pipeline", tiny, "fr")


def test_a_pipeline_says_the_language_of_a_fine_tuned_whisper(tiny: Path, tmp_path: Path) -> None:
    """Which its generation_config.json makes it write."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    generation = json.loads((folder / "generation_config.json").read_text()) | {"language": "<|de|>"}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    system = load("pipeline", folder, language=None)
    assert system.facts.settings["language"] == "de"
    assert system.transcribe([noise(2, 0)])[0].language == "de"


def test_a_pipeline_says_the_language_that_forced_decoder_ids_have(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["forced_decoder_ids"] = [
        [1, generation["lang_to_id"]["<|de|>"]],
        [2, generation["task_to_id"]["transcribe"]],
    ]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    system = load("pipeline", folder, language=None)
    assert system.facts.settings["language"] == "de"
    assert system.transcribe([noise(2, 0)])[0].language == "de"
    assert load("pipeline", folder, language="en").facts.settings["language"] == "en"


@pytest.mark.parametrize("n_vocab", [51_864, 51_865, 51_866])
def test_a_whisper_of_an_old_version_is_told_its_languages(n_vocab: int) -> None:
    """Without which transformers refuses `language`: that of each id as openai-whisper has it."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    sizes = {"d_model": 4, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 2, "decoder_ffn_dim": 2}
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=n_vocab, **sizes, **heads))
    complete_generation(model)
    generation = model.generation_config
    if n_vocab == 51_864:  # English-only
        assert not hasattr(generation, "lang_to_id")
        return
    tokens = get_tokenizer(True, num_languages=n_vocab - 51_766)
    assert generation.is_multilingual
    assert generation.lang_to_id == {f"<|{one}|>": tokens.to_language_token(one) for one in tokens.all_language_codes}
    assert generation.task_to_id == {"transcribe": tokens.transcribe, "translate": tokens.translate}
    assert generation.no_timestamps_token_id == tokens.no_timestamps


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


def test_both_whispers_describe_their_decoding_alike(converted: Path, multilingual: Path) -> None:
    ours, faster = (load(family, path).facts.settings for family, path in
                    (("whisper", multilingual), ("faster-whisper", converted)))  # fmt: skip
    assert set(ours) - set(faster) == {"size"} and set(faster) <= set(ours)
    assert {key for key in faster if faster[key] != ours[key]} == {"library", "batch"}


def test_faster_whisper_refuses_a_folder_that_holds_none(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("faster-whisper", tmp_path)
