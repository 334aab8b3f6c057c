"""`python -m finetune.transcribe`: the options of the search, hot words, and what is refused and how it is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.decoding.beam import BeamSettings
from finetune.decoding.beam_python import PythonBeamSearch
from finetune.decoding.hotwords import as_labels
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.lstm import LstmModel, LstmShape
from finetune.language_model.ngram import write_arpa
from finetune.systems.base import PRECISIONS
from finetune.systems.ctc_model import load_ctc
from finetune.systems.families import FAMILIES, SPELLINGS
from finetune.systems.registry import check_precision, load_system, parse_model, parse_models
from finetune.transcription.options import TranscribeConfig, resolve
from preprocessing import audio
from preprocessing.cli import notes
from preprocessing.errors import InputError, UsageError
from preprocessing.units import Vocabulary
from tests.conftest import DEMO
from tests.finetune.transcription.transcribing import WAV2VEC2, run

AUDIO = DEMO / "corpus" / "audio" / "test-0000.opus"
WHISPER = str(DEMO / "whisper")


def write_lm(path: Path, *sentences: str) -> Path:
    with path.open("w", encoding="utf-8") as file:
        write_arpa(estimate([sentence.split() for sentence in sentences], 2), file)
    return path


def write_lstm(folder: Path) -> Path:
    LstmModel(LstmShape(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ|"), True, 4, 1, 0.0)).save(folder)
    return folder


def test_every_option_of_the_search_arrives(tmp_path: Path) -> None:
    arpa = write_lm(tmp_path / "words.arpa", "SET THE ALARM", "TURN THE LIGHT ON")
    config = TranscribeConfig(
        WAV2VEC2, [str(AUDIO)], lm=arpa, unk_score_offset=-3.0, alpha=0.125, beam_width=8,
        rescore=write_lstm(tmp_path / "lstm"), rescore_weight=0.75, hotwords=["ALARM,SET", "LIGHT'S"],
    )  # fmt: skip
    config.check()
    system = load_system(*resolve(config))
    assert system.facts.settings["decoding"] == (
        "beam search with words.arpa: beam_width 8, alpha 0.125, beta 1, unk_score_offset -3, "
        "3 hot words of weight 10, n best rescored with lstm, weight 0.75"
    )


def test_hot_words_without_a_language_model(tmp_path: Path, capsys: Any) -> None:
    """The text is that of the search in plain Python, on the same frames, and not that of greedy decoding."""
    model = load_ctc(WAV2VEC2)
    log_probs = model.log_probs(audio.load(AUDIO))
    run(WAV2VEC2, AUDIO)
    greedy = capsys.readouterr().out.strip()
    hot = ("WHAT", "WEATHER")
    settings = BeamSettings(hotwords=hot, hotword_weight=15.0)
    expected = PythonBeamSearch(model.vocabulary, None, settings).decode(log_probs).text
    assert not set(hot) & set(greedy.split()) and set(hot) & set(expected.split())
    run(WAV2VEC2, AUDIO, "--hotwords", ",".join(hot), "--hotword_weight", "15", "-f", "json", "-o", tmp_path)
    found = json.loads((tmp_path / "test-0000.json").read_text())
    assert found["text"] == expected
    assert [word["word"].strip() for one in found["segments"] for word in one["words"]] == expected.split()


def test_hot_words_alone_leave_the_confidence_of_greedy_words(tmp_path: Path) -> None:
    """A calibration or a measure for words of a language model is for a search with one."""
    systems = [
        load_system(*resolve(TranscribeConfig(WAV2VEC2, [str(AUDIO)], **options)))  # type: ignore[arg-type]
        for options in ({}, {"hotwords": ["XYLOPHONE"]}, {"lm": write_lm(tmp_path / "words.arpa", "TURN THE LIGHT ON")})
    ]
    greedy, hot, with_lm = (
        {word.word: word.probability for one in transcript.segments for word in one.words or ()}
        for system in systems
        for transcript in system.transcribe([audio.load(AUDIO)])
    )
    both, all_three = set(greedy) & set(hot), set(greedy) & set(hot) & set(with_lm)
    assert len(both) > 2 and all(hot[word] == greedy[word] for word in both)
    assert all_three and all(with_lm[word] > greedy[word] for word in all_three)  # the mean of letters, no minimum


def test_hot_words_are_written_as_the_models_labels(tmp_path: Path, capsys: Any) -> None:
    """A run's profile decides; without one, words that can never match are refused."""
    for path in Path(WAV2VEC2).iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = TranscribeConfig(str(tmp_path), [str(AUDIO)], hotwords=["weather,", "To-day", "TODAY"])
    with pytest.raises(
        UsageError, match=r"--hotwords has 'weather', and the units of .* cannot write 'w', 'e', 'a',.*"
    ):
        load_system(*resolve(config))
    for recorded in ("librispeech", "ctc:somewhere", "ctc:somewhere:en:transliterate"):
        (tmp_path / "about.json").write_text(json.dumps({"profile": recorded}))
        system = load_system(*resolve(config))
        assert system.facts.settings["decoding"].endswith("beam_width 64, 4 hot words of weight 10")
    (tmp_path / "about.json").write_text(json.dumps({"profile": "basic"}))  # lower case, which these units are not
    with pytest.raises(UsageError, match=r"--hotwords has 'weather', and the units of .* cannot write"):
        load_system(*resolve(config))


@pytest.mark.parametrize(
    ("given", "normalise", "expected"),
    [
        (["BAD", "CAB"], None, ("BAD", "CAB")),
        (["BAD,CAB", "CAB ,DAB"], None, ("BAD", "CAB", "DAB")),
        (["bad", "Cab"], str.upper, ("BAD", "CAB")),
        (["bad-cab"], lambda text: text.upper().replace("-", " "), ("BAD", "CAB")),
        ([], None, ()),
        (["bad"], None, "has 'bad', and the units of mine cannot write 'b', 'a', 'd'; .*: write 'BAD'"),
        (["BAD,BEE"], None, "has 'BEE', and the units of mine cannot write 'E'; .* or leave it out"),
        (["B|D"], None, r"has 'B\|D'"),
        (["BAD,?"], lambda text: text.strip("?"), r"has '\?', of which the labels of mine keep nothing"),
        ([" , "], None, "has no words"),
    ],
)  # fmt: skip
def test_hot_words_match_or_are_refused(
    given: list[str], normalise: Callable[[str], str] | None, expected: tuple[str, ...] | str
) -> None:
    vocabulary = Vocabulary.of_characters(["ABCD"])
    if isinstance(expected, tuple):
        assert as_labels("mine", given, vocabulary, normalise) == expected
        return
    with pytest.raises(UsageError, match=f"--hotwords {expected}"):
        as_labels("mine", given, vocabulary, normalise)


def test_hot_words_of_a_script_without_spaces_are_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    vocabulary = Vocabulary.of_characters(["我在北京 ABCD"])
    assert as_labels("mine", ["BAD"], vocabulary, None) == ("BAD",)
    assert capsys.readouterr().err == ""
    assert as_labels("mine", ["北京", "在"], vocabulary, None) == ("北京", "在")
    assert capsys.readouterr().err.count("favoured only where mine writes it between spaces") == 1


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [("librispeech", "librispeech"), ("ctc:mine", "ctc:{}"), ("ctc:mine:de", "ctc:{}:de"), (None, "ctc:{}")],
)
def test_a_profile_fitted_to_a_folder_elsewhere_is_that_of_the_runs_units(
    recorded: str | None, expected: str, tmp_path: Path
) -> None:
    for path in Path(WAV2VEC2).iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "about.json").write_text(json.dumps({"profile": recorded}))
    assert load_ctc(str(tmp_path)).profile == expected.format(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([WAV2VEC2, AUDIO, "--initial_prompt", "hello"], "^--initial_prompt: the family wav2vec2 has no such option"),
        ([WAV2VEC2, AUDIO, "--beam_size", "5"], "^--beam_size: the family wav2vec2 has no such option; expected lang"),
        ([f"wav2vec2+lm={WAV2VEC2}", AUDIO], "^MODEL: .* decodes with a language model, --lm names none"),
        (["onnx+lm=", AUDIO], "^MODEL: 'onnx\\+lm=' names no checkpoint"),
        (["lstm", AUDIO], "^MODEL: lstm has no published default"),
        (["wav2vec", AUDIO], "^MODEL: unknown system 'wav2vec'"),
        (["a b=whisper:x,a b=whisper:x", AUDIO], "^MODEL names a b twice"),
        (["a?=whisper:x", AUDIO], "^MODEL: 'a\\?=whisper:x' gives a system the name"),
        (["no class:here", AUDIO], "^MODEL: .* names no class"),
        (["pocketsphinx=x", AUDIO], "^MODEL: 'pocketsphinx=x' names a checkpoint"),
        ([",", AUDIO], "^MODEL is empty"),
        ([WHISPER, AUDIO, "--precision", "bfloat16"],
         "^--precision is bfloat16, which the family whisper does not .* wav2vec2, whisper-ctc, onnx, openvino take"),
        ([WHISPER, AUDIO, "--hotwords", "alarm"], "^--hotwords alarm is for CTC models, and .* of the family whisper"),
        ([WAV2VEC2, AUDIO, "--hotwords", "weather"], "^--hotwords has 'weather', .*: write 'WEATHER'"),
        ([WAV2VEC2, AUDIO, "--unk_score_offset", "-1"], "^--unk_score_offset belongs to the beam search"),
        ([WAV2VEC2, AUDIO, "--rescore", "x"], "^--rescore belongs to the beam search with a language"),
        ([WAV2VEC2, AUDIO, "--alpha", "1", "--hotwords", "A"], "^--alpha belongs to the beam search with a"),
        ([WAV2VEC2, AUDIO, "--beam_width", "8"], "^--beam_width belongs to a beam search; expected --lm or --hotwords"),
        ([WAV2VEC2, AUDIO, "--hotword_weight", "8"], "^--hotword_weight has no effect alone; expected --hotwords with"),
        (
            [WAV2VEC2, AUDIO, "-f", "json", "--max_line_width", "10"],
            "^--max_line_width with --format json, which has no lines; expected srt or vtt",
        ),
        (
            [WAV2VEC2, AUDIO, "-f", "srt", "--highlight_words", "true", "--word_timestamps", "false"],
            "^--highlight_words needs the times of words",
        ),
        ([WAV2VEC2, AUDIO, "--rescore_weight", "1"], "^--rescore_weight has no effect alone; expected --rescore with"),
        ([WAV2VEC2, AUDIO, "--unk_score_offset", "1"], "^--unk_score_offset is 1; expected 0 or less"),
        ([WAV2VEC2, AUDIO, "--rescore_weight", "-1"], "^--rescore_weight is -1; expected 0 or more"),
        ([f"wav2vec2+lm={WAV2VEC2}", AUDIO, "--rescore", DEMO], "^--rescore .*: has no lstm.json; expected the folder"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_as_it_was_typed(words: list[object], message: str) -> None:
    with pytest.raises((UsageError, InputError), match=message) as caught:
        run(*words)
    assert "--models" not in str(caught.value) and "--system_options" not in str(caught.value)


def test_a_precision_is_taken_or_refused_by_every_family() -> None:
    """As docs/systems.md has them: what computes in float32 alone takes that, and what chooses for itself only auto."""
    chosen = {name for name in SPELLINGS if name.startswith(("wav2vec2", "whisper-ctc", "onnx", "openvino"))}
    float32 = {name for name in SPELLINGS if name.startswith(("lstm", "pipeline"))}
    assert {"whisper", "faster-whisper", "pocketsphinx", "transcripts"} == set(SPELLINGS) - chosen - float32
    for name, (family, _) in SPELLINGS.items():
        (spec,) = parse_models(name if FAMILIES[family].only_checkpoint else f"{name}=x")
        check_precision(spec, "auto")
        for precision in PRECISIONS:
            if name in chosen or (name in float32 and precision == "float32"):
                check_precision(spec, precision)
                continue
            with pytest.raises(UsageError, match=f"--precision is {precision}, which the family {re.escape(name)} "):
                check_precision(spec, precision)
    check_precision(parse_model("own.module:Class"), "bfloat16")
