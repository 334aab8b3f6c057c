"""A fine-tuned Whisper in every format: openai-whisper, transformers and faster-whisper write the same text."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import whisper
import yaml
from torch import Tensor

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.export.__main__ import ExportConfig, main
from finetune.export.formats import FORMATS, export
from finetune.models import build
from finetune.models.base import pad_batch
from finetune.models.whisper import WhisperRecogniser
from finetune.models.whisper_formats import _tokenizer, load_model, suppressed_tokens
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from finetune.training.run_folder import plain
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.errors import InputError, UsageError
from tests.conftest import DEMO
from tests.finetune.runs import TINY_WHISPER, content, tiny_run

pytestmark = pytest.mark.usefixtures("one_thread")


def fine_tuned(folder: Path, base: str, utterances: list[tuple[Tensor, str]], **model: object) -> Path:
    """A run's folder as training leaves it, after two updates over the utterances."""
    settings = ModelConfig(family="whisper", base=base, **model)  # type: ignore[arg-type]
    ours = build(settings, [], seed=0)
    assert isinstance(ours, WhisperRecogniser)
    batch = pad_batch([ours.prepare(i, audio, ours.encode(text)) for i, (audio, text) in enumerate(utterances)])
    optimiser = torch.optim.SGD([p for p in ours.module.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        ours.module(batch, None).backward()
        optimiser.step()
        optimiser.zero_grad()
    ours.save(folder, ours.module)
    config = TrainConfig(output_dir=folder, model=settings, data=DataConfig(train=["x"], validation="x"))
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)), encoding="utf-8")
    return folder


def transcripts(reference: str, waveforms: list[Tensor], language: str | None) -> list[str]:
    """As the benchmark's system writes them."""
    system = load_system(parse_models(reference)[0], LoadOptions("cpu", language))
    return [system.text(system.forward(system.features([one])))[0] for one in waveforms]


def by_transcribe(checkpoint: Path, waveforms: list[Tensor], language: str) -> list[str]:
    """As openai-whisper's transcribe writes them, which fills a window with zeros as faster-whisper does."""
    model = whisper.load_model(str(checkpoint), device="cpu")
    options = dict.fromkeys(("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold"))
    results = [
        whisper.transcribe(
            model, one, language=language, temperature=0.0, without_timestamps=True, fp16=False, **options
        )
        for one in waveforms
    ]
    return [result["text"].strip() for result in results]


def by_transformers(folder: Path, waveforms: list[Tensor]) -> list[str]:
    """As a stranger writes them who knows the folder alone: language, task and suppressed tokens are in it."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model, processor = (one.from_pretrained(folder) for one in (WhisperForConditionalGeneration, WhisperProcessor))
    inputs = processor([one.numpy() for one in waveforms], sampling_rate=16_000, return_tensors="pt").input_features
    return [text.strip() for text in processor.batch_decode(model.generate(inputs), skip_special_tokens=True)]


def heard(manifest: Path, places: tuple[int, ...]) -> list[tuple[Tensor, str]]:
    utterances = open_corpus(str(manifest)).utterances
    return [(load_waveform(utterances[place]), utterances[place].text) for place in places]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    utterances = heard(DEMO / "corpus" / "train.jsonl", (0, 1))
    return fine_tuned(tmp_path_factory.mktemp("run") / "tuned", str(DEMO / "whisper"), utterances)


@pytest.mark.slow
def test_every_format_writes_the_same_text(tuned: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    before = content(tuned)
    waveforms = [audio for audio, _ in heard(DEMO / "corpus" / "test.jsonl", (0, 30, 60))]
    expected = transcripts(f"whisper={tuned}", waveforms, "en")
    assert len(set(expected)) == 3 and all(expected)
    line = export(tuned, tmp_path / "tuned.pt", "openai")
    assert f"whisper={tmp_path / 'tuned.pt'}" in line
    assert transcripts(f"whisper={tmp_path / 'tuned.pt'}", waveforms, "en") == expected
    line = export(tuned, tmp_path / "faster", "ctranslate2")
    assert line.startswith(f"{tmp_path / 'faster'}: ctranslate2, float16, ")
    found = transcripts(f"faster-whisper={tmp_path / 'faster'}", waveforms, "en")
    assert found == by_transcribe(tmp_path / "tuned.pt", waveforms, "en")
    export(tuned, tmp_path / "theirs", "transformers")
    assert len({path.stat().st_mode for path in (tmp_path / "theirs").iterdir()}) == 1
    assert by_transformers(tmp_path / "theirs", waveforms) == expected
    assert transcripts(f"whisper={tmp_path / 'theirs'}", waveforms, "en") == expected
    assert content(tuned) == before
    export(tuned, tmp_path / "faster", "ctranslate2", quantise="int8", overwrite=True)
    sizes = [sum(map(len, content(folder).values())) for folder in (tmp_path / "faster", tmp_path / "theirs")]
    assert sizes[0] < 0.6 * sizes[1]
    assert all(transcripts(f"faster-whisper={tmp_path / 'faster'}", waveforms, "en"))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "corpus", "language"), [("base", "german", "de"), ("tiny.en", "librispeech", None)])
def test_every_format_of_a_real_one_writes_the_same_text(
    real_models: Path, speech: Path, tmp_path: Path, size: str, corpus: str, language: str | None
) -> None:
    pytest.importorskip("faster_whisper")
    test = speech / corpus / ("test.jsonl" if corpus == "german" else "test-other.jsonl")
    tuned = fine_tuned(
        tmp_path / "tuned", str(real_models / f"{size}.pt"), heard(test, (3,)), language=language, trained_layers=0
    )
    waveforms = [audio for audio, _ in heard(test, (0, 1, 2))]
    expected = transcripts(f"whisper={tuned}", waveforms, language or "en")
    assert by_transformers(tuned, waveforms) == expected
    export(tuned, tmp_path / "faster", "ctranslate2", quantise="float32")
    found = transcripts(f"faster-whisper={tmp_path / 'faster'}", waveforms, language or "en")
    assert found == by_transcribe(tuned / "whisper.pt", waveforms, language or "en")
    released = whisper._ALIGNMENT_HEADS[size]
    theirs = load_model(str(real_models / f"{size}.pt"))
    theirs.set_alignment_heads(released)
    export(tuned, tmp_path / "theirs", "transformers")
    assert torch.equal(
        load_model(str(tmp_path / "theirs")).alignment_heads.to_dense(), theirs.alignment_heads.to_dense()
    )


@pytest.mark.slow
def test_the_pipeline_of_a_real_one_is_greedy_as_it_comes(real_models: Path, speech: Path, tmp_path: Path) -> None:
    """Its own default is five beams, which write other texts of hard speech."""
    from transformers import pipeline

    test = speech / "librispeech" / "test-other.jsonl"
    tuned = fine_tuned(tmp_path / "tuned", str(real_models / "tiny.en.pt"), heard(test, (3,)), trained_layers=0)
    export(tuned, tmp_path / "theirs", "transformers")
    waveforms = [audio for audio, _ in heard(test, tuple(range(0, 60, 10)))]
    recognise = pipeline("automatic-speech-recognition", model=str(tmp_path / "theirs"))
    texts = [recognise(one.numpy().copy())["text"].strip() for one in waveforms]
    assert texts == transcripts(f"whisper={tuned}", waveforms, "en")
    beams = [recognise(one.numpy().copy(), generate_kwargs={"num_beams": 5})["text"].strip() for one in waveforms]
    assert texts != beams


@pytest.mark.parametrize(("multilingual", "languages"), [(False, 99), (True, 99), (True, 100)])
def test_the_tokenizer_is_openais(multilingual: bool, languages: int) -> None:
    theirs = whisper.tokenizer.get_tokenizer(multilingual, num_languages=languages, language="de", task="transcribe")
    ours = _tokenizer(multilingual, languages)
    assert len(ours) == theirs.timestamp_begin + 1501
    for text in (
        " Grüße, Frau Müller! 12,5 %",
        "  two  blanks\n",
        " Бытие и 日本語",
        " it's “x” <|de|>"[:9],
        "e\u0301 🎉",
    ):
        ids = theirs.encode(text)
        assert ours.encode(text, add_special_tokens=False) == ids
        assert ours.decode(ids) == text
    for name, place in theirs.special_tokens.items():
        assert ours.convert_tokens_to_ids(name) == place


def test_generation_asks_for_what_was_trained(tmp_path: Path) -> None:
    """Language, task, and the tokens that openai-whisper's decoding suppresses, at the beginning and everywhere."""
    from transformers import GenerationConfig

    sizes = TINY_WHISPER | {"n_vocab": 51_866}
    ours = build(ModelConfig(family="whisper", scratch=sizes, language="de"), [], seed=0)
    ours.save(tmp_path, ours.module)
    found = GenerationConfig.from_pretrained(tmp_path)
    assert isinstance(ours, WhisperRecogniser)
    model = ours.module.model
    options = whisper.DecodingOptions(language="de", without_timestamps=True)
    task = whisper.decoding.DecodingTask(model, options)
    assert (found.language, found.task, found.max_length) == ("<|de|>", "transcribe", 448)
    assert [found.decoder_start_token_id, found.lang_to_id["<|de|>"], found.task_to_id["transcribe"]] == list(
        task.tokenizer.sot_sequence
    )
    assert found.no_timestamps_token_id == task.tokenizer.no_timestamps
    assert found.suppress_tokens == suppressed_tokens(task.tokenizer) == sorted(task._get_suppress_tokens())
    assert found.begin_suppress_tokens == [*task.tokenizer.encode(" "), task.tokenizer.eot]
    assert found.alignment_heads == [[0, 0], [0, 1]]
    assert found.num_beams == 1


def test_what_does_not_fit_is_said(tuned: Path, tmp_path: Path) -> None:
    wav2vec2 = tiny_run(tmp_path / "ctc")
    with pytest.raises(
        InputError, match=r"a wav2vec2 model, and --format ctranslate2 is for whisper; .* transformers$"
    ):
        export(wav2vec2, tmp_path / "out", "ctranslate2")
    export(wav2vec2, tmp_path / "copied", "transformers")
    copied = set(content(tmp_path / "copied"))
    assert copied < {*content(wav2vec2), "training_preprocessing.json"} and "vocab.json" in copied
    with pytest.raises(UsageError, match=r"--quantise is int8 and --format openai, .* expected ctranslate2 or onnx"):
        export(tuned, tmp_path / "out.pt", "openai", quantise="int8")
    with pytest.raises(UsageError, match=r"expected its name to end in \.pt"):
        export(tuned, tmp_path / "out", "openai")
    with pytest.raises(UsageError, match="exists; expected a new path"):
        export(tuned, tmp_path, "transformers")
    with pytest.raises(UsageError, match="contains the run itself"):
        export(tuned, tuned.parent, "transformers", overwrite=True)
    with pytest.raises(UsageError, match="contains copied, which no export writes; expected an earlier export"):
        export(tuned, tmp_path, "transformers", overwrite=True)
    for foreign in ("checkpoints/step-1", ".git/HEAD", "README.md", "whisper.pt", "model.safetensors/x"):
        for name in ("kept/config.json", f"kept/{foreign}"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        expected = rf"kept contains {re.escape(foreign.partition('/')[0])}, which no export writes; expected an earlier"
        with pytest.raises(UsageError, match=expected):
            export(tuned, tmp_path / "kept", "transformers", overwrite=True)
        with pytest.raises(UsageError, match="is a file; expected an earlier export"):
            export(tuned, tmp_path / "kept" / "config.json", "transformers", overwrite=True)
        assert (tmp_path / "kept" / foreign).is_file()
        shutil.rmtree(tmp_path / "kept")
    before = content(tmp_path / "copied")
    (tmp_path / "copied" / "language_model").mkdir()
    (tmp_path / "copied" / "confidence.json").touch()
    export(wav2vec2, tmp_path / "copied", "transformers", overwrite=True)
    assert content(tmp_path / "copied") == before
    (tmp_path / "copied" / "config.json").unlink()
    with pytest.raises(UsageError, match=r"contains no config\.json, which every export writes"):
        export(wav2vec2, tmp_path / "copied", "transformers", overwrite=True)
    with pytest.raises(InputError, match=r"no config\.yaml there"):
        export(tmp_path, tmp_path / "new", "transformers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copied", "ctc"]


def test_the_ending_is_that_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "openai", replace(FORMATS["openai"], suffix=".bin"))
    with pytest.raises(UsageError, match=r"expected its name to end in \.bin"):
        export(tmp_path / "run", tmp_path / "out.pt", "openai")


def test_the_command(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["export", str(tuned), str(tmp_path / "my.pt"), "--format", "openai"])
    main()
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'my.pt'}: openai, ")
    assert (tmp_path / "my.pt").read_bytes() == (tuned / "whisper.pt").read_bytes()
    monkeypatch.setattr("sys.argv", ["export", str(tuned), str(tmp_path / "x"), "--format", "gguf"])
    with pytest.raises(UsageError, match="ctranslate2"):
        main()


def test_torch_compares_with_the_cores_of_a_containers_quota(
    threads_under_quota: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.export.formats.export", lambda *_, **__: "exported")
    monkeypatch.setattr("sys.argv", ["export", "run", "out"])
    main()
    assert threads_under_quota == [1]


def test_every_format_is_an_option() -> None:
    hints = get_type_hints(ExportConfig)
    assert set(get_args(hints["format"])) == set(FORMATS)
    numbers = {number for one in FORMATS.values() for number in one.numbers}
    assert set(get_args(get_args(hints["quantise"])[0])) == numbers
