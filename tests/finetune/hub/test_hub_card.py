"""The model card: metadata read back by huggingface_hub's classes, figures counted by jiwer, hostile names harmless."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jiwer
import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard
from hypothesis import given
from hypothesis import strategies as st

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.hub.card import CardOptions, model_card, plain_text
from finetune.hub.folder import open_run
from finetune.hub.push import card_of
from finetune.models import publication
from finetune.models.about import describe, hub_id, to_json, without_folders
from finetune.training.log import read_log
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.finetune.runs import PAIRS, PRIVATE, tiny_run
from tests.loopback_hub.metadata import refused_metadata

HOSTILE = "x | </td>\n---\nlicense: stolen\n---\n# [a](javascript:b) ${c} `d` \\"


def test_the_metadata_say_what_it_is(run: Path) -> None:
    data = ModelCard(model_card(open_run(run), CardOptions("you/my_model", "cc-by-4.0"))).data
    assert (data.language, data.license, data.library_name) == ("en", "cc-by-4.0", "transformers")
    assert data.pipeline_tag == "automatic-speech-recognition"
    assert data.tags == ["automatic-speech-recognition", "wav2vec2", "ctc"]
    assert data.model_name == "my_model"
    assert data.base_model is None
    wer, cer = data.eval_results
    assert isinstance(wer, EvalResult)
    references, hypotheses = (list(column) for column in zip(*PAIRS, strict=True))
    assert wer.metric_value == pytest.approx(100 * jiwer.wer(references, hypotheses), abs=0.005)
    assert cer.metric_value == pytest.approx(100 * jiwer.cer(references, hypotheses), abs=0.005)
    assert wer.metric_args["profile"] == "librispeech"
    low, high = wer.metric_args["interval_95"]
    assert low < wer.metric_value < high


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({"steps": [20], "metric": "cer"}, "those with the lowest validation CER, at step 20 of 20."),
        (
            {"steps": [10, 20], "metric": "wer"},
            "the mean of those at steps 10, 20 of 20, whose validation WER is not above that of any of them",
        ),
        (None, "those of the best evaluation on the validation data."),
    ],
)
def test_the_weights_are_those_that_training_says_it_saved(
    best: dict[str, Any] | None, expected: str, run: Path, tmp_path: Path
) -> None:
    """Whatever the evaluations' WERs are: in languages without spaces the CER decides, and a mean has no step."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    lines = read_log(copy)
    kept = [line for line in lines if line["kind"] != "best"] if best is None else [*lines, {"kind": "best", **best}]
    (copy / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    assert f"The weights are {expected}" in model_card(open_run(copy), CardOptions("you/my_model"))


def test_the_architecture_is_a_tag(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    for model_type, tags in (("hubert", ["hubert", "ctc"]), (None, ["ctc"])):
        (copy / "config.json").write_text(json.dumps(config | {"model_type": model_type}), encoding="utf-8")
        card = ModelCard(model_card(open_run(copy), CardOptions("you/my_model")))
        assert card.data.tags == ["automatic-speech-recognition", *tags]


def test_the_page_tells_recipe_data_and_limits(run: Path) -> None:
    page = model_card(open_run(run), CardOptions("you/my_model"))
    for part in (
        'pipeline("automatic-speech-recognition", model="you/my_model")',
        "paths need the ffmpeg program",
        "| training | train.jsonl | 120 | 0.10 | 6 |",
        "| learning\\_rate | 0.0003 |",
        "trained from scratch; 0.0 M parameters",
        "at step 10 of 20",
        "profile librispeech, version 4",
        "studentised bootstrap over speakers",
        "counted by rapidfuzz",
        "not measured on a separate test set",
        "held out of the training corpora",
        "![Loss and error rates over steps](curve.png)",
        "torch 2.11",
    ):
        assert part in page
    assert PRIVATE not in page
    assert "\n\n\n" not in page
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1


@pytest.mark.parametrize("speakers", ["other", "same", None])
def test_speakers_of_validation_are_apart_or_may_not_be(run: Path, tmp_path: Path, speakers: str | None) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "mine"))
    validation = [Utterance("v", "v.wav", "YES", 1.0, speaker=speakers)]
    training = [Utterance("t", "t.wav", "NO", 1.0, speaker="same"), Utterance("u", "u.wav", "NO", 1.0, speaker="third")]
    config = TrainConfig(
        output_dir=tmp_path, model=ModelConfig(), data=DataConfig(train=["x.jsonl"], validation_share=0.1)
    )
    made_of = describe(
        config, parameters=1, training=training, validation=validation, text_profile=profile("librispeech")
    )
    (mine / "about.json").write_text(to_json(made_of), encoding="utf-8")
    page = model_card(open_run(mine), CardOptions("you/m"))
    apart = "- Validation speakers are not in training, but come from the same corpora, so rooms and microphones may be"
    assert (apart in page, "the same speakers, rooms" in page) == (
        (True, False) if speakers == "other" else (False, True)
    )


@pytest.mark.parametrize("family", ["lstm", "whisper-ctc"])
def test_the_hub_offers_no_snippet_that_fails(run: Path, family: str) -> None:
    """transformers' own would not know the architecture."""
    opened = dataclasses.replace(open_run(run), family=publication(family))
    data = ModelCard(model_card(opened, CardOptions("you/m"))).data
    assert (data.library_name, data.pipeline_tag) == ("speech-on-your-own", "automatic-speech-recognition")


def test_the_page_tells_of_a_language_model(run: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "mine"))
    assert "language model" not in model_card(open_run(mine), CardOptions("you/my_model"))
    (mine / "language_model").mkdir()
    (mine / "language_model" / "words.arpa").touch()
    (mine / "language_model" / "attrs.json").write_text(json.dumps({"alpha": 0.4, "beta": 1.5}))
    page = model_card(open_run(mine), CardOptions("you/my_model"))
    for part in (
        "`python -m finetune.transcribe wav2vec2+lm=you/my_model speech.wav`",
        "alpha 0.4 and beta 1.5, were tuned on validation speech",
    ):
        assert part in page
    assert "\n\n\n" not in page


def test_hostile_names_stay_text(run: Path, tmp_path: Path) -> None:
    opened = open_run(run)
    assert opened.about is not None
    training = dataclasses.replace(opened.about.training, corpora=(HOSTILE,))
    about = dataclasses.replace(opened.about, training=training, validation=training, profile_description=HOSTILE)
    text = model_card(dataclasses.replace(opened, about=about), CardOptions("you/m"))
    card = ModelCard(text)
    assert card.data.license is None
    assert card.data.eval_results[0].dataset_type == HOSTILE
    body = text.split("\n---\n", 2)[-1]
    assert "\n# [a]" not in body and "</td>" not in body
    rows = [line for line in body.splitlines() if line.startswith("| training")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 6


@given(st.text())
def test_plain_text_is_one_line_that_reads_as_it_was(text: str) -> None:
    shown = plain_text(text)
    assert len(shown.splitlines()) <= 1
    assert re.sub(r"\\([\\`*_{}\[\]<>#|~$&!])", r"\1", shown) == " ".join(text.split())


@given(st.lists(st.from_regex(r"[A-Za-z0-9_. -]+", fullmatch=True), min_size=2, max_size=5))
def test_no_folder_of_an_absolute_path_is_left(parts: list[str]) -> None:
    assert "/" not in without_folders("/" + "/".join(parts))
    assert without_folders(f"ctc:/{'/'.join(parts)}:de").count("/") == 0


@pytest.mark.parametrize(
    ("size", "name"),
    [("large", "large-v3"), ("turbo", "large-v3-turbo"), ("large-v2", "large-v2"), ("base.en", "base.en")],
)
def test_the_base_of_a_whisper_is_the_repository_of_its_weights(size: str, name: str) -> None:
    """large and turbo are names of openai-whisper for weights that the Hub has under others."""
    assert hub_id(size, "whisper") == hub_id(size, "whisper-ctc") == f"openai/whisper-{name}"


def test_whisper_has_a_card_of_its_own(tmp_path: Path) -> None:
    run = open_run(tiny_run(tmp_path / "run", "whisper"))
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    model = {"whisper.pt", "model.safetensors", "config.json", "generation_config.json", "preprocessor_config.json"}
    assert set(run.uploads()) == {*model, *tokenizer, "config.yaml", "curve.png", "training_preprocessing.json"}
    page = model_card(run, CardOptions("you/mine"))
    assert 'whisper.load_model(hf_hub_download("you/mine", "whisper.pt"))' in page
    assert page.count("the ffmpeg program") == 2 and "over 30 s:" in page and "return_timestamps=True" in page
    assert ModelCard(page).data.library_name == "transformers"


def test_the_card_of_an_english_only_whisper_names_english(tmp_path: Path) -> None:
    folder = tiny_run(tmp_path / "run", "whisper", language=None)
    assert ModelCard(model_card(open_run(folder), CardOptions("you/mine"))).data.language == "en"


def test_the_card_of_a_multilingual_whisper_names_its_language(tmp_path: Path) -> None:
    """Where the manifest names none: in the metadata, and where openai-whisper would detect it."""
    folder = tiny_run(tmp_path / "run", "whisper")
    about = json.loads((folder / "about.json").read_text())
    about["training"]["languages"] = []
    (folder / "about.json").write_text(json.dumps(about))
    generation = json.loads((folder / "generation_config.json").read_text()) | {"language": "<|de|>"}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    page = model_card(open_run(folder), CardOptions("you/mine"))
    assert ModelCard(page).data.language == "de"
    assert 'model.transcribe("speech.wav", language="de", temperature=0)' in page


@pytest.mark.parametrize(
    ("corpus", "model", "expected"),
    [
        ([], "cmn-script_simplified", "zh"),
        ([], "deu", "de"),
        ([], "abk", "abk"),  # which Whisper has no code of
        (["de"], "deu", "de"),
        (["German", "Jw"], None, ["de", "jv"]),
    ],
)
def test_languages_are_codes_of_the_hub(
    run: Path, tmp_path: Path, corpus: list[str], model: str | None, expected: str | list[str]
) -> None:
    """However the corpus and the adapter of an MMS model name them."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    about = json.loads((copy / "about.json").read_text())
    about["training"]["languages"] = corpus
    (copy / "about.json").write_text(json.dumps(about))
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["model"]["language"] = model
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    data = ModelCard(card_of(open_run(copy), CardOptions("you/mine"))).data
    assert data.language == expected
    assert not list(refused_metadata(data.to_dict()))
    assert list(refused_metadata({"language": "cmn-script_simplified"}))


def test_a_licence_of_its_own_has_a_name_and_an_address(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    config = yaml.safe_load((copy / "config.yaml").read_text())
    own = {"license": "other", "license_name": "mine-1.0", "license_link": "https://example.org/mine"}
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {f"hub_{key}": value for key, value in own.items()}))
    data = ModelCard(card_of(open_run(copy), CardOptions("you/mine"))).data.to_dict()
    assert {key: data[key] for key in own} == own
    other = ModelCard(card_of(open_run(copy), CardOptions("you/mine", "mit"))).data.to_dict()
    assert other["license"] == "mit" and not {"license_name", "license_link"} & set(other)


def test_weights_from_before_the_first_update_are_said_to_be_so(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    lines = [{"kind": "validation", "step": 20}, {"kind": "best", "step": 0, "steps": [0], "metric": "wer"}]
    (copy / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = model_card(open_run(copy), CardOptions("you/mine"))
    assert "at step 0 of 20, before the first update, as no later ones were better." in page


def test_an_older_run_has_a_card_too(run: Path, tmp_path: Path) -> None:
    """Without about.json, log or transcripts: what is not known is said to be so."""
    for name in ("config.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    text = model_card(open_run(tmp_path), CardOptions("you/m", language="de"))
    assert "No results were recorded" in text and "did not record its data" in text
    assert ModelCard(text).data.language == "de"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"config.yaml": None}, "no config.yaml there"),
        ({"config.yaml": b"a: [b"}, "cannot be read as a run"),
        ({"config.yaml": b"model: {family: hmm}"}, "'hmm' is unknown"),
        ({"model.safetensors": None}, "finish the training first"),
        ({"about.json": b"{}"}, "cannot be read as a run"),
        ({"log.jsonl": b"x\n"}, "cannot be read as a run"),
    ],
)
def test_what_is_no_run_is_one_sentence(
    run: Path, tmp_path: Path, change: dict[str, bytes | None], expected: str
) -> None:
    for path in run.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for name, content in change.items():
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected) as caught:
        open_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert json.dumps(str(tmp_path))[1:-1] in str(caught.value) or "hmm" in str(caught.value)
