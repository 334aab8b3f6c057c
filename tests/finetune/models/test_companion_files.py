"""What belongs to a model beside its weights goes with it: into every export, to the Hub, and back from its cache."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import whisper
from huggingface_hub import HfApi

from finetune.alignment.confidence import CALIBRATION, CALIBRATION_OF_SEARCH, Calibration, load_calibration
from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import find_language_model, save_language_model
from finetune.export.formats import export
from finetune.hub.card import CardOptions
from finetune.hub.folder import open_run
from finetune.hub.push import Repository, Target, publish
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.ngram import write_arpa
from finetune.models.companion_files import (
    NAME,
    TrainingPreprocessing,
    generation_language,
    trained_on_denoised,
    training_preprocessing,
)
from finetune.systems.base import LanguageModelOptions, LoadOptions
from finetune.systems.ctc_model import load_ctc
from finetune.systems.registry import load_system, parse_models
from finetune.systems.whisper_decoding import language_of
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.errors import InputError
from preprocessing.text import profile
from preprocessing.units import Vocabulary
from tests.conftest import DEMO
from tests.finetune.runs import content, tiny_run
from tests.loopback_hub import TOKEN, Hub, serve
from tests.loopback_hub import Repository as Held

pytestmark = pytest.mark.usefixtures("one_thread")
CALIBRATIONS = Calibration("gibbs min", 0.5, 1.5), Calibration("gibbs mean", 0.25, 2.0)


def denoised(run: Path, **fields: object) -> Path:
    """The run as --data.denoise true leaves it."""
    about = json.loads((run / "about.json").read_text())
    (run / "about.json").write_text(json.dumps(about | {"denoise": True} | fields))
    return run


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CTC run that is denoised and carries a language model and calibrations."""
    run = denoised(tiny_run(tmp_path_factory.mktemp("ctc") / "run"))
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"):
        (run / name).write_bytes((DEMO / "wav2vec2" / name).read_bytes())  # one that writes words
    for one, of_search in zip(CALIBRATIONS, (False, True), strict=True):
        one.save(run, of_search=of_search)
    texts = [json.loads(line)["text"] for line in (DEMO / "corpus" / "train.jsonl").read_text().splitlines()]
    arpa = run.parent / "some.arpa"
    with arpa.open("w", encoding="utf-8") as file:
        write_arpa(estimate([text.upper().split() for text in texts], 2), file)
    save_language_model(run, arpa, Vocabulary.load(str(run)), BeamSettings(alpha=0.75))
    return run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that the client asks by default, with a cache of its own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with serve(Hub(tokens={TOKEN: "write"}, large_from=50_000)) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def push(hub: Hub, run: Path, name: str) -> None:
    target = Target(name)
    repository = Repository(target, HfApi(hub.endpoint, token=TOKEN), pauses=())
    publish(run, target, CardOptions(name), repository=repository)


@pytest.mark.parametrize("name", ["transformers", "onnx"])
def test_an_export_carries_all_that_its_run_has(ctc: Path, tmp_path: Path, name: str) -> None:
    before, out = content(ctc), tmp_path / "out"
    export(ctc, out, name)
    written = content(out)
    assert content(ctc) == before and "about.json" not in written
    assert json.loads(written[NAME]) == {
        "profile": "librispeech",
        "profile_version": profile("librispeech").version,
        "denoise": True,
    }
    models = {path for path in before if path.startswith("language_model/")}
    assert len(models) == 3
    for path in {CALIBRATION, CALIBRATION_OF_SEARCH, "alphabet.json", *models}:
        assert written[path] == before[path], path
    found = load_ctc(str(out))
    assert found.denoise is not None and found.profile == "librispeech"


def test_an_export_has_the_words_and_confidences_of_its_run(ctc: Path, tmp_path: Path) -> None:
    export(ctc, tmp_path / "out", "onnx")
    waveforms = [load_waveform(one) for one in open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances[:3]]

    def words(reference: str) -> tuple[list[str], list[float]]:
        options = LoadOptions("cpu", None, language_model=LanguageModelOptions(None, as_stored=("alpha",)))
        transcripts = load_system(parse_models(reference)[0], options).transcribe(waveforms)
        found = [word for one in transcripts for segment in one.segments for word in segment.words or ()]
        return [word.word for word in found], [float(word.probability or 0.0) for word in found]

    for suffix in ("", "+lm"):
        ours, theirs = words(f"wav2vec2{suffix}={ctc}"), words(f"onnx{suffix}={tmp_path / 'out'}")
        assert theirs[0] == ours[0] and len(ours[0]) > 5
        assert theirs[1] == pytest.approx(ours[1], abs=1e-3)
        (tmp_path / "out" / (CALIBRATION_OF_SEARCH if suffix else CALIBRATION)).unlink()
        assert words(f"onnx{suffix}={tmp_path / 'out'}")[1] != pytest.approx(ours[1], abs=0.05)


def test_a_repository_carries_it_too_and_its_cache_is_enough(
    ctc: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(hub, ctc, "you/denoised")
    hub.repositories["you/bare"] = Held()

    def all_of(name: str) -> Any:
        return SimpleNamespace(
            recorded=training_preprocessing(name),
            calibrations=(load_calibration(name), load_calibration(name, of_search=True)),
        )

    expected = TrainingPreprocessing("librispeech", profile("librispeech").version, True)
    found = all_of("you/denoised")
    assert found.recorded == expected and found.calibrations == CALIBRATIONS
    files = find_language_model("you/denoised")
    assert files is not None and files.attributes["alpha"] == 0.75
    model = load_ctc("you/denoised")
    assert model.denoise is not None and model.profile == "librispeech"
    assert all_of("you/bare") == SimpleNamespace(recorded=None, calibrations=(None, None))
    assert training_preprocessing("you/nowhere") is None
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert all_of("you/denoised") == found
    assert training_preprocessing("you/never-seen") is None
    assert hub.requests == []


def test_a_whisper_carries_it_in_every_form(tmp_path: Path, hub: Hub) -> None:
    run = denoised(tiny_run(tmp_path / "run", "whisper"))
    (run / "generation_config.json").write_text(
        json.dumps(json.loads((run / "generation_config.json").read_text()) | {"language": "<|de|>"})
    )
    expected = TrainingPreprocessing("librispeech", profile("librispeech").version, True)
    push(hub, run, "you/whisper")
    places = [str(run), str(run / "whisper.pt"), "you/whisper"]
    export(run, tmp_path / "theirs", "transformers")
    export(run, tmp_path / "mine.pt", "openai")
    places += [str(tmp_path / "theirs"), str(tmp_path / "mine.pt")]
    try:
        export(run, tmp_path / "faster", "ctranslate2")
        places.append(str(tmp_path / "faster"))
    except InputError as error:
        assert "ctranslate2 is not installed" in str(error)
    for place in places:
        assert training_preprocessing(place) == expected, place
        assert language_of(place) == "de", place
    ours, theirs = (whisper.load_model(str(path), device="cpu") for path in (run / "whisper.pt", tmp_path / "mine.pt"))
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))
    (tmp_path / "theirs" / "other.pt").write_bytes((run / "whisper.pt").read_bytes())
    assert training_preprocessing(str(tmp_path / "theirs" / "other.pt")) is None  # beside a folder's files by chance


GERMAN = {"forced_decoder_ids": [[1, 50261], [2, 50359], [3, 50363]]}


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (GERMAN, {}, "<|de|>"),
        (GERMAN | {"language": "fr"}, {}, "fr"),
        (GERMAN | {"lang_to_id": {"<|en|>": 50261}}, {}, "<|en|>"),
        ({"forced_decoder_ids": [[1, None], [2, 50359]]}, GERMAN, None),  # as released: detected
        (GERMAN | {"task": "transcribe"}, GERMAN, None),  # transformers then detects, too
        (None, GERMAN, "<|de|>"),
        ({"forced_decoder_ids": [[1, 50362]]}, {}, None),  # English-only: no timestamps
        ({"forced_decoder_ids": 3}, {}, None),
        ({"forced_decoder_ids": None}, {"forced_decoder_ids": None}, None),
    ],
)
def test_a_whispers_language_may_be_in_forced_decoder_ids(
    tmp_path: Path, generation: dict[str, Any] | None, config: dict[str, Any], expected: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert generation_language(str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("recorded", "suffix"),
    [
        ("ctc:mine", ""),
        ("ctc:mine:de", ":de"),
        ("ctc:de", ""),
        ("ctc:facebook/x:pt_BR:transliterate", ":pt_BR:transliterate"),
        ("ctc:mine:transliterate", ":transliterate"),
    ],
)
def test_a_profile_that_was_fitted_to_a_model_elsewhere_is_fitted_to_this_one(
    tmp_path: Path, recorded: str, suffix: str
) -> None:
    """A record names no folder, so that "ctc:mine" may be nowhere, or another model, on the machine that reads it."""
    for path in (DEMO / "wav2vec2").iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / NAME).write_text(json.dumps({"profile": recorded, "profile_version": 1, "denoise": False}))
    assert load_ctc(str(tmp_path)).profile == f"ctc:{tmp_path}{suffix}"


@pytest.mark.parametrize("said", ["[]", "{", '{"denoise": "yes"}', '{"profile": 3, "denoise": true}'])
@pytest.mark.parametrize("name", [NAME, "about.json"])
def test_a_record_that_cannot_be_used_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_text(said)
    with pytest.raises(InputError, match=rf"{name}: does not say how the model was trained .*; expected .*: restore"):
        trained_on_denoised(str(tmp_path))


def test_what_cannot_have_a_record_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.pt").write_text("no tensors")
    for reference in ("base.en", "en-us, in the package", "package.module:Class", str(tmp_path)):
        assert training_preprocessing(reference) is None
    for name in ("empty.pt", "text.pt"):
        assert training_preprocessing(str(tmp_path / name)) is None


def test_the_language_model_of_others_is_uploaded_as_it_is(ctc: Path, tmp_path: Path) -> None:
    """pyctcdecode's folders may hold a binary file of KenLM under another name."""
    run = tiny_run(tmp_path / "run")
    (run / "language_model").mkdir()
    for name, text in (("attrs.json", '{"alpha": 0.5}'), ("5gram.bin", "mmap lm http://kheafield.com"), (".part", "")):
        (run / "language_model" / name).write_text(text)
    uploaded = {name for name in open_run(run).uploads() if "language_model" in name}
    assert uploaded == {"language_model/attrs.json", "language_model/5gram.bin"}
