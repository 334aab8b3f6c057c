"""What is heard under which condition: the corpus clean, some of it otherwise, in every run the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.conditions import parse_conditions
from benchmark.config import BenchmarkConfig
from benchmark.dataset import (
    build_evaluation_set,
    check_recordings,
    check_segments,
    requested_conditions,
    waveform_loader,
    with_language,
)
from benchmark.inputs import resolve_inputs
from benchmark.offline import resolve_corpus
from benchmark.results import ConditionUsed
from preprocessing import audio
from preprocessing.corpus import Segment, Utterance, open_corpus
from preprocessing.errors import InputError, UsageError
from tests.conftest import DEMO, write_manifest

[CLEAN] = parse_conditions("clean", seed=0, noise=None, rooms=None)
HALVED = ConditionUsed("halved", "half as loud", speech=False)


@dataclass(frozen=True)
class Halved:
    """Half as loud, and nothing counts as said."""

    used: ConditionUsed = HALVED

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        return [replace(utterance, text="") for utterance in corpus]

    def apply(self, waveform: torch.Tensor, id: str) -> torch.Tensor:
        return waveform / 2


def test_other_conditions_have_a_part_of_the_corpus() -> None:
    utterances = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances
    condition: Any = Halved()
    chosen = build_evaluation_set([CLEAN, condition], utterances, 5)
    assert chosen.utterances[0] == utterances
    assert [one.id for one in chosen.utterances[1]] == [utterances[place].id for place in (0, 25, 50, 74, 99)]
    assert {one.text for one in chosen.utterances[1]} == {""}
    assert len(chosen.items()) == len(set(chosen.items())) == 105
    load = waveform_loader(chosen, denoise=False)
    plain = audio.load(utterances[25].audio)
    assert torch.equal(load((0, 25)), plain)
    assert torch.equal(load((1, 1)), plain / 2)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [("telephone", ["clean", "telephone"]), ("telephone,clean", ["clean", "telephone"]), ("clean", ["clean"])],
)
def test_clean_speech_is_first_and_always_there(conditions: str, names: list[str]) -> None:
    chosen = requested_conditions(BenchmarkConfig(conditions=conditions))
    assert [condition.used.name for condition in chosen] == names


@pytest.mark.parametrize(("condition", "flag"), [("noise:10", "noise"), ("noise-only", "noise"), ("reverb", "rooms")])
@pytest.mark.parametrize("content", ["damaged", "silent"])
def test_a_noise_or_room_that_cannot_be_used_is_refused_beforehand(
    tmp_path: Path, condition: str, flag: str, content: str
) -> None:
    """Found while a system transcribes, it would count as that system's failure: all words deleted."""
    utterances = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances
    audio.save(tmp_path / "good.wav", audio.load(utterances[0].audio))
    chosen = build_evaluation_set(
        requested_conditions(BenchmarkConfig(conditions=condition, **{flag: tmp_path})), utterances, 20
    )
    check_recordings(chosen)
    if content == "silent":
        audio.save(tmp_path / "bad.wav", torch.zeros(16_000))
    else:
        (tmp_path / "bad.wav").write_bytes(b"no audio")
    chosen = build_evaluation_set(
        requested_conditions(BenchmarkConfig(conditions=condition, **{flag: tmp_path})), utterances, 20
    )
    with pytest.raises(UsageError, match=rf"--conditions {condition}: .*bad\.wav"):
        check_recordings(chosen)


def test_several_texts_of_the_same_audio_are_noted(tmp_path: Path) -> None:
    """Rows with ids and no times: at most one of them has the text of all that is said in the file."""
    audio.save(tmp_path / "talk.wav", torch.zeros(32_000))
    rows: list[dict[str, object]] = [
        {"id": f"s{place}", "audio": "talk.wav", "text": text} for place, text in enumerate(("ONE", "TWO", "ONE "))
    ]
    rows += [{"id": "left", "audio": "talk.wav", "text": "FOUR", "start": 0.0, "stop": 0.5}]
    rows += [{"id": "right", "audio": "talk.wav", "text": "FIVE", "start": 0.5, "stop": 1.0}]
    notices: list[str] = []
    resolve_corpus(BenchmarkConfig(data=str(write_manifest(tmp_path / "a.jsonl", rows))), notices)
    (notice,) = notices
    assert "1 utterance, such as 's1' and 's0', have the same whole file as another one has, and another text" in notice
    rows += [{"id": "again", "audio": "talk.wav", "text": "SIX", "start": 0.5, "stop": 1.0}]
    found = resolve_corpus(BenchmarkConfig(data=str(write_manifest(tmp_path / "b.jsonl", rows[3:]))), notices)
    assert len(found.utterances) == 3 and "such as 'again' and 'right', have the same part as" in notices[1]


def test_brackets_of_a_notice_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio.save(tmp_path / "a.wav", torch.zeros(32_000))
    rows = [{"id": id, "audio": "a.wav", "text": id, "duration": 2.0} for id in ("one [/b]", "two")]
    data = str(write_manifest(tmp_path / "a.jsonl", rows))
    models = "tests.benchmark.odd_systems:One"
    resolve_inputs(BenchmarkConfig(models=models, data=data, conditions="clean", output_dir=tmp_path / "out"))
    assert "'one [/b]'" in " ".join(capsys.readouterr().out.split())


def test_a_limit_that_leaves_some_out_is_a_notice(tmp_path: Path) -> None:
    audio.save(tmp_path / "a.wav", torch.zeros(32_000))
    rows = [{"id": f"u{place}", "audio": "a.wav", "text": "x", "duration": 2.0} for place in range(3)]
    data = str(write_manifest(tmp_path / "a.jsonl", rows))
    notices: list[str] = []
    found = resolve_corpus(BenchmarkConfig(data=data, limit=2), notices)
    assert [one.id for one in found.utterances] == ["u0", "u2"] and found.whole == 3
    assert notices[-1] == "--limit 2: only 2 of 3 utterances are measured, evenly spaced."
    notices.clear()
    resolve_corpus(BenchmarkConfig(data=data, limit=3), notices)
    assert not any("--limit" in notice for notice in notices)


def test_durations_are_those_of_the_files(tmp_path: Path) -> None:
    """RTFx is of seconds that were heard, not of seconds that a manifest claims."""
    audio.save(tmp_path / "a.wav", torch.zeros(32_000))
    rows = [{"id": "whole", "audio": "a.wav", "text": "x", "duration": 200.0}]
    rows += [{"id": "part", "audio": "a.wav", "text": "x", "start": 0.5, "stop": 2.05}]
    notices: list[str] = []
    found = resolve_corpus(BenchmarkConfig(data=str(write_manifest(tmp_path / "a.jsonl", rows))), notices)
    assert [round(one.duration, 3) for one in found.utterances] == [2.0, 1.5]
    (notice,) = notices
    assert "the stated duration of 1 utterance, such as 'whole', is not the file's" in notice
    rows += [{"id": "late", "audio": "a.wav", "text": "x", "offset": 1.0, "duration": 100.0}]
    late = BenchmarkConfig(data=str(write_manifest(tmp_path / "b.jsonl", rows)))
    with pytest.raises(InputError, match=r"^late: stop 101 s lies beyond the audio's end at 2\.00 s"):
        resolve_corpus(late, notices)


def test_segments_that_are_not_the_text_are_refused() -> None:
    """Few recordings are scored by their segments, several by their texts: the two must be one reference."""
    parts = (Segment(0.0, 1.0, "good morning"), Segment(1.0, 2.0, "Let us begin"))
    whole = Utterance("talk", "a.wav", "Good morning! Let us begin.", 2.0, segments=parts)
    check_segments([whole, replace(whole, segments=())])
    with pytest.raises(InputError, match=r"^talk: after 11 equal letters its segments go on with '', its"):
        check_segments([replace(whole, segments=parts[:1])])
    with pytest.raises(InputError, match=r"after 21 equal letters its segments go on with 'ow', its text"):
        check_segments([replace(whole, segments=(*parts, Segment(2.0, 3.0, "ow")))])


@pytest.mark.parametrize(
    ("texts", "is_said"),
    [
        (["Schöne Grüße", "von hier"], True),
        (["नमस्ते दुनिया"], True),
        (["a café " + "or two " * 50, "it’s “here” – 10 €"], False),
        (["", "PLAIN WORDS"], False),
    ],
)
def test_texts_that_are_not_english_are_not_scored_as_it_in_silence(texts: list[str], is_said: bool) -> None:
    corpus = [Utterance(str(place), "a.wav", text, 1.0) for place, text in enumerate(texts)]
    notices: list[str] = []
    with_language(BenchmarkConfig(), corpus, ["whisper"], notices, [])
    assert len(notices) == is_said and all("Set --language" in one for one in notices)
    for config in (BenchmarkConfig(language="de"), BenchmarkConfig(profiles=["basic"])):
        notices = []
        with_language(config, corpus, ["whisper"], notices, [])
        assert not notices


def test_a_language_that_the_corpus_names_is_a_note_and_a_guess_is_a_notice() -> None:
    """Whisper is mentioned where one may run."""
    for languages, what in (("yo", "yo"), "note"), (("de", "tr"), "notice"):
        corpus = [Utterance(one, "a.wav", "x", 1.0, language=one) for one in languages]
        for families, is_said in (["transcripts", "wav2vec2"], False), (["transcripts", "pipeline"], True):
            said: dict[str, list[str]] = {"notice": [], "note": []}
            with_language(BenchmarkConfig(), corpus, families, said["notice"], said["note"])
            (sentence,) = said.pop(what)
            assert ("Whisper" in sentence) == is_said and "normalised by basic and verbatim" in sentence
            assert not any(said.values())


def test_a_corpus_in_another_language_is_scored_in_it() -> None:
    def of(*languages: str | None) -> list[Utterance]:
        return [Utterance(str(place), "a.wav", "x", 1.0, language=one) for place, one in enumerate(languages)]

    def chosen(config: BenchmarkConfig, *languages: str | None) -> tuple[str | None, list[str] | None, int]:
        notices: list[str] = []
        notes: list[str] = []
        found = with_language(config, of(*languages), ["whisper"], notices, notes)
        assert not notes or found.language is not None
        assert not notices or found.language is None
        return found.language, found.profiles, len(notices) + len(notes)

    english = ["librispeech", "whisper-english"]
    assert chosen(BenchmarkConfig(), "tr", "tr") == ("tr", ["basic:tr", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "zh-CN") == ("zh", ["basic:zh:simplified", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "en", "en") == ("en", english, 0)
    neutral = ["basic", "verbatim"]
    assert chosen(BenchmarkConfig(), None) == chosen(BenchmarkConfig(), "en", None) == (None, english, 0)
    assert chosen(BenchmarkConfig(), "tr", None) == chosen(BenchmarkConfig(), "tr", "de") == (None, neutral, 1)
    assert chosen(BenchmarkConfig(), "en", "de") == (None, neutral, 1)
    assert chosen(BenchmarkConfig(language="de"), "tr") == ("de", ["basic:de", "verbatim"], 1)
    assert chosen(BenchmarkConfig(profiles=english), "tr") == ("tr", english, 0)
    assert chosen(BenchmarkConfig(), "la") == ("la", ["basic", "verbatim"], 1)
    assert chosen(BenchmarkConfig(profiles=["verbatim"]), "tr") == ("tr", ["verbatim"], 0)
    assert chosen(BenchmarkConfig(), "rw") == chosen(BenchmarkConfig(), "Esperanto") == (None, neutral, 1)
    for name in ("Japanese", "jp", "jpn", " JA "):
        assert chosen(BenchmarkConfig(), name, "ja-JP") == ("ja", ["basic:ja", "verbatim"], 1)
        assert chosen(BenchmarkConfig(language=name), "tr") == ("ja", ["basic:ja", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "Mandarin Chinese")[0] == chosen(BenchmarkConfig(), "zh-CN", "zh-TW")[0] == "zh"
    for name, code in (("es_mx", "es-MX"), ("de-CH", "de-CH"), ("pt-BR", "pt-BR"), ("es-ES", "es"), ("hi-IN", "hi")):
        own = (code[:2], [f"basic:{code}", "verbatim"], 1)
        assert chosen(BenchmarkConfig(), name, name) == chosen(BenchmarkConfig(language=name), "tr") == own
    assert chosen(BenchmarkConfig(), "es-MX", "es-ES") == chosen(BenchmarkConfig(), "es-MX", "Spanish")
    assert chosen(BenchmarkConfig(), "es-MX", "es-ES") == ("es", ["basic:es", "verbatim"], 1)
    for name in ("zh-TW", "cmn_hant_tw"):
        assert chosen(BenchmarkConfig(language=name), None) == ("zh", ["basic:zh-TW:simplified", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "yue-HK") == ("yue", ["basic:yue:simplified", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "Thai") == ("th", ["basic:th", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "English", "eng", "en-GB") == ("en", english, 0)
    assert chosen(BenchmarkConfig(), "German and English") == (None, neutral, 1)
